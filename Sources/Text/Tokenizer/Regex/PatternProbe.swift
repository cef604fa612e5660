/// The two ways to match a well-known split pattern, for tests that hold them equal.
package struct PatternProbe: Sendable {
    private let scanner: WordScanner?
    private let regex: Regex

    /// Patterns that have a hand-written scanner.
    package static var scannedPatterns: [String] { WordScanner.known.keys.sorted() }

    /// - Throws: `TokenizerError` if the pattern cannot be compiled.
    package init(_ pattern: String) throws {
        scanner = WordScanner.known[pattern]
        regex = try Regex(pattern, culprit: "pattern")
    }

    /// Ends of the pieces that the scanner finds.
    package func scannerEnds(in text: String) -> [Int] {
        var ends: [Int] = []
        Array(text.utf8).withUnsafeBufferPointer { buffer in scanner?.scan(buffer) { ends.append($0) } }
        return ends
    }

    /// Ends of the matches that the regex engine finds.
    /// - Throws: `TokenizerError` if matching takes too many steps.
    package func engineEnds(in text: String) throws -> [Int] {
        let result = Array(text.utf8).withUnsafeBufferPointer { buffer in
            Result {
                var ends: [Int] = []
                try regex.forEachMatch(in: buffer) { _, end in ends.append(end) }
                return ends
            }
        }
        return try result.get()
    }
}
