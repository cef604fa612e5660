import Guidance
import JSON
import Testing

@Suite struct MaskTests {
    static let specs: [GuidanceSpec] = [
        .jsonObject,
        .jsonSchema(
            #"{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"tags":{"type":"array","items":{"type":"string","maxLength":12}}}}"#
        ),
        .jsonSchema(##"{"type":"object","properties":{"v":{"type":"string","format":"date"},"next":{"$ref":"#"}}}"##),
        .jsonSchema(#"{"type":"string","maxLength":25}"#), .jsonSchema(#"{"type":"string","pattern":"é+b"}"#),
        .jsonSchema("true"),
        .regex("(ab|a)*x?[^y]{0,3}"), .regex("日本[語a-z]+"), .regex("[\\s\\S]*"), .regex(""), .regex("abc"),
        .grammar("root ::= \"a\" root \"b\" | x\nx ::= \"a\" x \"c\" | \"x\""),
        .grammar("root ::= [a-z]+ (\" \" root)? | \"[\" root \"]\""),
    ]

    /// A mask is what trying every token on a copy gives; a stop token is in it exactly where the text may end.
    @Test(arguments: specs) func equalsTryingEveryToken(_ spec: GuidanceSpec) throws {
        let guidance = try Vocabularies.compiler.compile(spec)
        let vocabulary = guidance.vocabulary
        var random = SeededGenerator(3)
        for _ in 0..<6 {
            var matcher = guidance.makeMatcher()
            for _ in 0..<25 {
                let allowed = matcher.allowedTokens()
                var expected: [Int32] = []
                for token in 0..<Int32(vocabulary.count) {
                    if vocabulary.stopTokens.contains(token) {
                        if matcher.canEnd { expected.append(token) }
                    } else if let bytes = vocabulary.bytes(of: token), !bytes.isEmpty {
                        var copy = matcher
                        if copy.accept(bytes: bytes) { expected.append(token) }
                    }
                }
                #expect(allowed == expected)
                #expect(!allowed.isEmpty)
                #expect(matcher.isComplete == (allowed == vocabulary.stopTokens))
                guard let choice = allowed.randomElement(using: &random) else { break }
                matcher.take(choice)
                if vocabulary.stopTokens.contains(choice) { break }
            }
        }
    }

    @Test func textsByMasksAreJSON() throws {
        let guidance = try Vocabularies.compiler.compile(.jsonObject)
        var random = SeededGenerator(11)
        var ended = 0
        for _ in 0..<60 {
            guard let text = randomText(guidance, tokens: RegexTests.tokens, steps: 30, using: &random) else { continue }
            ended += 1
            let value = try JSONValue(parsing: text, source: "text")
            #expect(value.objectValue != nil)
        }
        #expect(ended > 30)
    }

    @Test func stopsWhereTheTextMayEnd() throws {
        let stop = try #require(Vocabularies.small.stopTokens.first)
        var matcher = try Vocabularies.compiler.compile(.regex("ab?")).makeMatcher()
        #expect(!matcher.canEnd && !matcher.isComplete)
        matcher.take(stop, allowed: false)
        matcher.take(Int32(UInt8(ascii: "a")))
        #expect(matcher.canEnd && !matcher.isComplete)
        var ended = matcher
        ended.take(stop)
        #expect(ended.isComplete && !ended.canEnd)
        ended.take(Int32(UInt8(ascii: "b")), allowed: false)
        #expect(ended.allowedTokens() == [stop])
        matcher.take(Int32(UInt8(ascii: "b")))
        #expect(matcher.canEnd && matcher.isComplete)
        #expect(matcher.allowedTokens() == [stop])
    }

    @Test func requestsMayHaveTheirOwnStopTokens() throws {
        var matcher = try Vocabularies.compiler.compile(.regex("a")).makeMatcher()
        matcher.take(Int32(UInt8(ascii: "a")))
        var words = [UInt32](repeating: 0, count: Vocabularies.small.maskWords)
        words.withUnsafeMutableBufferPointer { matcher.fillMask($0, stopTokens: [7, 9999, -1]) }
        #expect(words[0] == 1 << 7)
        #expect(words.dropFirst().allSatisfy { $0 == 0 })
        let taken = matcher.accept(7, stopTokens: [7])
        #expect(taken)
    }

    @Test func aRefusedTokenChangesNothing() throws {
        var matcher = try Vocabularies.compiler.compile(.regex("abc")).makeMatcher()
        let before = matcher.allowedTokens()
        for token: Int32 in [Int32(UInt8(ascii: "b")), -1, 99999, 256] { matcher.take(token, allowed: false) }
        #expect(matcher.allowedTokens() == before)
    }

    @Test func aCopyIsAFork() throws {
        let guidance = try Vocabularies.compiler.compile(.grammar("root ::= \"(\" root \")\" | \"x\""))
        var matcher = guidance.makeMatcher()
        matcher.take("((")
        let earlier = matcher
        matcher.take("x))")
        #expect(matcher.isComplete)
        matcher = earlier
        #expect(!matcher.canEnd)
        matcher.take("(x)))")
        #expect(matcher.isComplete)
    }

    /// Tables that outgrow their bound are given up; matchers in the middle of a text carry on.
    @Test func matchersOutliveTheirTables() throws {
        var limits = GuidanceLimits()
        limits.cacheBytes = 20_000
        let compiler = GuidanceCompiler(Vocabularies.small, limits: limits)
        let guidance = try compiler.compile(.jsonObject)
        let reference = try Vocabularies.compiler.compile(.jsonObject)
        var random = SeededGenerator(5)
        var matchers = [guidance.makeMatcher(), guidance.makeMatcher()]
        var references = [reference.makeMatcher(), reference.makeMatcher()]
        for step in 0..<300 {
            let which = step % 2
            let allowed = matchers[which].allowedTokens()
            #expect(allowed == references[which].allowedTokens())
            let open = allowed.filter { $0 != Vocabularies.small.stopTokens.first }
            guard let choice = open.randomElement(using: &random) else {
                matchers[which] = guidance.makeMatcher()
                references[which] = reference.makeMatcher()
                continue
            }
            matchers[which].take(choice)
            references[which].take(choice)
        }
    }

    /// A vocabulary that lacks bytes never gets stuck: what it could not finish is not begun.
    @Test func vocabulariesWithoutAllBytes() throws {
        let tokens: [[UInt8]?] = ["a", "b", "\"", "é", "[", "]", ",", "ab", "[[", "", "c]"].map { Array($0.utf8) }
        let vocabulary = GuidanceVocabulary(tokenBytes: tokens, stopTokens: [9])
        let compiler = GuidanceCompiler(vocabulary)
        // 'z' cannot be written, so neither can what leads to it alone.
        var matcher = try compiler.compile(.regex("az|ab|\\[z|\\[\\[c?\\]")).makeMatcher()
        #expect(matcher.allowedTokens() == [0, 7, 8].map(Int32.init) || matcher.allowedTokens() == [0, 4, 7, 8].map(Int32.init))
        matcher.take(0)
        #expect(matcher.allowedTokens() == [1])
        let error = #expect(throws: GuidanceError.self) { try compiler.compile(.regex("z+")) }
        #expect(error?.kind == .vocabulary)
        var random = SeededGenerator(2)
        let list = try compiler.compile(
            .jsonSchema(#"{"type":"array","items":{"type":["array","string"],"items":{"type":"string"}}}"#))
        for _ in 0..<50 {
            var matcher = list.makeMatcher()
            for _ in 0..<30 {
                let allowed = matcher.allowedTokens()
                #expect(!allowed.isEmpty)
                guard let choice = allowed.randomElement(using: &random), matcher.accept(choice), choice != 9 else { break }
            }
        }
    }

    @Test func compiledGuidancesAreKept() throws {
        let compiler = GuidanceCompiler(Vocabularies.small, capacity: 2)
        let first = try compiler.compile(.regex("a"))
        #expect(try compiler.compile(.regex("a")) === first)
        _ = try compiler.compile(.regex("b"))
        _ = try compiler.compile(.regex("a"))
        _ = try compiler.compile(.regex("c"))
        #expect(compiler.cachedCount == 2)
        #expect(try compiler.compile(.regex("a")) === first, "the least recently used one made room")
        #expect(try compiler.compile(.jsonSchema("{}"), whitespace: .compact) !== compiler.compile(.jsonSchema("{}")))
    }
}
