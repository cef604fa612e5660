import TestKit
import Testing
import Text

/// What the engine and the server rely on beside equality with the reference.
@Suite struct TokenizerBehaviourTests {
    @Test func holdsBackIncompleteCharactersOnly() throws {
        // The small vocabulary has no merges for this hieroglyph: each of its bytes is a token.
        let tokenizer = try TokenizerFixture("qwen2").tokenizer
        let ids = try tokenizer.encode("a\u{13000}b", addSpecialTokens: false)
        #expect(ids.count == 6)
        var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(ids.map { stream.append($0) } == ["a", "", "", "", "\u{13000}", "b"])
        #expect(stream.flush() == "")
    }

    @Test func replacesBrokenCharactersWhenCertain() throws {
        let tokenizer = try TokenizerFixture("qwen2").tokenizer
        let sign = try tokenizer.encode("\u{13000}", addSpecialTokens: false)
        let letter = try tokenizer.encode("b", addSpecialTokens: false)
        var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(sign.dropLast().map { stream.append($0) } == ["", "", ""])
        #expect(stream.append(letter[0]) == "\u{FFFD}b")
        #expect(stream.append(sign[0]) == "")
        #expect(stream.flush() == "\u{FFFD}")
    }

    @Test func keepsRunsOfByteTokensTogether() throws {
        let tokenizer = try TokenizerFixture("llama2").tokenizer
        func byte(_ value: String) throws -> Int32 { try #require(tokenizer.tokenID("<0x\(value)>")) }
        var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        let good = try ["F0", "9F", "A7", "91"].map(byte).map { stream.append($0) }
        #expect(good == ["", "", "", ""])
        // The run is UTF-8 once it has ended; one more byte would have made it four replacement characters.
        let hello = try tokenizer.encode("x", addSpecialTokens: false)
        #expect(hello.map { stream.append($0) }.joined() == "\u{1F9D1} x")
        var broken = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        _ = try ["F0", "9F"].map(byte).map { broken.append($0) }
        #expect(broken.flush() == "\u{FFFD}\u{FFFD}")
    }

    @Test func dropsTheLeadingSpaceOnceWhenStreaming() throws {
        let tokenizer = try TokenizerFixture("llama2").tokenizer
        let ids = try tokenizer.encode("the the", addSpecialTokens: true)
        var stream = StreamingDetokenizer(tokenizer: tokenizer, skipSpecialTokens: true)
        #expect(ids.map { stream.append($0) }.joined() + stream.flush() == "the the")
    }

    @Test func servesManyThreads() async throws {
        let tokenizer = try TokenizerFixture("qwen2").tokenizer
        let texts = try TokenizerFixture.texts()
        let expected = try texts.map { try tokenizer.encode($0, addSpecialTokens: false) }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    for _ in 0..<5 {
                        for (text, ids) in zip(texts, expected)
                        where try tokenizer.encode(text, addSpecialTokens: false) != ids { return false }
                    }
                    return true
                }
            }
            for try await agrees in group { #expect(agrees) }
        }
    }

    /// More distinct words than the cache holds: it starts anew and stays right.
    @Test func staysRightWhenTheWordCacheOverflows() throws {
        let tokenizer = try TokenizerFixture("qwen2").tokenizer
        let words = (0..<150_000).map { " w\(String($0, radix: 26, uppercase: $0 % 2 == 0))" }
        let text = words.joined()
        let ids = try tokenizer.encode(text, addSpecialTokens: false)
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) == text)
        for start in stride(from: 0, to: words.count, by: 29_000) {
            let fresh = try TokenizerFixture("qwen2").tokenizer
            let part = words[start..<start + 50].joined()
            #expect(try tokenizer.encode(part, addSpecialTokens: false) == fresh.encode(part, addSpecialTokens: false))
        }
    }

    /// One word of a megabyte takes the heap's way and must not take quadratic time.
    @Test(.timeLimit(.minutes(1)), arguments: ["qwen2", "llama2", "t5", "bert"])
    func takesLongWords(name: String) throws {
        let tokenizer = try TokenizerFixture(name).tokenizer
        let text = String(repeating: "the", count: 300_000)
        let ids = try tokenizer.encode(text, addSpecialTokens: false)
        if name != "bert" { #expect(tokenizer.decode(ids, skipSpecialTokens: true) == text) } else { #expect(ids.count == 1) }
    }
}
