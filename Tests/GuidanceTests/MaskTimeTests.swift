import Guidance
import Testing

/// Masks over a vocabulary of the size of Qwen's.
@Suite struct MaskTimeTests {
    /// Tokens with the mixture of a real vocabulary: words with and without a space, cases, digits, scripts, punctuation runs, indents,
    /// halves of characters.
    static let large: GuidanceVocabulary = {
        var random = SeededGenerator(1)
        var seen: Set<[UInt8]> = []
        var tokens: [[UInt8]?] = []
        func add(_ bytes: [UInt8]) { if seen.insert(bytes).inserted { tokens.append(bytes) } }
        for byte in 0...255 { add([UInt8(byte)]) }
        let vowels = Array("aeiou"), consonants = Array("bcdfghjklmnprstvwz")
        while tokens.count < 151_643 {
            var text = ""
            switch Int.random(in: 0..<100, using: &random) {
            case ..<65:
                if Bool.random(using: &random) { text += " " }
                for _ in 0..<Int.random(in: 1...5, using: &random) {
                    text.append(consonants[Int.random(in: consonants.indices, using: &random)])
                    text.append(vowels[Int.random(in: vowels.indices, using: &random)])
                }
                if Int.random(in: 0..<4, using: &random) == 0 { text = text.uppercased() }
            case ..<92:
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: 0x4E00...0x9FA5, using: &random)) ?? "x")
                }
            case ..<98:
                let marks = Array("()[]{}\"'\\/.,:;<>=+-*&|!?#$%^_~`\n\t ")
                for _ in 0..<Int.random(in: 2...5, using: &random) {
                    text.append(marks[Int.random(in: marks.indices, using: &random)])
                }
            default:
                add((0..<3).map { _ in UInt8.random(in: 0x80...0xF4, using: &random) })
                continue
            }
            add(Array(text.utf8))
        }
        while tokens.count < 151_936 { tokens.append(nil) }
        return GuidanceVocabulary(tokenBytes: tokens, stopTokens: [151_643, 151_645])
    }()

    static let specs: [GuidanceSpec] = [
        .jsonObject,
        .jsonSchema(
            ##"{"type":"object","properties":{"number":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{4,8}$"},"date":{"type":"string","format":"date"},"total":{"type":"number","minimum":0},"currency":{"enum":["EUR","USD","GBP"]},"lines":{"type":"array","maxItems":50,"items":{"type":"object","properties":{"text":{"type":"string","maxLength":200},"count":{"type":"integer","minimum":1,"maximum":999},"price":{"type":"number"}},"required":["text","count","price"]}},"notes":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["number","date","total","lines"]}"##
        ),
        .regex("[A-Za-z]+( [A-Za-z]+)*\\.?"),
    ]

    @Test func masksAreQuick() throws {
        let measured = try MaskTime(Self.specs, vocabulary: Self.large)
        measured.report("synthetic")
        // Far above what is measured, so that a busy machine does not fail; a walk over the whole vocabulary each time would.
        for time in measured.times {
            #expect(time.known[time.known.count / 2] < .microseconds(100))
            #expect(time.asTheyCome[time.asTheyCome.count / 2] < .milliseconds(1))
        }
    }
}

/// Times of masks over random texts: as they come, new and known ones, and of known ones alone.
struct MaskTime {
    struct Times {
        let name: String
        let compile: Duration
        var asTheyCome: [Duration] = []
        var known: [Duration] = []
        var mean: Duration { asTheyCome.reduce(.zero, +) / max(1, asTheyCome.count) }
    }

    private(set) var times: [Times] = []

    init(_ specs: [GuidanceSpec], vocabulary: GuidanceVocabulary) throws {
        for spec in specs { times.append(try Self.measure(spec, vocabulary)) }
    }

    private static let marks = Set("\"{}[],:".utf8)

    private static func measure(_ spec: GuidanceSpec, _ vocabulary: GuidanceVocabulary) throws -> Times {
        let clock = ContinuousClock()
        let start = clock.now
        let guidance = try GuidanceCompiler(vocabulary).compile(spec)
        var times = Times(name: spec.name, compile: clock.now - start)
        let hasMark = (0..<Int32(vocabulary.count)).map { token in
            vocabulary.bytes(of: token)?.contains { marks.contains($0) } ?? true
        }
        var random = SeededGenerator(4)
        var words = [UInt32](repeating: 0, count: vocabulary.maskWords)
        for _ in 0..<20 {
            var matcher = guidance.makeMatcher()
            for _ in 0..<100 {
                for isFirst in [true, false] {
                    let before = clock.now
                    words.withUnsafeMutableBufferPointer { matcher.fillMask($0) }
                    let time = clock.now - before
                    if isFirst { times.asTheyCome.append(time) } else { times.known.append(time) }
                }
                var allowed: [Int32] = []
                for (index, word) in words.enumerated() where word != 0 {
                    for bit in 0..<32 where word >> UInt32(bit) & 1 == 1 { allowed.append(Int32(index * 32 + bit)) }
                }
                // Mostly tokens that have a mark, so that texts get on.
                let marked = allowed.filter { hasMark[Int($0)] }
                let choices = !marked.isEmpty && Int.random(in: 0..<3, using: &random) > 0 ? marked : allowed
                let choice = try #require(choices.randomElement(using: &random))
                matcher.take(choice)
                if vocabulary.stopTokens.contains(choice) { break }
            }
        }
        times.asTheyCome.sort()
        times.known.sort()
        return times
    }

    func report(_ vocabulary: String) {
        for time in times {
            let (new, known) = (time.asTheyCome, time.known)
            print(
                "masks of \(vocabulary), \(time.name): compile \(time.compile), \(new.count) masks as they come: mean \(time.mean), "
                    + "median \(new[new.count / 2]), p99 \(new[new.count * 99 / 100]), max \(new.last ?? .zero); "
                    + "known: median \(known[known.count / 2]), p99 \(known[known.count * 99 / 100])")
        }
    }
}

extension GuidanceSpec {
    fileprivate var name: String {
        switch self {
        case .jsonObject: "JSON object"
        case .jsonSchema: "JSON Schema"
        case .regex: "regex"
        case .grammar: "grammar"
        }
    }
}
