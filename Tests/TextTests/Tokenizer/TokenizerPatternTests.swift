import TestKit
import Testing
import Text

/// The hand-written scanners, the regex engine and its error messages.
@Suite struct TokenizerPatternTests {
    /// Pieces that make the alternatives of the patterns meet.
    private static let pieces = [
        " ", "  ", "\n", "\r\n", "\t", "\u{A0}", "\u{3000}", "\u{85}", "'", "'s", "'S", "'t", "'LL", "'ll", "'re", "'vE", "'l",
        "'r", "'m",
        "'d", "'\u{17F}", "'\u{15F}a", "a", "Zz", "é", "e\u{301}", "\u{301}", "ß", "中", "한", "\u{1F600}", "\u{200D}", "1", "23",
        "4567", "½",
        "Ⅷ", "٣", ".", "!?", "_", "--", "(", "<|", "\u{0}", "\u{E000}", "\u{378}", "ﬁ", "²", "\u{ABCD}",
    ]

    @Test func scannersEqualTheEngine() throws {
        var random = SeededGenerator(seed: 3)
        #expect(PatternProbe.scannedPatterns.count == 5)
        for pattern in PatternProbe.scannedPatterns {
            let probe = try PatternProbe(pattern)
            for _ in 0..<2_000 {
                let text = (0..<Int.random(in: 1...20, using: &random))
                    .map { _ in Self.pieces.randomElement(using: &random) ?? "" }.joined()
                let ends = probe.scannerEnds(in: text)
                #expect(try ends == probe.engineEnds(in: text), "\(pattern): \(text.debugDescription)")
            }
        }
    }

    @Test func scannersEqualTheEngineOnEveryScalar() throws {
        var text = ""
        for value in UInt32(0)..<0x3_2000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            text.unicodeScalars.append(scalar)
            if value % 7 == 0 { text += " " }
            if value % 11 == 0 { text += "a" }
        }
        for pattern in PatternProbe.scannedPatterns {
            let probe = try PatternProbe(pattern)
            #expect(try probe.scannerEnds(in: text) == probe.engineEnds(in: text), "\(pattern)")
        }
    }

    @Test(arguments: [
        ("(", "lacks its ')'"), (")", "unmatched"), ("[a", "lacks its ']'"), ("*a", "nothing to repeat"), ("a{3,1}", "reversed"),
        ("[z-a]", "reversed"), (#"\p{Nonsense}"#, "unknown property"), (#"\p"#, "braces"), (#"(a)\1"#, "back references"),
        (#"a\"#, "trailing backslash"), ("(?<=a+)b", "look-behind"), ("(?P<x>a)", "not supported"), (#"\q"#, "unknown escape"),
        (String(repeating: "(", count: 500), "too deeply"), (String(repeating: "[", count: 500), "too deeply"),
        ("((((a{1000}b){1000}){1000}){1000}){1000}", "too large"), ("a{1001}", "above 1000"),
    ])
    func refusesPatterns(pattern: String, message: String) {
        let error = #expect(throws: TokenizerError.self) { try PatternProbe(pattern).engineEnds(in: "a") }
        #expect(error?.detail.contains(message) == true, "\(pattern): \(error?.detail ?? "")")
    }

    @Test func givesUpOnCatastrophicPatterns() {
        let text = String(repeating: "a", count: 40) + "!"
        let error = #expect(throws: TokenizerError.self) { try PatternProbe("(a|a)*b|(aa|a)+$").engineEnds(in: text) }
        #expect(error?.detail.contains("too many steps") == true)
    }

    @Test func matchesLongRunsWithoutRecursion() throws {
        let text = String(repeating: " ", count: 1_000_000) + "x"
        for pattern in PatternProbe.scannedPatterns {
            let probe = try PatternProbe(pattern)
            let ends = try probe.engineEnds(in: text)
            #expect(ends == probe.scannerEnds(in: text))
            #expect(ends == [999_999, 1_000_001] || ends == [1_000_000, 1_000_001])
        }
    }
}
