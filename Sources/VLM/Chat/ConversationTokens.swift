/// The tokens of a conversation exactly as the model read and wrote them, beside the text that they stand for.
///
/// A text has many spellings in tokens, and a model rarely writes the one a tokenizer would choose. Keys and values can only be used again
/// for the tokens they were computed from, so a later turn keeps those and tokenises only what comes after them.
package struct ConversationTokens: Sendable, Equatable, Codable {
    /// Where an answer ends.
    private struct Mark: Equatable, Codable {
        let byteCount: Int
        let tokenCount: Int
    }

    /// UTF-8 of prompt and answers, image placeholders expanded.
    private var text: [UInt8] = []
    package private(set) var tokens: [Int32] = []
    /// Ends of answers, the first one first.
    private var marks: [Mark] = []

    package init() {}

    /// - Throws: `DecodingError` when the marks do not fit text and tokens.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = Array(try container.decode(String.self, forKey: .text).utf8)
        tokens = try container.decode([Int32].self, forKey: .tokens)
        marks = try container.decode([Mark].self, forKey: .marks)
        var last = Mark(byteCount: 0, tokenCount: 0)
        for mark in marks {
            guard mark.byteCount >= last.byteCount, mark.tokenCount >= last.tokenCount, mark.byteCount <= text.count,
                mark.tokenCount <= tokens.count, String(validating: text[..<mark.byteCount], as: UTF8.self) != nil
            else {
                throw DecodingError.dataCorruptedError(
                    forKey: .marks, in: container, debugDescription: "the ends of answers do not fit the text and its tokens")
            }
            last = mark
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(String(decoding: text, as: UTF8.self), forKey: .text)
        try container.encode(tokens, forKey: .tokens)
        try container.encode(marks, forKey: .marks)
    }

    private enum CodingKeys: String, CodingKey { case text, tokens, marks }

    /// The tokens of the longest part that `rendered` begins with, up to the end of an answer, and the text after it.
    ///
    /// - Returns: nil when no answer's end is in `rendered`, as where a template changes earlier answers.
    package func reused(in rendered: String) -> (tokens: [Int32], rest: String)? {
        guard let mark = longestMark(in: rendered) else { return nil }
        return (Array(tokens[..<mark.tokenCount]), String(decoding: rendered.utf8.dropFirst(mark.byteCount), as: UTF8.self))
    }

    /// Remembers a turn: what was rendered and its tokens, and the answer and its own.
    package mutating func append(rendered: String, promptTokens: [Int32], answer: String, answerTokens: [Int32]) {
        // Ends of earlier answers stay usable where this turn went on from them.
        let last = longestMark(in: rendered)?.byteCount ?? 0
        let kept = marks.filter { $0.byteCount <= last && promptTokens.starts(with: tokens[..<$0.tokenCount]) }
        text = Array(rendered.utf8) + Array(answer.utf8)
        tokens = promptTokens + answerTokens
        marks = kept + [Mark(byteCount: text.count, tokenCount: tokens.count)]
    }

    private func longestMark(in rendered: String) -> Mark? {
        let common = zip(text, rendered.utf8).prefix { $0 == $1 }.count
        return marks.last { $0.byteCount <= common }
    }
}
