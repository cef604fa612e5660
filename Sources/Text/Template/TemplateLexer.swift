/// One token of a template, as jinja2's lexer would yield it.
struct TemplateToken {
    enum Kind: Equatable {
        case data, variableBegin, variableEnd, blockBegin, blockEnd, name, string, integer, float, end
        /// An operator or bracket.
        case symbol(String)
    }

    let kind: Kind
    /// Source text of a name, decoded text of a string or of template data.
    let text: String
    let number: TemplateLiteral
    let line: Int

    func isName(_ name: String) -> Bool { kind == .name && text == name }

    /// The token in the words of jinja2's error messages.
    var description: String {
        switch kind {
        case .data: "template data / text"
        case .variableBegin: "begin of print statement"
        case .variableEnd: "end of print statement"
        case .blockBegin: "begin of statement block"
        case .blockEnd: "end of statement block"
        case .name: text
        case .string: "string"
        case .integer: "integer"
        case .float: "float"
        case .end: "end of template"
        case .symbol(let symbol): symbol
        }
    }
}

/// A constant in a template's source.
enum TemplateLiteral: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
}

/// Splits a template as jinja2 3.1's lexer does with `trim_blocks` and `lstrip_blocks` set and the default delimiters.
///
/// The rules that are easy to get wrong: one newline after a block or comment tag is dropped (not after `{% raw %}`); white
/// space between the start of a line and a block or comment tag is dropped unless the tag begins with `+`; a `-` strips all
/// white space on its side; a closing delimiter is an operator while a bracket is open; one newline at the end of the
/// source is dropped.
struct TemplateLexer {
    private let source: [Unicode.Scalar]
    private var at = 0
    private var line = 1
    private var tokens: [TemplateToken] = []
    /// Whether the text before `at` ended a line; decides stripping when a tag has no text before it.
    private var lineStarting = true

    private struct Syntax: Error {
        let line: Int
        let message: String
    }

    static func tokenize(_ text: String, name: String) throws(JinjaError) -> [TemplateToken] {
        var lexer = TemplateLexer(text)
        do {
            try lexer.run()
        } catch {
            let fault = error as? Syntax
            throw JinjaError(kind: .syntax, template: name, line: fault?.line ?? 0, message: fault?.message ?? "\(error)")
        }
        return lexer.tokens
    }

    private init(_ text: String) {
        source = Self.normalized(text)
    }

