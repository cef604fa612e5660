/// Cuts the text of a grammar into its signs.
struct GrammarLexer {
    enum Token: Equatable {
        case name(String)
        /// `::=`
        case defines
        case text(String)
        case characters(ScalarSet)
        /// One of `|()*+?`.
        case symbol(Unicode.Scalar)
        /// `{m}`, `{m,}`, `{,n}` or `{m,n}`.
        case count(min: Int, max: Int?)
    }

    struct Lexeme {
        let token: Token
        let line: Int
        let column: Int
    }

    private let scalars: [Unicode.Scalar]
    private let limits: GuidanceLimits
    private var at = 0
    private var line = 1
    private var lineStart = 0

    static func lexemes(of text: String, limits: GuidanceLimits) throws(GuidanceError) -> [Lexeme] {
        var lexer = GrammarLexer(scalars: Array(text.unicodeScalars), limits: limits)
        var result: [Lexeme] = []
        while let lexeme = try lexer.next() { result.append(lexeme) }
        return result
    }

    private init(scalars: [Unicode.Scalar], limits: GuidanceLimits) {
        self.scalars = scalars
        self.limits = limits
    }

    private var scalar: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

    private func error(_ message: String, kind: GuidanceError.Kind = .invalidSyntax) -> GuidanceError {
        GuidanceError(kind, at: "grammar:\(line):\(at - lineStart + 1)", message)
    }

    private mutating func skipBlanks() {
        while let scalar {
            if scalar == "#" {
                while let scalar = self.scalar, scalar != "\n" { at += 1 }
            } else if scalar == "\n" {
                at += 1
                line += 1
                lineStart = at
            } else if ScalarSet.space.contains(scalar) || scalar == "\u{FEFF}" {
                at += 1
            } else {
                return
            }
        }
    }

    private mutating func next() throws(GuidanceError) -> Lexeme? {
        skipBlanks()
        guard let first = scalar else { return nil }
        let column = at - lineStart + 1
        let start = line
        return Lexeme(token: try token(first), line: start, column: column)
    }

    private static func isNameScalar(_ scalar: Unicode.Scalar) -> Bool {
        ScalarSet.word.contains(scalar) || scalar == "-" || scalar == "."
    }

    private mutating func token(_ first: Unicode.Scalar) throws(GuidanceError) -> Token {
        at += 1
        switch first {
        case "\"": return .text(try text())
        case "[": return .characters(try characters())
        case ".": return .characters(.all)
        case "|", "(", ")", "*", "+", "?":
            if first == "(", scalar == "?" {
                throw error("lookaround is not supported; write out the texts that are allowed", kind: .unsupported)
            }
            return .symbol(first)
        case "{": return try count()
        case ":":
            guard scalars[at...].starts(with: [":", "="]) else {
                throw error("'::=' is needed between a rule's name and what it stands for")
            }
            at += 2
            return .defines
        case _ where Self.isNameScalar(first):
            var name = String.UnicodeScalarView()
            name.append(first)
            while let scalar, Self.isNameScalar(scalar) {
                name.append(scalar)
                at += 1
            }
            return .name(String(name))
        default: throw error("'\(first)' has no meaning here; put texts in double quotes")
        }
    }

    private mutating func text() throws(GuidanceError) -> String {
        var text = String.UnicodeScalarView()
        while let scalar, scalar != "\"" {
            guard scalar != "\n" else { throw error("a text ends on its line; write \\n for a line break") }
            text.append(try character())
        }
        guard scalar == "\"" else { throw error("a text has no end; add '\"'") }
        at += 1
        return String(text)
    }

    private mutating func characters() throws(GuidanceError) -> ScalarSet {
        var isInverted = false
        if scalar == "^" {
            isInverted = true
            at += 1
        }
        var ranges: [ClosedRange<UInt32>] = []
        while let scalar, scalar != "]" {
            guard scalar != "\n" else { throw error("a character class ends on its line; write \\n for a line break") }
            let low = try character()
            if self.scalar == "-", at + 1 < scalars.count, scalars[at + 1] != "]" {
                at += 1
                let high = try character()
                guard low <= high else { throw error("the range \(low)-\(high) is the wrong way round") }
                ranges.append(low.value...high.value)
            } else {
                ranges.append(low.value...low.value)
            }
        }
        guard scalar == "]" else { throw error("a character class has no end; add ']'") }
        let set = isInverted ? ScalarSet(ranges).inverted : ScalarSet(ranges)
        guard !set.isEmpty else { throw error("this character class matches nothing", kind: .unsatisfiable) }
        at += 1
        return set
    }

    /// One character of a text or a class, escapes undone.
    private mutating func character() throws(GuidanceError) -> Unicode.Scalar {
        guard let first = scalar else { throw error("the grammar ends too early") }
        at += 1
        guard first == "\\" else { return first }
        guard let escape = scalar else { throw error("a backslash at the end; write \\\\ for the character") }
        at += 1
        switch escape {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "x": return try hex(2)
        case "u": return try hex(4)
        case "U": return try hex(8)
        case "\\", "\"", "'", "[", "]", "^", "-", "/", ".", "?", "*", "+", "(", ")", "{", "}", "|", "$", " ": return escape
        default: throw error("\\\(escape) is not known; \\n \\r \\t \\\" \\\\ \\[ \\] \\- \\^ \\xHH \\uHHHH and \\UHHHHHHHH are")
        }
    }

    private mutating func hex(_ count: Int) throws(GuidanceError) -> Unicode.Scalar {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let scalar, let digit = Character(scalar).hexDigitValue else {
                throw error("\(count) hexadecimal digits are needed here")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        guard let scalar = Unicode.Scalar(value) else { throw error("U+\(String(value, radix: 16)) is no character") }
        return scalar
    }

    private mutating func count() throws(GuidanceError) -> Token {
        let low = try number()
        guard scalar == "," else {
            guard let low, scalar == "}" else { throw error("a count is written {m}, {m,}, {,n} or {m,n}") }
            at += 1
            return .count(min: low, max: low)
        }
        at += 1
        let high = try number()
        guard scalar == "}", low != nil || high != nil else { throw error("a count is written {m}, {m,}, {,n} or {m,n}") }
        if let high, high < low ?? 0 { throw error("{\(low ?? 0),\(high)} is the wrong way round") }
        at += 1
        return .count(min: low ?? 0, max: high)
    }

    private mutating func number() throws(GuidanceError) -> Int? {
        while scalar == " " { at += 1 }
        var value: Int?
        while let scalar, ("0"..."9").contains(scalar) {
            value = (value ?? 0) * 10 + Int(scalar.value - 0x30)
            at += 1
            if let value, value > limits.repetitions {
                throw error("a count above \(limits.repetitions); lower it or write * or +", kind: .tooLarge)
            }
        }
        while scalar == " " { at += 1 }
        return value
    }
}
