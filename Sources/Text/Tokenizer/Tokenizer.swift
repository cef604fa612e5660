/// Turns text into token ids and back. One value serves any number of threads.
package protocol Tokenizer: Sendable {
    /// Number of tokens, added ones included.
    var vocabularySize: Int { get }
    /// Token ids of `text`. `addSpecialTokens` lets the post-processor put its tokens (such as a beginning-of-text token)
    /// around them; special tokens written out in the text are recognised either way.
    func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int32]
    /// The text of `ids`; ids without a token are left out, special tokens too when `skipSpecialTokens`.
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String
    /// The id of a token's exact text, added tokens first.
    func tokenID(_ token: String) -> Int32?
    /// A token's text as the vocabulary writes it.
    func token(_ id: Int32) -> String?
    /// Whether decoding with `skipSpecialTokens` leaves the token out.
    func isSpecial(_ id: Int32) -> Bool
    var bosToken: String? { get }
    var eosToken: String? { get }
    var padToken: String? { get }
    var unkToken: String? { get }
    /// A decoder that takes ids one by one; the concatenation of its output is `decode` of all of them.
    func makeStreamDecoder(skipSpecialTokens: Bool) -> any TokenStreamDecoder
}

/// Decoding of one sequence as its tokens arrive.
package protocol TokenStreamDecoder {
    /// The text that has become certain with this token; empty while a character is incomplete.
    mutating func append(_ id: Int32) -> String
    /// The rest, at the end of the sequence.
    mutating func flush() -> String
}

/// Gives the text of a growing sequence of tokens: never half a character, and together exactly `decode` of all ids.
package struct StreamingDetokenizer {
    private var decoder: any TokenStreamDecoder

    package init(tokenizer: any Tokenizer, skipSpecialTokens: Bool) {
        decoder = tokenizer.makeStreamDecoder(skipSpecialTokens: skipSpecialTokens)
    }

    package mutating func append(_ id: Int32) -> String { decoder.append(id) }
    package mutating func flush() -> String { decoder.flush() }
}

/// Why a tokenizer could not be loaded or used.
package struct TokenizerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file and JSON path, or the part of the tokenizer, that is at fault.
    package let culprit: String
    /// What is wrong and what would be right.
    package let detail: String

    package init(_ culprit: String, _ detail: String) {
        self.culprit = culprit
        self.detail = detail
    }

    package var description: String { "\(culprit): \(detail)" }
}
