/// A model's tokens as guidance sees them: byte strings in tries, and the tokens that end a text.
///
/// Most tokens are plain text, which the inside of a JSON string and many expressions accept whole. They are kept apart in two tries,
/// with ready bit masks, so that a state that accepts them all need not look at each.
package final class GuidanceVocabulary: Sendable {
    /// Width of the logits.
    package let count: Int
    /// Tokens that end a text.
    package let stopTokens: [Int32]
    /// Words of a mask: one bit for each token, in words of 32.
    package var maskWords: Int { (count + 31) / 32 }

    let tokenBytes: [[UInt8]?]
    /// Plain tokens of at most ``shortLength`` scalars, longer plain tokens, and all others.
    let tries: [TokenTrie]
    /// Masks of the first two tries.
    let plainMasks: [[UInt32]]
    /// Bytes that are tokens of their own.
    let writable: [Bool]

    static let shortLength = 10

    /// - Parameters:
    ///   - tokenBytes: for each id the bytes that it adds to the text; nil for ids that may never appear in a guided text: special tokens
    ///     and ids without a token.
    ///   - stopTokens: ids that end a text; ids beyond the vocabulary are left out.
    package init(tokenBytes: [[UInt8]?], stopTokens: some Sequence<Int32>) {
        count = tokenBytes.count
        self.tokenBytes = tokenBytes
        self.stopTokens = Set(stopTokens).filter { tokenBytes.indices.contains(Int($0)) }.sorted()
        let stops = Set(self.stopTokens)
        var groups: [[(id: Int32, bytes: ArraySlice<UInt8>)]] = [[], [], []]
        var writable = [Bool](repeating: false, count: 256)
        for (id, bytes) in tokenBytes.enumerated() {
            guard let bytes, !bytes.isEmpty, bytes.count <= Int(UInt16.max), !stops.contains(Int32(id)) else { continue }
            if bytes.count == 1 { writable[Int(bytes[0])] = true }
            let length = Self.plainLength(bytes)
            groups[length.map { $0 <= Self.shortLength ? 0 : 1 } ?? 2].append((Int32(id), bytes[...]))
        }
        self.writable = writable
        tries = groups.map(TokenTrie.init)
        let words = (tokenBytes.count + 31) / 32
        plainMasks = groups.prefix(2).map { group in
            var mask = [UInt32](repeating: 0, count: words)
            for token in group { mask[Int(token.id) >> 5] |= 1 << UInt32(token.id & 31) }
            return mask
        }
    }

    /// Scalars of a text that needs no escape in a JSON string and holds no half character; nil for any other.
    private static func plainLength(_ bytes: [UInt8]) -> Int? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        let scalars = text.unicodeScalars
        return scalars.allSatisfy { $0.value >= 0x20 && $0 != "\"" && $0 != "\\" && $0.value != 0x7F } ? scalars.count : nil
    }
}

extension GuidanceVocabulary {
    /// The bytes that a token adds to the text; nil for tokens that may never appear in a guided one.
    package func bytes(of token: Int32) -> [UInt8]? {
        tokenBytes.indices.contains(Int(token)) ? tokenBytes[Int(token)] : nil
    }
}
