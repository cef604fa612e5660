package import Text

/// Tokens that a request forbids: some always, some where the tokens before them match.
package struct TokenBans: Sendable {
    /// Tokens that are banned at every step.
    package private(set) var always: Set<Int32> = []
    /// Sequences of two and more tokens whose last is banned where the others come before it.
    package private(set) var sequences: Set<[Int32]> = []

    package var isEmpty: Bool { always.isEmpty && sequences.isEmpty }

    package init() {}

    /// - Parameter tokenizer: writes the words as tokens; see ``GenerationConfig/badWords``.
    package init(words: [String], tokenIDs: [Int32], tokenizer: any Tokenizer) throws {
        always.formUnion(tokenIDs)
        for word in words {
            for tokens in try TokenBans.spellings(of: word, tokenizer) {
                if tokens.count == 1 { always.insert(tokens[0]) } else { sequences.insert(tokens) }
            }
        }
    }

    /// The tokens of a word at the beginning of a text, after a space and after a line break (where no tokenizer puts a space of its own).
    private static func spellings(of word: String, _ tokenizer: any Tokenizer) throws -> Set<[Int32]> {
        var spellings: Set<[Int32]> = []
        for lead in ["", " ", "\n"] {
            let tokens = try tokenizer.encode(lead + word, addSpecialTokens: false)
            let before = lead.isEmpty ? [] : try tokenizer.encode(lead, addSpecialTokens: false)
            // Where the lead is tokens of its own, the word is what follows them.
            let spelling = tokens.starts(with: before) ? Array(tokens.dropFirst(before.count)) : lead == " " ? tokens : []
            if !spelling.isEmpty { spellings.insert(spelling) }
        }
        return spellings
    }

    /// The tokens that may not follow `tokens`.
    package func banned(after tokens: [Int32]) -> Set<Int32> {
        guard !sequences.isEmpty else { return always }
        var banned = always
        for sequence in sequences where tokens.count >= sequence.count - 1 {
            if tokens.suffix(sequence.count - 1).elementsEqual(sequence.dropLast()) {
                banned.insert(sequence[sequence.count - 1])
            }
        }
        return banned
    }
}

/// Whether the last `size` of `tokens` occur in them at least `threshold` times, also where occurrences overlap.
package func endsInLoop(_ tokens: ArraySlice<Int32>, size: Int, threshold: Int) -> Bool {
    guard size > 0, threshold > 0, tokens.count >= size else { return false }
    let newest = tokens.suffix(size)
    let last = newest[newest.endIndex - 1]
    var count = 0
    for end in (tokens.startIndex + size - 1)..<tokens.endIndex where tokens[end] == last {
        if tokens[(end - size + 1)...end].elementsEqual(newest) { count += 1 }
        if count >= threshold { return true }
    }
    return false
}
