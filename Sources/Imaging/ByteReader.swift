/// A cursor over bytes that never reads past their end.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, at offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    var remaining: Int { max(0, bytes.count - offset) }

    mutating func byte() -> UInt8? {
        guard offset >= 0, offset < bytes.count else { return nil }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func little16() -> Int? {
        guard let low = byte(), let high = byte() else { return nil }
        return Int(low) | Int(high) << 8
    }

    mutating func little32() -> Int? {
        guard let low = little16(), let high = little16() else { return nil }
        return low | high << 16
    }

    mutating func big16() -> Int? {
        guard let high = byte(), let low = byte() else { return nil }
        return Int(high) << 8 | Int(low)
    }

    mutating func big32() -> Int? {
        guard let high = big16(), let low = big16() else { return nil }
        return high << 16 | low
    }

    /// The next `count` bytes, or `nil` if fewer are left.
    mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, offset >= 0, count <= remaining else { return nil }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes from `offset` on start with these ASCII characters.
    func holds(_ text: StaticString, at offset: Int = 0) -> Bool {
        let length = text.utf8CodeUnitCount
        guard offset >= 0, count - offset >= length else { return false }
        return (0..<length).allSatisfy { self[offset + $0] == text.utf8Start[$0] }
    }

    func holds(_ bytes: [UInt8], at offset: Int = 0) -> Bool {
        guard offset >= 0, count - offset >= bytes.count else { return false }
        return bytes.indices.allSatisfy { self[offset + $0] == bytes[$0] }
    }
}
