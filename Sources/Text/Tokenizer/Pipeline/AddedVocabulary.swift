/// A token that is recognised in the text before the model sees it.
struct AddedToken: Sendable, Equatable {
    var content: String
    /// Only between characters that are not part of a word.
    var singleWord = false
    /// Takes the white space on its left, or right, with it.
    var stripsLeft = false
    var stripsRight = false
    /// Looked for in the normalized text instead of the original.
    var isNormalized = true
    /// Left out when decoding without special tokens.
    var isSpecial = false
}

/// Added tokens by content and id, and the search for them (tokenizer/added_vocabulary.rs).
struct AddedVocabulary: Sendable {
    private(set) var tokens: [Int32: AddedToken] = [:]
    private var ids: [[UInt8]: Int32] = [:]
    private var specialContents: Set<[UInt8]> = []
    /// What the normalizer makes of tokens that are looked for in normalized text, where that differs.
    private var normalizedForms: [Int32: [UInt8]] = [:]
    private var original = TokenTrie()
    private var normalized = TokenTrie()

    var isEmpty: Bool { tokens.isEmpty }
    var greatestID: Int32? { tokens.keys.max() }

    func id(of content: [UInt8]) -> Int32? { ids[content] }

    /// The text that decoding uses for an added token.
    func decodingText(of id: Int32) -> [UInt8]? {
        normalizedForms[id] ?? tokens[id].map { Array($0.content.utf8) }
    }

    /// Whether a token's text is that of a special token.
    func isSpecial(text: [UInt8]) -> Bool { specialContents.contains(text) }

    /// Adds tokens as the library's `add_tokens` does: known contents keep their id, new ones follow the vocabulary.
    /// - Parameter given: ids of contents that have theirs already.
    mutating func add(
        _ new: [AddedToken], model: TokenizerModel, normalizer: Normalizer?, ids given: [String: Int32] = [:]
    ) throws(TokenizerError) {
        let modelCount = Int32(model.count)
        var next = modelCount
        if let greatest = greatestID, greatest >= modelCount || modelCount == 0 { next = greatest + 1 }
        for token in new where !token.content.isEmpty {
            let content = Array(token.content.utf8)
            if let id = ids[content], tokens[id] == token { continue }
            let id: Int32
            if let known = given[token.content] ?? ids[content] ?? model.id(of: content) {
                id = known
            } else {
                id = next
                next += 1
            }
            if token.isNormalized, let normalizer {
                let form = try normalizer.normalize(content)
                if form != content { normalizedForms[id] = form }
            }
            ids[content] = id
            if token.isSpecial { specialContents.insert(content) }
            tokens[id] = token
        }
        original = TokenTrie()
        normalized = TokenTrie()
        for (id, token) in tokens {
            if token.isNormalized {
                normalized.insert(normalizedForms[id] ?? Array(token.content.utf8), id: id)
            } else {
                original.insert(Array(token.content.utf8), id: id)
            }
        }
    }

    /// A stretch of text, or a token found in it.
    struct Span {
        var start: Int
        var end: Int
        var id: Int32?
    }

    /// Cuts `text` into spans at the tokens that are looked for in original, or normalized, text.
    func spans(of text: UnsafeBufferPointer<UInt8>, normalized useNormalized: Bool) -> [Span] {
        let trie = useNormalized ? normalized : original
        guard !trie.isEmpty, !text.isEmpty else { return [Span(start: 0, end: text.count, id: nil)] }
        var spans: [Span] = []
        var covered = 0
        var at = 0
        while let match = trie.firstMatch(in: text, from: at) {
            at = match.end
            guard let token = tokens[match.id] else { continue }
            var (start, end) = (match.start, match.end)
            if token.singleWord, isWord(endingAt: start, text) || isWord(startingAt: end, text) { continue }
            if token.stripsLeft {
                while start > covered {
                    let before = scalarStart(before: start, in: text)
                    guard ScalarSet.whitespace.contains(decodeScalar(text, before).scalar) else { break }
                    start = before
                }
            }
            if token.stripsRight {
                while end < text.count {
                    let (scalar, length) = decodeScalar(text, end)
                    guard ScalarSet.whitespace.contains(scalar) else { break }
                    end += length
                }
            }
            if covered < start { spans.append(Span(start: covered, end: start, id: nil)) }
            spans.append(Span(start: start, end: end, id: match.id))
            covered = end
        }
        if covered < text.count { spans.append(Span(start: covered, end: text.count, id: nil)) }
        return spans
    }

    private func isWord(endingAt at: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        at > 0 && ScalarSet.rustWord.contains(decodeScalar(text, scalarStart(before: at, in: text)).scalar)
    }

    private func isWord(startingAt at: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        at < text.count && ScalarSet.rustWord.contains(decodeScalar(text, at).scalar)
    }
}

/// Byte strings for a search that takes the leftmost match, and of those the longest.
struct TokenTrie: Sendable {
    private struct Node {
        /// Children sorted by byte.
        var bytes: [UInt8] = []
        var children: [Int32] = []
        var id: Int32 = -1
    }

    private var nodes = [Node()]
    private var firstBytes = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { nodes.count == 1 }

    mutating func insert(_ text: [UInt8], id: Int32) {
        guard let first = text.first else { return }
        firstBytes[Int(first)] = true
        var node = 0
        for byte in text {
            if let child = child(of: node, byte) {
                node = child
            } else {
                nodes.append(Node())
                let place = nodes[node].bytes.firstIndex { $0 > byte } ?? nodes[node].bytes.count
                nodes[node].bytes.insert(byte, at: place)
                nodes[node].children.insert(Int32(nodes.count - 1), at: place)
                node = nodes.count - 1
            }
        }
        nodes[node].id = id
    }

    @inline(__always)
    private func child(of node: Int, _ byte: UInt8) -> Int? {
        nodes[node].bytes.firstIndex(of: byte).map { Int(nodes[node].children[$0]) }
    }

    func firstMatch(in text: UnsafeBufferPointer<UInt8>, from: Int) -> (start: Int, end: Int, id: Int32)? {
        var start = from
        while start < text.count {
            guard firstBytes[Int(text[start])] else {
                start += 1
                continue
            }
            if let match = match(in: text, at: start) { return (start, match.end, match.id) }
            start += 1
        }
        return nil
    }

    /// The longest entry that starts at `start`.
    @inline(__always)
    func match(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (end: Int, id: Int32)? {
        var node = 0
        var at = start
        var best: (end: Int, id: Int32)?
        while at < text.count, let child = child(of: node, text[at]) {
            node = child
            at += 1
            if nodes[node].id >= 0 { best = (at, nodes[node].id) }
        }
        return best
    }
}
