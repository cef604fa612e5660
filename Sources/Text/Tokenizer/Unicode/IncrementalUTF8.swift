/// Decodes bytes that arrive in pieces, replacing what is not UTF-8 by U+FFFD: one for each maximal part of a character,
/// as Rust's `from_utf8_lossy` does. A character cut off by the end of a piece waits for the next.
struct IncrementalUTF8: Sendable {
    /// A valid beginning of a character.
    private var pending: [UInt8] = []
    private var needed = 0
    private var low: UInt8 = 0x80
    private var high: UInt8 = 0xBF

    private static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

    /// Valid UTF-8 for all characters that are complete, or certain to be broken, after `bytes`.
    mutating func push(_ bytes: [UInt8]) -> [UInt8] {
        if pending.isEmpty, bytes.allSatisfy({ $0 < 0x80 }) { return bytes }
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count + 4)
        for byte in bytes {
            if needed > 0 {
                if low <= byte, byte <= high {
                    pending.append(byte)
                    (low, high) = (0x80, 0xBF)
                    needed -= 1
                    if needed == 0 {
                        output += pending
                        pending.removeAll(keepingCapacity: true)
                    }
                    continue
                }
                output += Self.replacement
                pending.removeAll(keepingCapacity: true)
                needed = 0
            }
            start(byte, &output)
        }
        return output
    }

    private mutating func start(_ byte: UInt8, _ output: inout [UInt8]) {
        (low, high) = (0x80, 0xBF)
        switch byte {
        case 0..<0x80: return output.append(byte)
        case 0xC2...0xDF: needed = 1
        case 0xE0...0xEF:
            needed = 2
            if byte == 0xE0 { low = 0xA0 }
            if byte == 0xED { high = 0x9F }
        case 0xF0...0xF4:
            needed = 3
            if byte == 0xF0 { low = 0x90 }
            if byte == 0xF4 { high = 0x8F }
        default:
            output += Self.replacement
            return
        }
        pending.append(byte)
    }

    /// A replacement character if a character is incomplete.
    mutating func flush() -> [UInt8] {
        defer {
            pending.removeAll()
            needed = 0
        }
        return pending.isEmpty ? [] : Self.replacement
    }
}
