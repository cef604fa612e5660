import Foundation
import Testing
import VLM

struct ConversationTokensTests {
    private func conversation() -> ConversationTokens {
        var tokens = ConversationTokens()
        tokens.append(rendered: "Q1 A:", promptTokens: [1, 2], answer: "one", answerTokens: [3])
        tokens.append(rendered: "Q1 A:one. Q2 A:", promptTokens: [1, 2, 3, 4, 5], answer: "two", answerTokens: [6, 7])
        return tokens
    }

    @Test func theLongestAnswersEndCounts() throws {
        let tokens = conversation()
        let next = try #require(tokens.reused(in: "Q1 A:one. Q2 A:two. Q3 A:"))
        #expect(next.tokens == [1, 2, 3, 4, 5, 6, 7] && next.rest == ". Q3 A:")
        let rewound = try #require(tokens.reused(in: "Q1 A:one. Q4 A:"))
        #expect(rewound.tokens == [1, 2, 3] && rewound.rest == ". Q4 A:")
        #expect(tokens.reused(in: "Q0 A:one. Q2") == nil)
        #expect(tokens.reused(in: "Q1 A:on") == nil)
        #expect(ConversationTokens().reused(in: "") == nil)
    }

    @Test func bytesAreComparedAndNotCharacters() {
        var tokens = ConversationTokens()
        tokens.append(rendered: "caf\u{E9}", promptTokens: [1], answer: "!", answerTokens: [2])
        #expect(tokens.reused(in: "cafe\u{301}!") == nil)
        // A combining mark after an answer is still after it.
        #expect(tokens.reused(in: "caf\u{E9}!\u{301}")?.rest == "\u{301}")
    }

    @Test func marksWhoseTokensWereNotUsedAreForgotten() throws {
        var tokens = conversation()
        // Tokenised anew: the same text in other tokens.
        tokens.append(rendered: "Q1 A:one. Q2 A:two. Q3 A:", promptTokens: [9, 8], answer: "three", answerTokens: [7])
        #expect(tokens.reused(in: "Q1 A:one. Q2 A:two. Q5 A:") == nil)
        #expect(tokens.reused(in: "Q1 A:one. Q2 A:two. Q3 A:three")?.tokens == [9, 8, 7])
    }

    @Test func itIsKeptAsJSON() throws {
        let tokens = conversation()
        let data = try JSONEncoder().encode(tokens)
        #expect(try JSONDecoder().decode(ConversationTokens.self, from: data) == tokens)
        let text = String(decoding: data, as: UTF8.self)
        let bad = text.replacingOccurrences(of: "\"tokens\":[1,2,3,4,5,6,7]", with: "\"tokens\":[1,2]")
        #expect(bad != text)
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(ConversationTokens.self, from: Data(bad.utf8)) }
    }
}
