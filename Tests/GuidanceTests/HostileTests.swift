import Foundation
import Guidance
import Testing

/// Whatever a user sends is compiled or refused with an error, in bounded time and memory.
@Suite struct HostileTests {
    private func nested(_ open: String, _ inner: String, _ close: String, _ count: Int) -> String {
        String(repeating: open, count: count) + inner + String(repeating: close, count: count)
    }

    /// Runs `body` on a thread with the smallest stack that one can expect.
    private func onSmallStack(_ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let thread = Thread {
                body()
                continuation.resume()
            }
            thread.stackSize = 512 << 10
            thread.start()
        }
    }

    @Test func knownTraps() async throws {
        let many = (0..<5000).map { "r\($0) ::= r\($0 + 1)?" }.joined(separator: "\n")
        let specs: [GuidanceSpec] = [
            .regex(nested("(", "a", ")*", 60)), .regex(nested("(", "a", ")", 10_000)), .regex(nested("(?:a|", "b", ")+", 50)),
            .regex("((((a{0,1000}){0,1000}){0,1000}){0,1000})"), .regex("(a?){1000}(a?){1000}a{1000}"), .regex("(.*){500}x"),
            .regex("[\\s\\S]*a[\\s\\S]{1000}"), .regex("(a|aa|aaa|aaaa)*b{0,9999}"), .regex("(\\p{L}|\\p{N}){0,500}"),
            .regex("(x+x+)+y"),
            .regex(String(repeating: "a|", count: 100_000)), .regex(String(repeating: "[", count: 5000)),
            .regex("\\p{L}{0,16384}"),
            .jsonSchema(nested(#"{"items":"#, "{}", "}", 3000)), .jsonSchema(nested(#"{"properties":{"a":"#, "{}", "}}", 60)),
            .jsonSchema(nested(#"{"allOf":["#, "{}", "]}", 500)), .jsonSchema(nested(#"{"anyOf":["#, #"{"const":1}"#, "]}", 60)),
            .jsonSchema(nested("[", "", "]", 100_000)), .jsonSchema(#"{"const":"# + nested("[", "", "]", 300) + "}"),
            .jsonSchema(
                #"{"type":"array","items":{"type":"array","items":{"type":"string","maxLength":16000},"maxItems":16000},"maxItems":16000}"#
            ),
            .jsonSchema(##"{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}"##),
            .jsonSchema(##"{"allOf":[{"$ref":"#"},{"$ref":"#"}]}"##),
            .jsonSchema(##"{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}"##),
            .jsonSchema(
                #"{"allOf":["#
                    + (0..<12).map { _ in #"{"anyOf":[{"minimum":1},{"minimum":2},{"minimum":3}]}"# }.joined(separator: ",")
                    + "]}"),
            .jsonSchema(#"{"type":"string","pattern":"(a|b)*a(a|b){18}","maxLength":200}"#),
            .jsonSchema(#"{"type":"number","minimum":1e308,"maximum":-1e308}"#),
            .jsonSchema(#"{"type":"number","minimum":1e-300,"maximum":1e300}"#),
            .jsonSchema(#"{"enum":["# + (0..<20_000).map { "\"value \($0)\"" }.joined(separator: ",") + "]}"),
            .grammar("root ::= r0 \"x\"\n" + many + "\nr5000 ::= \"y\"?"),
            .grammar(nested("root ::= (", "\"a\"", ")", 1) + nested("(", "\"a\"", ")", 9000)),
            .grammar("root ::= root root | \"a\""),
            .grammar("root ::= a a a\na ::= \"x\" a \"y\" | \"x\" a \"z\" | \"x\" b\nb ::= \"x\" b \"w\" | a | \"\""),
            .grammar("root ::= (\"a\"? \"a\"?){0,8000} (\"a\"? root)?"),
        ]
        await onSmallStack {
            for spec in specs {
                let start = ContinuousClock().now
                do throws(GuidanceError) {
                    let guidance = try GuidanceCompiler(Vocabularies.small).compile(spec)
                    var matcher = guidance.makeMatcher()
                    var random = SeededGenerator(1)
                    for _ in 0..<8 {
                        let allowed = matcher.allowedTokens()
                        #expect(!allowed.isEmpty)
                        guard let choice = allowed.randomElement(using: &random), matcher.accept(choice) else { break }
                    }
                } catch {
                    #expect(!error.message.isEmpty && !error.location.isEmpty)
                }
                let took = ContinuousClock().now - start
                #expect(took < .seconds(20), "\("\(spec)".prefix(80)) took \(took)")
            }
        }
    }

    /// Valid texts with random damage.
    @Test func damagedTextsNeverCrash() {
        let seeds: [GuidanceSpec] =
            MaskTests.specs + SchemaTests.cases.map { .jsonSchema($0.schema) } + [
                .regex("^(?:[a-z\\d]{2,5}|\\p{Lu}+?)(?<n>x|\\u0041)*$"),
                .grammar("root ::= a{2,3} [^a-z\\n] # c\na ::= \"\\x41\" | (root \"b\")?"),
            ]
        var random = SeededGenerator(99)
        let inserts = Array("{}[]()\"\\*+?|^$.,:-0a9éu#/")
        func damaged(_ text: String) -> String {
            var characters = Array(text)
            for _ in 0..<Int.random(in: 1...2, using: &random) {
                let place = Int.random(in: 0...characters.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0 where place < characters.count: characters.remove(at: place)
                case 1 where place < characters.count: characters[place] = inserts.randomElement(using: &random) ?? "a"
                default: characters.insert(inserts.randomElement(using: &random) ?? "a", at: place)
                }
            }
            return String(characters)
        }
        var (compiled, refused) = (0, 0)
        for round in 0..<1500 {
            let spec: GuidanceSpec
            switch seeds[round % seeds.count] {
            case .jsonObject: continue
            case .jsonSchema(let text): spec = .jsonSchema(damaged(text))
            case .regex(let text): spec = .regex(damaged(text))
            case .grammar(let text): spec = .grammar(damaged(text))
            }
            do throws(GuidanceError) {
                let guidance = try GuidanceCompiler(Vocabularies.small).compile(spec)
                #expect(!guidance.makeMatcher().allowedTokens().isEmpty)
                compiled += 1
            } catch {
                #expect(!error.message.isEmpty)
                refused += 1
            }
        }
        #expect(compiled > 30 && refused > 300, "\(compiled) compiled, \(refused) refused")
    }
}
