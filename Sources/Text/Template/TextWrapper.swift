/// Python's `textwrap.wrap` as jinja2's `wordwrap` calls it: tabs and white space stay as they are, white space at the
/// borders of lines goes.
struct TextWrapper {
    let width: Int
    let breaksLongWords: Bool
    let breaksOnHyphens: Bool

    private typealias Chunk = ArraySlice<Unicode.Scalar>

    func wrap(_ text: String) throws -> [String] {
        guard width > 0 else { throw TemplateFailure.type("invalid width \(width) (must be > 0)") }
        var chunks: [Chunk] = Self.chunks(Array(text.unicodeScalars)[...], breaksOnHyphens).reversed()
        var lines: [String] = []
        while !chunks.isEmpty {
            var line: [Chunk] = []
            var length = 0
            if let last = chunks.last, last.allSatisfy(Self.isBlank), !lines.isEmpty { chunks.removeLast() }
            while let next = chunks.last, length + next.count <= width {
                line.append(next)
                length += next.count
                chunks.removeLast()
            }
            if let next = chunks.last, next.count > width {
                chunks.removeLast()
                let room = width - length
                if breaksLongWords {
                    var end = room
                    if breaksOnHyphens, next.count > room, room > 0,
                        let hyphen = next.prefix(room).lastIndex(of: "-").map({ $0 - next.startIndex }), hyphen > 0,
                        next.prefix(hyphen).contains(where: { $0 != "-" })
                    {
                        end = hyphen + 1
                    }
                    line.append(next.prefix(end))
                    chunks.append(next.dropFirst(end))
                } else if line.isEmpty {
                    line.append(next)
                } else {
                    chunks.append(next)
                }
            }
            if let last = line.last, last.allSatisfy(Self.isBlank) { line.removeLast() }
            if !line.isEmpty { lines.append(PythonText.string(line.joined())) }
        }
        return lines
    }

    /// textwrap knows only ASCII white space.
    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        (0x09...0x0D).contains(scalar.value) || scalar == " "
    }

    private static func isPunctuationOrWord(_ scalar: Unicode.Scalar) -> Bool {
        PythonText.isWord(scalar) || "!\"'&.,?".unicodeScalars.contains(scalar)
    }

    private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        PythonText.isWord(scalar) && !PythonText.isDecimal(scalar)
    }

    /// Splits into white space, words, and pieces of words that may stand on different lines.
    private static func chunks(_ text: Chunk, _ breaksOnHyphens: Bool) -> [Chunk] {
        var result: [Chunk] = []
        var at = text.startIndex
        while at < text.endIndex {
            let start = at
            if isBlank(text[at]) {
                while at < text.endIndex, isBlank(text[at]) { at += 1 }
            } else if !breaksOnHyphens {
                while at < text.endIndex, !isBlank(text[at]) { at += 1 }
            } else if let end = dashEnd(text, at) {
                at = end
            } else {
                at = wordEnd(text, at)
            }
            result.append(text[start..<at])
        }
        return result
    }

    /// The end of a dash of two or more hyphens between words.
    private static func dashEnd(_ text: Chunk, _ at: Int) -> Int? {
        guard at > text.startIndex, isPunctuationOrWord(text[at - 1]), text[at] == "-" else { return nil }
        var end = at
        while end < text.endIndex, text[end] == "-" { end += 1 }
        return end - at >= 2 && end < text.endIndex && PythonText.isWord(text[end]) ? end : nil
    }

    /// The end of a word: at white space, after a hyphen between letters, or before a dash.
    private static func wordEnd(_ text: Chunk, _ start: Int) -> Int {
        func letter(_ at: Int) -> Bool { text.indices.contains(at) && isLetter(text[at]) }
        var end = start + 1
        while end < text.endIndex, !isBlank(text[end]) {
            if text[end] == "-" {
                let followsLetters =
                    letter(end - 1)
                    && (letter(end - 2) || text.indices.contains(end - 2) && text[end - 2] == "-" && letter(end - 3))
                let precedesLetters =
                    letter(end + 1)
                    && (letter(end + 2) || text.indices.contains(end + 2) && text[end + 2] == "-" && letter(end + 3))
                if followsLetters, precedesLetters { return end + 1 }
                if dashEnd(text, end) != nil { return end }
            }
            end += 1
        }
        return end
    }
}
