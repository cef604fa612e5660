import Guidance
import Testing

/// A generator of the same numbers everywhere (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

enum Vocabularies {
    /// All bytes, tokens of several characters, halves of characters, a special token without text, and a stop token at the end.
    static let small: GuidanceVocabulary = {
        let texts = [
            "", "{\"", "\":", "\": ", "\",", "\", \"", "\"}", "}", "},", "[]", "{}", "[\"", "\"]", "true", "false", "null", "tru",
            "12", "123",
            "0.5", "-1", "e+", "name", "age", " name", "\n", "\n  ", "  ", "ab", "abc", "aa", "é", "日本", "語", "🙂", "\\n", "\\\"",
            "\\u00", "a\"b",
            "a very long plain token indeed", "日本語日本語日本語日本語", "2024-", "-02-", "@", ".com", "}}}", "]]]]", "x", "xy", "xyz",
        ]
        var tokens: [[UInt8]?] = (0..<256).map { [UInt8($0)] }
        tokens += texts.map { Array($0.utf8) }
        tokens += [[0xE6, 0x97], [0xA5, 0xE6], [0xF0, 0x9F], [0x99, 0x82], [0xA9, 0x22], nil, Array("<|end|>".utf8)]
        return GuidanceVocabulary(tokenBytes: tokens, stopTokens: [Int32(tokens.count - 1)])
    }()

    static let compiler = GuidanceCompiler(small)
}

/// Whether a guidance allows exactly this text, byte by byte, to the end.
func allows(_ spec: GuidanceSpec, _ text: String, whitespace: GuidanceWhitespace = .flexible) throws -> Bool {
    var matcher = try Vocabularies.compiler.compile(spec, whitespace: whitespace).makeMatcher()
    return matcher.accept(bytes: text.utf8) && matcher.canEnd
}

/// The error of a guidance that cannot be compiled.
func failure(_ spec: GuidanceSpec, limits: GuidanceLimits = GuidanceLimits()) -> GuidanceError? {
    do {
        _ = try GuidanceCompiler(Vocabularies.small, limits: limits).compile(spec)
        return nil
    } catch {
        return error
    }
}

extension GuidanceMatcher {
    /// The mask as a list of tokens.
    func allowedTokens() -> [Int32] {
        var copy = self
        var words = [UInt32](repeating: .max, count: guidance.vocabulary.maskWords)
        words.withUnsafeMutableBufferPointer { copy.fillMask($0) }
        return (0..<Int32(guidance.vocabulary.count)).filter { words[Int($0) >> 5] >> UInt32($0 & 31) & 1 == 1 }
    }
}

extension GuidanceMatcher {
    /// Takes a token that must be allowed, or must not.
    mutating func take(_ token: Int32, allowed: Bool = true, at place: SourceLocation = #_sourceLocation) {
        let taken = accept(token)
        #expect(taken == allowed, "token \(token)", sourceLocation: place)
    }

    /// Takes a text that must be allowed.
    mutating func take(_ text: String, at place: SourceLocation = #_sourceLocation) {
        let taken = accept(bytes: text.utf8)
        #expect(taken, "\(text)", sourceLocation: place)
    }
}

/// A text written by following masks at random; after `steps` tokens, stop tokens and short ways out are preferred.
///
/// - Returns: nil when it did not end in time.
func randomText(
    _ guidance: CompiledGuidance, tokens: [[UInt8]?], steps: Int = 60, using random: inout SeededGenerator
) -> [UInt8]? {
    var matcher = guidance.makeMatcher()
    var text: [UInt8] = []
    for step in 0..<steps * 20 {
        let allowed = matcher.allowedTokens()
        guard !allowed.isEmpty else { return nil }
        var choice = allowed[Int.random(in: allowed.indices, using: &random)]
        if step > steps {
            if let stop = guidance.vocabulary.stopTokens.first(where: allowed.contains) { choice = stop }
            // Brackets and quotes close what is open.
            let closing = allowed.filter { tokens[Int($0)].map { $0.count == 1 && "\"]}".utf8.contains($0[0]) } ?? false }
            if choice != guidance.vocabulary.stopTokens.first, let close = closing.randomElement(using: &random) {
                choice = close
            }
        }
        guard matcher.accept(choice) else { return nil }
        if guidance.vocabulary.stopTokens.contains(choice) { return text }
        text += tokens[Int(choice)] ?? []
    }
    return nil
}