    /// Every `\r\n` and `\r` as `\n`, less one newline at the end.
    private static func normalized(_ text: String) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.utf8.count)
        var previous: Unicode.Scalar = " "
        for scalar in text.unicodeScalars {
            if scalar == "\r" {
                result.append("\n")
            } else if scalar != "\n" || previous != "\r" {
                result.append(scalar)
            }
            previous = scalar
        }
        if result.last == "\n" { result.removeLast() }
        return result
    }

    // MARK: template data

    private mutating func run() throws {
        while at < source.count { try readData() }
        add(.end)
    }

    private enum Tag { case variable, block, comment, raw(end: Int) }

    /// Reads text up to the next tag, and the tag.
    private mutating func readData() throws {
        let start = at
        var position = at
        while position < source.count {
            guard source[position] == "{", let tag = tag(at: position) else {
                position += 1
                continue
            }
            var after = position + 2
            let sign: Unicode.Scalar? =
                after < source.count && (source[after] == "-" || source[after] == "+") ? source[after] : nil
            if sign != nil { after += 1 }
            var isVariable = false
            if case .variable = tag { isVariable = true }
            addData(start..<position, sign: sign, lstrip: !isVariable)
            at = after
            switch tag {
            case .variable:
                add(.variableBegin)
                lineStarting = false
                try readExpression(isBlock: false)
            case .block:
                add(.blockBegin)
                lineStarting = false
                try readExpression(isBlock: true)
            case .comment:
                try skipComment()
            case .raw(let end):
                countLines(after..<end)
                at = end
                lineStarting = source[end - 1] == "\n"
                try readRaw()
            }
            return
        }
        addText(start..<source.count)
        at = source.count
    }

    private func tag(at position: Int) -> Tag? {
        guard position + 1 < source.count else { return nil }
        switch source[position + 1] {
        case "{": return .variable
        case "#": return .comment
        case "%":
            if let end = matchTag("raw", position, endsWithPlus: false, trim: false) { return .raw(end: end) }
            return .block
        default: return nil
        }
    }

    /// Matches `{% word %}` at `position` and returns where it ends.
    private func matchTag(_ word: String, _ position: Int, endsWithPlus: Bool, trim: Bool) -> Int? {
        var position = position + 2
        if position < source.count, source[position] == "-" || source[position] == "+" { position += 1 }
        position = skipSpace(position)
        for scalar in word.unicodeScalars {
            guard position < source.count, source[position] == scalar else { return nil }
            position += 1
        }
        return closing("%", skipSpace(position), plus: endsWithPlus, trim: trim)
    }

    /// Matches a closing delimiter with its white space control and returns where the tag ends.
    private func closing(_ mark: Unicode.Scalar, _ position: Int, plus: Bool = true, trim: Bool = true) -> Int? {
        func isMark(_ at: Int) -> Bool { at + 1 < source.count && source[at] == mark && source[at + 1] == "}" }
        guard position < source.count else { return nil }
        if source[position] == "-", isMark(position + 1) { return skipSpace(position + 3) }
        if plus, source[position] == "+", isMark(position + 1) { return position + 3 }
        guard isMark(position) else { return nil }
        let end = position + 2
        return trim && end < source.count && source[end] == "\n" ? end + 1 : end
    }

    private func skipSpace(_ position: Int) -> Int {
        var position = position
        while position < source.count, PythonText.isSpace(source[position]) { position += 1 }
        return position
    }

    /// Emits the text before a tag after the white space control of that tag.
    private mutating func addData(_ range: Range<Int>, sign: Unicode.Scalar?, lstrip: Bool) {
        var end = range.upperBound
        if sign == "-" {
            while end > range.lowerBound, PythonText.isSpace(source[end - 1]) { end -= 1 }
        } else if sign == nil, lstrip {
            var lineStart = end
            while lineStart > range.lowerBound, source[lineStart - 1] != "\n" { lineStart -= 1 }
            if lineStart > range.lowerBound || lineStarting,
                source[lineStart..<end].allSatisfy({ PythonText.isSpace($0) })
            {
                end = lineStart
            }
        }
        addText(range.lowerBound..<end)
        countLines(end..<range.upperBound)
    }

    private mutating func addText(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        add(.data, text: PythonText.string(source[range]))
        countLines(range)
    }

    private mutating func countLines(_ range: Range<Int>) {
        for position in range where source[position] == "\n" { line += 1 }
    }

    private mutating func skipComment() throws {
        var position = at
        while position < source.count {
            if let end = closing("#", position) {
                countLines(at..<end)
                at = end
                lineStarting = source[end - 1] == "\n"
                return
            }
            position += 1
        }
        throw Syntax(line: line, message: "Missing end of comment tag")
    }

    private mutating func readRaw() throws {
        var position = at
        while position + 1 < source.count {
            if source[position] == "{", source[position + 1] == "%",
                let end = matchTag("endraw", position, endsWithPlus: true, trim: true)
            {
                let mark = source[position + 2]
                addData(at..<position, sign: mark == "-" || mark == "+" ? mark : nil, lstrip: true)
                countLines(position..<end)
                at = end
                lineStarting = source[end - 1] == "\n"
                return
            }
            position += 1
        }
        throw Syntax(line: line, message: "Missing end of raw directive")
    }

    // MARK: inside tags

    /// Reads tokens up to the end of the tag.
    private mutating func readExpression(isBlock: Bool) throws {
        var brackets: [Unicode.Scalar] = []
        while at < source.count {
            if brackets.isEmpty, let end = closing(isBlock ? "%" : "}", at, plus: isBlock, trim: isBlock) {
                add(isBlock ? .blockEnd : .variableEnd)
                countLines(at..<end)
                lineStarting = source[end - 1] == "\n"
                at = end
                return
            }
            let scalar = source[at]
            if PythonText.isSpace(scalar) {
                if scalar == "\n" { line += 1 }
                at += 1
            } else if scalar.isDigit {
                try readNumber()
            } else if PythonText.isWord(scalar) {
                try readName()
            } else if scalar == "'" || scalar == "\"" {
                try readString(quote: scalar)
            } else {
                try readSymbol(&brackets)
            }
        }
    }

    private mutating func readName() throws {
        let start = at
        while at < source.count, PythonText.isWord(source[at]) || source[at].properties.isXIDContinue { at += 1 }
        let name = source[start..<at]
        guard let first = name.first, first == "_" || first.properties.isXIDStart,
            name.allSatisfy({ $0.properties.isXIDContinue })
        else { throw Syntax(line: line, message: "Invalid character in identifier") }
        add(.name, text: PythonText.string(name))
    }

    private mutating func readSymbol(_ brackets: inout [Unicode.Scalar]) throws {
        let pair = source[at...].prefix(2)
        let two = PythonText.string(pair)
        if ["//", "**", "==", "!=", ">=", "<="].contains(two) {
            at += 2
            add(.symbol(two))
            return
        }
        let scalar = source[at]
        switch scalar {
        case "(": brackets.append(")")
        case "[": brackets.append("]")
        case "{": brackets.append("}")
        case ")", "]", "}":
            guard let expected = brackets.popLast() else { throw Syntax(line: line, message: "unexpected '\(scalar)'") }
            guard expected == scalar else {
                throw Syntax(line: line, message: "unexpected '\(scalar)', expected '\(expected)'")
            }
        case "+", "-", "/", "*", "%", "~", ">", "<", "=", ".", ":", "|", ",", ";": break
        default:
            throw Syntax(line: line, message: "unexpected char \(PythonText.quoted(String(scalar))) at \(at)")
        }
        at += 1
        add(.symbol(String(scalar)))
    }

    private mutating func add(_ kind: TemplateToken.Kind, text: String = "", number: TemplateLiteral = .none) {
        tokens.append(TemplateToken(kind: kind, text: text, number: number, line: line))
    }

    // MARK: literals

    /// Digits separated by single underscores, from `position` on.
    private func digits(from position: Int, radix: Int = 10) -> Int {
        var position = position
        while position < source.count {
            let next = source[position] == "_" ? position + 1 : position
            guard next < source.count, source[next].isDigit(radix: radix) else { break }
            position = next + 1
        }
        return position
    }

    private mutating func readNumber() throws {
        let start = at
        if let end = floatEnd() {
            let digits = PythonText.string(source[start..<end].filter { $0 != "_" })
            guard let value = Double(digits) else { throw Syntax(line: line, message: "invalid number \(digits)") }
            at = end
            add(.float, number: .float(value))
            return
        }
        var (radix, first) = (10, start)
        if source[start] == "0", start + 1 < source.count {
            let prefixes: [Unicode.Scalar: Int] = ["b": 2, "B": 2, "o": 8, "O": 8, "x": 16, "X": 16]
            if let prefixed = prefixes[source[start + 1]], digits(from: start + 2, radix: prefixed) > start + 2 {
                (radix, first) = (prefixed, start + 2)
            }
        }
        at = digits(from: first, radix: radix)
        if radix == 10, source[start] == "0" {
            // Only zeros may follow a zero; other digits begin the next token, which the parser then refuses.
            at = start + 1
            while at < source.count, source[at] == "0" || source[at] == "_" && at + 1 < source.count && source[at + 1] == "0" {
                at += 1
            }
        }
        let digits = PythonText.string(source[first..<at].filter { $0 != "_" })
        guard let value = Int(digits, radix: radix) else {
            throw Syntax(line: line, message: "integer \(digits) does not fit in 64 bits")
        }
        add(.integer, number: .int(value))
    }

    /// Where a float that begins at `at` ends; nil when the digits there are no float.
    private func floatEnd() -> Int? {
        guard at == 0 || source[at - 1] != "." else { return nil }
        var position = digits(from: at)
        func digitsFollow(_ position: Int) -> Bool { position < source.count && source[position].isDigit }
        var isFloat = false
        if position < source.count, source[position] == ".", digitsFollow(position + 1) {
            position = digits(from: position + 1)
            isFloat = true
        }
        if position < source.count, source[position] == "e" || source[position] == "E" {
            var exponent = position + 1
            if exponent < source.count, source[exponent] == "+" || source[exponent] == "-" { exponent += 1 }
            if digitsFollow(exponent) {
                position = digits(from: exponent)
                isFloat = true
            }
        }
        return isFloat ? position : nil
    }

    private mutating func readString(quote: Unicode.Scalar) throws {
        let start = at + 1
        var end = start
        while end < source.count, source[end] != quote { end += source[end] == "\\" ? 2 : 1 }
        guard end < source.count else {
            throw Syntax(line: line, message: "unexpected char \(PythonText.quoted(String(quote))) at \(at)")
        }
        let body = source[start..<end]
        add(.string, text: try body.contains("\\") ? unescape(Array(body)) : PythonText.string(body))
        countLines(start..<end)
        at = end + 1
    }

    /// Python's `unicode-escape` decoding, after everything outside ASCII was itself escaped with a backslash.
    private func unescape(_ body: [Unicode.Scalar]) throws -> String {
        var result = String.UnicodeScalarView()
        var position = 0
        func append(_ value: UInt32) throws {
            guard let scalar = Unicode.Scalar(value) else {
                throw Syntax(line: line, message: "the escape of code point \(String(value, radix: 16)) is no character")
            }
            result.append(scalar)
        }
        while position < body.count {
            guard body[position] == "\\", position + 1 < body.count else {
                result.append(body[position])
                position += 1
                continue
            }
            let letter = body[position + 1]
            position += 2
            switch letter {
            case "\n": break
            case "\\", "'", "\"": result.append(letter)
            case "a": result.append("\u{7}")
            case "b": result.append("\u{8}")
            case "f": result.append("\u{C}")
            case "n": result.append("\n")
            case "r": result.append("\r")
            case "t": result.append("\t")
            case "v": result.append("\u{B}")
            case "0"..."7":
                var value = letter.value - 48
                var count = 1
                while count < 3, position < body.count, ("0"..."7").contains(body[position]) {
                    value = value * 8 + body[position].value - 48
                    position += 1
                    count += 1
                }
                try append(value)
            case "x", "u", "U":
                let width = letter == "x" ? 2 : letter == "u" ? 4 : 8
                let hex = body[position...].prefix(width).prefix { $0.isDigit(radix: 16) }
                guard hex.count == width, let value = UInt32(PythonText.string(hex), radix: 16) else {
                    throw Syntax(line: line, message: "truncated \\\(letter) escape")
                }
                try append(value)
                position += width
            case "N":
                throw Syntax(line: line, message: "\\N{...} escapes are not supported; write the character itself")
            default:
                result.append("\\")
                if letter.isASCII {
                    result.append(letter)
                } else {
                    // The backslash swallows the one of this character's own escape, whose digits then stay as text.
                    let hex = String(letter.value, radix: 16)
                    let (mark, width) = letter.value < 0x100 ? ("x", 2) : letter.value < 0x10000 ? ("u", 4) : ("U", 8)
                    let text = mark + String(repeating: "0", count: width - hex.utf8.count) + hex
                    result.append(contentsOf: text.unicodeScalars)
                }
            }
        }
        return String(result)
    }
}

extension Unicode.Scalar {
    fileprivate var isDigit: Bool { ("0"..."9").contains(self) }

    fileprivate func isDigit(radix: Int) -> Bool {
        switch self {
        case "0"..."9": Int(value) - 48 < radix
        case "a"..."f", "A"..."F": radix == 16
        default: false
        }
    }
}
