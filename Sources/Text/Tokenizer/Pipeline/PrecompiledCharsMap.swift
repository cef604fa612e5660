import JSON

/// SentencePiece's precompiled character map: a double-array trie from character sequences to replacements.
///
/// Layout: size of the trie in bytes (32 bits, little endian), the trie's 32-bit units, replacement texts ended by NUL.
struct PrecompiledCharsMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    init(_ blob: [UInt8], culprit: String) throws(TokenizerError) {
        guard !blob.isEmpty else {
            units = []
            replacements = []
            return
        }
        func word(_ at: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(blob[at + $1]) << UInt32(8 * $1) } }
        guard blob.count >= 4, Int(word(0)) <= blob.count - 4, word(0) % 4 == 0 else {
            throw TokenizerError(culprit, "the character map is truncated: its trie does not fit in \(blob.count) bytes")
        }
        let size = Int(word(0))
        units = stride(from: 4, to: 4 + size, by: 4).map(word)
        replacements = Array(blob[(4 + size)...])
        let isValid = replacements.withUnsafeBufferPointer { isValidUTF8($0) }
        guard isValid else { throw TokenizerError(culprit, "the character map's replacements are not UTF-8") }
    }

    var isEmpty: Bool { units.isEmpty }

    /// Calls `body` with length and replacement offset of every key that starts at `start`, shortest first, until it
    /// returns false.
    @inline(__always)
    private func forEachPrefix(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ body: (Int, Int) -> Bool
    ) {
        guard let root = units.first else { return }
        func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & (1 << 9)) >> 6) }
        var node = offset(root)
        var at = start
        while at < text.count, text[at] != 0 {
            node ^= Int(text[at])
            guard node < units.count else { return }
            let unit = units[node]
            guard unit & (1 << 31 | 0xFF) == UInt32(text[at]) else { return }
            node ^= offset(unit)
            at += 1
            if unit >> 8 & 1 == 1 {
                guard node < units.count else { return }
                if !body(at - start, Int(units[node] & 0x7FFF_FFFF)) { return }
            }
        }
    }

    private func replacement(at offset: Int) -> ArraySlice<UInt8>? {
        guard offset < replacements.count else { return nil }
        let end = replacements[offset...].firstIndex(of: 0) ?? replacements.count
        return replacements[offset..<end]
    }

    /// The replacement of the shortest key that `chunk` starts with, which the `tokenizers` library takes for the chunk's.
    private func transform(_ chunk: UnsafeBufferPointer<UInt8>) -> ArraySlice<UInt8>? {
        var found: ArraySlice<UInt8>?
        forEachPrefix(chunk, 0) { _, offset in
            found = replacement(at: offset)
            return false
        }
        return found
    }

    /// The longest key at `start` and its replacement, as SentencePiece itself applies the map.
    func longestMatch(_ text: UnsafeBufferPointer<UInt8>, at start: Int) -> (length: Int, replacement: ArraySlice<UInt8>)? {
        var found: (Int, ArraySlice<UInt8>)?
        forEachPrefix(text, start) { length, offset in
            if let text = replacement(at: offset) { found = (length, text) }
            return true
        }
        return found
    }

    /// As normalizers/precompiled.rs: short grapheme clusters as a whole, longer ones by character.
    func normalize(_ text: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        for character in String(decoding: text, as: UTF8.self) {
            let grapheme = Array(character.utf8)
            grapheme.withUnsafeBufferPointer { buffer in
                if buffer.count < 6, let replacement = transform(buffer) {
                    output.append(contentsOf: replacement)
                    return
                }
                var at = 0
                while at < buffer.count {
                    let length = scalarLength(lead: buffer[at])
                    let part = UnsafeBufferPointer(rebasing: buffer[at..<at + length])
                    if let replacement = transform(part) {
                        output.append(contentsOf: replacement)
                    } else {
                        output.append(contentsOf: part)
                    }
                    at += length
                }
            }
        }
        return output
    }
}
