/// Greedy longest-match-first over a vocabulary (models/wordpiece).
struct WordPieceModel: Sendable {
    let vocabulary: Vocabulary
    let unknownToken: String
    let continuingSubwordPrefix: [UInt8]
    /// Longer words, in characters, become the unknown token.
    let longestWord: Int

    func encode(_ word: UnsafeBufferPointer<UInt8>, into output: inout [Int32]) throws(TokenizerError) {
        let first = output.count
        var start = 0
        var isKnown = word.count { $0 & 0xC0 != 0x80 } <= longestWord
        var text: [UInt8] = []
        while isKnown, start < word.count {
            var end = word.count
            var found: Int32?
            while start < end {
                text.removeAll(keepingCapacity: true)
                if start > 0 { text += continuingSubwordPrefix }
                text += word[start..<end]
                found = vocabulary.id(of: text)
                if found != nil { break }
                end = scalarStart(before: end, in: word)
            }
            if let found {
                output.append(found)
                start = end
            } else {
                isKnown = false
            }
        }
        if isKnown { return }
        output.removeLast(output.count - first)
        guard let unknown = vocabulary.id(of: unknownToken) else {
            throw TokenizerError("model.unk_token", "'\(unknownToken)' is not in the vocabulary, but the text needs it")
        }
        output.append(unknown)
    }
}

/// One token per word (models/wordlevel).
struct WordLevelModel: Sendable {
    let vocabulary: Vocabulary
    let unknownToken: String

    func encode(_ word: UnsafeBufferPointer<UInt8>, into output: inout [Int32]) throws(TokenizerError) {
        guard let id = vocabulary.id(of: word) ?? vocabulary.id(of: unknownToken) else {
            throw TokenizerError("model.unk_token", "'\(unknownToken)' is not in the vocabulary, but the text needs it")
        }
        output.append(id)
    }
}
