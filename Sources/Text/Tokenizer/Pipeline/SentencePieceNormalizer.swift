/// SentencePiece's normalizer (normalizer.cc): character map by longest match, white space collapsed and made visible,
/// a space put in front.
struct SentencePieceNormalizer: Sendable {
    let map: PrecompiledCharsMap
    let addsDummyPrefix: Bool
    let removesExtraWhitespace: Bool
    let escapesWhitespace: Bool
    let treatsWhitespaceAsSuffix: Bool
    /// User-defined symbols, which pass unchanged.
    let symbols: TokenTrie

    func normalize(_ text: [UInt8]) -> [UInt8] {
        let space: [UInt8] = escapesWhitespace ? [0xE2, 0x96, 0x81] : [0x20]
        return text.withUnsafeBufferPointer { buffer in
            var output: [UInt8] = []
            output.reserveCapacity(buffer.count + buffer.count / 2 + 3)
            var at = 0
            if removesExtraWhitespace {
                while at < buffer.count {
                    let (length, piece) = step(buffer, at)
                    guard piece.elementsEqual([0x20]) else { break }
                    at += length
                }
            }
            guard at < buffer.count else { return [] }
            if addsDummyPrefix, !treatsWhitespaceAsSuffix { output += space }
            var endsWithSpace = removesExtraWhitespace
            while at < buffer.count {
                let (length, piece) = step(buffer, at)
                var rest = piece[...]
                if endsWithSpace { rest = rest.drop { $0 == 0x20 } }
                for byte in rest {
                    if byte == 0x20, escapesWhitespace { output += space } else { output.append(byte) }
                }
                if !rest.isEmpty { endsWithSpace = rest.last == 0x20 }
                at += length
                if !removesExtraWhitespace { endsWithSpace = false }
            }
            if removesExtraWhitespace {
                while output.count >= space.count, output.suffix(space.count).elementsEqual(space) {
                    output.removeLast(space.count)
                }
            }
            if addsDummyPrefix, treatsWhitespaceAsSuffix { output += space }
            return output
        }
    }

    /// Length consumed at `at` and what it becomes.
    private func step(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> (Int, ArraySlice<UInt8>) {
        if let match = symbols.match(in: text, at: at) { return (match.end - at, Array(text[at..<match.end])[...]) }
        if let match = map.longestMatch(text, at: at) { return (match.length, match.replacement) }
        let length = scalarLength(lead: text[at])
        return (length, Array(text[at..<at + length])[...])
    }
}
