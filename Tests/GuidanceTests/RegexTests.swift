import Foundation
import Guidance
import Testing

@Suite struct RegexTests {
    @Test(
        arguments: [
            ("abc", ["abc"], ["", "ab", "abcd", "Abc"]),
            ("a|bc|", ["a", "bc", ""], ["b", "abc"]),
            ("a*b+c?", ["b", "aabbc", "bc"], ["", "ac", "bcc"]),
            ("a{2}b{1,3}c{2,}", ["aabcc", "aabbbccccc"], ["abcc", "aabbbbcc", "aabc"]),
            ("(ab)+", ["ab", "abab"], ["", "aba"]),
            ("(?:x|y){2}(?<name>z)", ["xyz", "yyz"], ["xz", "xyzz"]),
            ("[a-c\\d_-]+", ["a1_-", "cb"], ["d", ""]),
            ("[^a-z]", ["A", "é", "\n", "🙂"], ["b", "AB"]),
            ("\\d{3}-\\d{4}", ["555-1234"], ["555-123", "5555-1234"]),
            ("\\w+\\s\\S\\D\\W", ["ab !x?", "_ a-."], ["ab  x?", "ab !1?"]),
            (".", ["a", "é", "🙂", "\t"], ["", "\n", "\r", "\u{2028}", "ab"]),
            ("\\u0041\\x42\\u{1F642}\\ud83d\\ude42", ["AB🙂🙂"], ["AB🙂"]),
            ("[é-ü]+", ["éü", "ê"], ["e", "ý"]),
            ("[\u{7FF}-\u{10001}]", ["\u{7FF}", "\u{800}", "\u{FFFF}", "\u{10001}", "日"], ["\u{7FE}", "\u{10002}"]),
            ("\\p{Lu}\\p{Ll}*\\P{L}", ["Été1", "A!"], ["été1", "AB1"]),
            ("^a$|^(b|c)$", ["a", "b", "c"], ["ab", "^a$"]),
            ("a+?b*?", ["a", "aab"], ["b"]),
            ("a{,3}", ["a{,3}"], ["aaa"]),
            ("\\(\\)\\[\\]\\{\\}\\.\\*\\+\\?\\|\\^\\$\\\\\\/", ["()[]{}.*+?|^$\\/"], [""]),
            ("(a{0,2}){0,2}", ["", "a", "aaaa"], ["aaaaa"]),
            ("(a*)*b", ["b", "aaab"], ["a"]),
        ] as [(String, [String], [String])])
    func acceptsAndRejects(_ pattern: String, _ good: [String], _ bad: [String]) throws {
        for text in good { #expect(try allows(.regex(pattern), text), "\(pattern) must allow \(text.debugDescription)") }
        for text in bad { #expect(try !allows(.regex(pattern), text), "\(pattern) must refuse \(text.debugDescription)") }
    }

    @Test(arguments: [
        ("(a", "regex:3", "no end"), ("a)", "regex:2", "unmatched"), ("[a", "regex:3", "no end"),
        ("*a", "regex:1", "repeats nothing"),
        ("a**", "regex:3", "repetition of a repetition"), ("(?=a)", "regex:3", "lookaround"),
        ("(?<!a)b", "regex:4", "lookaround"),
        ("(a)\\1", "regex:5", "back references"), ("\\bword", "regex:2", "\\b is not supported"),
        ("a^b", "regex:2", "'^' inside"),
        ("a$b", "regex:3", "'$' inside"), ("a{5,2}", "regex:6", "wrong way round"), ("[z-a]", "regex:5", "wrong way round"),
        ("a{99999}", "regex:7", "a count above"), ("\\ud800", "regex:6", "surrogate"), ("\\q", "regex:2", "not known"),
        ("(?i)a", "regex:3", "flags"), ("a++", "regex:3", "possessive"), ("[[:alpha:]]", "regex:2", "POSIX"),
        ("[]", "regex:2", "empty"),
        ("\\", "regex:2", "backslash"), ("(?:^a)*", "regex:7", "anchor"), ("\\p{Greek}", "regex:9", "not known"),
        ("[^\\s\\S]", "regex:7", "matches nothing"),
    ])
    func refusesWithPosition(_ pattern: String, _ place: String, _ words: String) throws {
        let error = try #require(failure(.regex(pattern)))
        #expect(error.location == place, "\(error)")
        #expect(error.message.contains(words), "\(error)")
    }

    /// Whatever the masks let through, Foundation's engine matches; and single changes that it refuses, the masks refuse.
    @Test(arguments: [
        "[a-z]{2,5}(-[0-9]+)*", "(\\d{1,3}\\.){3}\\d{1,3}", "(foo|bar|baz)+x?", "[^\"\\\\]{0,8}é+", "(a|ab)(c|bcd)(d*)",
        "[\\w-]+@x+\\.(com|org)",
        "([ab]*a[ab]{3})", "(\\+|-)?(0|[1-9][0-9]*)(\\.[0-9]+)?", "日本?語*[x-z]",
    ])
    func agreesWithFoundation(_ pattern: String) throws {
        let expression = try NSRegularExpression(pattern: "^(?:\(pattern))\\z")
        let guidance = try Vocabularies.compiler.compile(.regex(pattern))
        let tokens = RegexTests.tokens
        var random = SeededGenerator(7)
        func foundationMatches(_ text: String) -> Bool {
            expression.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
        }
        var ended = 0
        for _ in 0..<40 {
            guard let bytes = randomText(guidance, tokens: tokens, steps: 12, using: &random) else { continue }
            ended += 1
            let text = try #require(String(validating: bytes, as: UTF8.self), "\(bytes) is no text")
            #expect(foundationMatches(text), "\(pattern) let \(text.debugDescription) through")
            // A neighbour of the text: both must say the same.
            var scalars = Array(text.unicodeScalars)
            if !scalars.isEmpty {
                scalars[Int.random(in: scalars.indices, using: &random)] =
                    (pattern.contains("\\w") ? "ab0x.@-_" : "ab0x.@é-").unicodeScalars.randomElement(using: &random) ?? "a"
            }
            let neighbour = String(String.UnicodeScalarView(scalars))
            #expect(
                try allows(.regex(pattern), neighbour) == foundationMatches(neighbour),
                "\(pattern) on \(neighbour.debugDescription)")
        }
        #expect(ended >= 30)
    }

    static let tokens: [[UInt8]?] = (0..<Vocabularies.small.count).map { Vocabularies.small.bytes(of: Int32($0)) }
}
