/// The syntax tree of a regular expression.
indirect enum RegexNode: Sendable {
    case empty
    case characters(RegexClass)
    case concatenation([RegexNode])
    case alternation([RegexNode])
    case `repeat`(RegexNode, minimum: Int, maximum: Int?, Greed)
    case look(RegexNode, ahead: Bool, negative: Bool)
    case atomic(RegexNode)
    case assertion(Assertion)

    enum Greed: Sendable { case greedy, lazy, possessive }
    enum Assertion: Sendable { case lineStart, lineEnd, textStart, textEnd, textEndOrFinalNewline, wordBoundary, notWordBoundary }

    /// Whether the node can match without consuming.
    var isNullable: Bool {
        switch self {
        case .empty, .look, .assertion: true
        case .characters: false
        case .concatenation(let nodes): nodes.allSatisfy(\.isNullable)
        case .alternation(let nodes): nodes.contains(where: \.isNullable)
        case .repeat(let node, let minimum, _, _): minimum == 0 || node.isNullable
        case .atomic(let node): node.isNullable
        }
    }

    /// Length in characters when every match has the same; needed to look behind.
    var fixedLength: Int? {
        switch self {
        case .empty, .look, .assertion: return 0
        case .characters: return 1
        case .concatenation(let nodes):
            var sum = 0
            for node in nodes {
                guard let length = node.fixedLength else { return nil }
                sum += length
            }
            return sum
        case .alternation(let nodes):
            guard let first = nodes.first?.fixedLength, nodes.allSatisfy({ $0.fixedLength == first }) else { return nil }
            return first
        case .repeat(let node, let minimum, let maximum, _):
            guard minimum == maximum, let length = node.fixedLength else { return nil }
            return length * minimum
        case .atomic(let node): return node.fixedLength
        }
    }
}

/// Parses the part of Oniguruma's syntax that published tokenizers use: classes with nesting and `&&`, `\p{…}`, `\s \d \w`,
/// look-around, greedy, lazy and possessive quantifiers, groups, options `(?i)`, alternation, anchors.
struct RegexParser {
    private let scalars: [Unicode.Scalar]
    private let culprit: String
    private var at = 0
    private var depth = 0
    private var ignoringCase = false

    init(_ source: String, culprit: String) {
        scalars = Array(source.unicodeScalars)
        self.culprit = culprit
    }

    mutating func parse() throws(TokenizerError) -> RegexNode {
        let node = try alternation()
        if at < scalars.count { throw error("unmatched ')'") }
        return node
    }

    private func error(_ message: String) -> TokenizerError {
        TokenizerError(culprit, "regular expression: \(message) at character \(at + 1)")
    }

    private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

    private mutating func skip(_ text: String) -> Bool {
        let wanted = Array(text.unicodeScalars)
        guard at + wanted.count <= scalars.count, scalars[at..<at + wanted.count].elementsEqual(wanted) else { return false }
        at += wanted.count
        return true
    }

    private mutating func alternation() throws(TokenizerError) -> RegexNode {
        depth += 1
        defer { depth -= 1 }
        guard depth < 100 else { throw error("groups are nested too deeply") }
        var branches = [try concatenation()]
        while skip("|") { branches.append(try concatenation()) }
        return branches.count == 1 ? branches[0] : .alternation(branches)
    }

    private mutating func concatenation() throws(TokenizerError) -> RegexNode {
        var nodes: [RegexNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            if skip("(?i)") {
                ignoringCase = true
                continue
            }
            if skip("(?-i)") {
                ignoringCase = false
                continue
            }
            var node = try atom()
            while let quantified = try quantifier(node) { node = quantified }
            nodes.append(node)
        }
        return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .concatenation(nodes)
    }

    private mutating func quantifier(_ node: RegexNode) throws(TokenizerError) -> RegexNode? {
        var minimum = 0
        var maximum: Int?
        var isInterval = false
        switch next {
        case "*": at += 1
        case "+":
            at += 1
            minimum = 1
        case "?":
            at += 1
            maximum = 1
        case "{":
            let start = at
            at += 1
            let low = decimal()
            let hasComma = skip(",")
            let high = hasComma ? decimal() : low
            guard skip("}"), low != nil || (hasComma && high != nil) else {
                at = start
                return nil
            }
            minimum = low ?? 0
            maximum = high
            isInterval = true
            if let maximum, maximum < minimum { throw error("the quantifier's bounds are reversed") }
            guard minimum <= 1000, (maximum ?? 0) <= 1000 else { throw error("a quantifier above 1000") }
        default: return nil
        }
        var greed = RegexNode.Greed.greedy
        if skip("?") {
            greed = .lazy
        } else if !isInterval, skip("+") {
            greed = .possessive
        }
        return .repeat(node, minimum: minimum, maximum: maximum, greed)
    }

    private mutating func decimal() -> Int? {
        var value: Int?
        while let digit = next, "0"..."9" ~= digit, (value ?? 0) < 1_000_000 {
            value = (value ?? 0) * 10 + Int(digit.value - 48)
            at += 1
        }
        return value
    }

    private mutating func atom() throws(TokenizerError) -> RegexNode {
        guard let scalar = next else { return .empty }
        at += 1
        switch scalar {
        case "(": return try group()
        case "[": return .characters(RegexClass([try bracket()], ignoringCase: ignoringCase))
        case ".": return .characters(.anyButNewline)
        case "^": return .assertion(.lineStart)
        case "$": return .assertion(.lineEnd)
        case "*", "+", "?": throw error("nothing to repeat")
        case "\\":
            switch next {
            case "A": at += 1; return .assertion(.textStart)
            case "z": at += 1; return .assertion(.textEnd)
            case "Z": at += 1; return .assertion(.textEndOrFinalNewline)
            case "b": at += 1; return .assertion(.wordBoundary)
            case "B": at += 1; return .assertion(.notWordBoundary)
            case "1", "2", "3", "4", "5", "6", "7", "8", "9", "k": throw error("back references are not supported")
            default: return .characters(RegexClass([try escape()], ignoringCase: ignoringCase))
            }
        default: return .characters(RegexClass([.range(scalar.value, scalar.value)], ignoringCase: ignoringCase))
        }
    }

    private mutating func group() throws(TokenizerError) -> RegexNode {
        let outer = ignoringCase
        defer { ignoringCase = outer }
        var wrap: (RegexNode) -> RegexNode = { $0 }
        if skip("?=") {
            wrap = { .look($0, ahead: true, negative: false) }
        } else if skip("?!") {
            wrap = { .look($0, ahead: true, negative: true) }
        } else if skip("?<=") {
            wrap = { .look($0, ahead: false, negative: false) }
        } else if skip("?<!") {
            wrap = { .look($0, ahead: false, negative: true) }
        } else if skip("?>") {
            wrap = { .atomic($0) }
        } else if skip("?i:") {
            ignoringCase = true
        } else if skip("?-i:") {
            ignoringCase = false
        } else if skip("?<") {
            while let scalar = next, scalar != ">" { at += 1; _ = scalar }
            guard skip(">") else { throw error("unterminated group name") }
        } else if next == "?", !skip("?:") {
            throw error("this kind of group is not supported")
        }
        let node = try alternation()
        guard skip(")") else { throw error("a group lacks its ')'") }
        return wrap(node)
    }

    /// What follows `[`, through its `]`.
    private mutating func bracket() throws(TokenizerError) -> RegexClass.Part {
        depth += 1
        defer { depth -= 1 }
        guard depth < 100 else { throw error("classes are nested too deeply") }
        let negative = skip("^")
        var parts: [RegexClass.Part] = []
        var isFirst = true
        var left: [RegexClass.Part]?
        while true {
            guard let scalar = next else { throw error("a class lacks its ']'") }
            at += 1
            if scalar == "]", !isFirst { break }
            isFirst = false
            if scalar == "[" {
                if let part = try posixBracket() { parts.append(part) } else { parts.append(try bracket()) }
                continue
            }
            if scalar == "&", skip("&") {
                left = left.map { [.intersection($0, parts)] } ?? parts
                parts = []
                continue
            }
            let part: RegexClass.Part = scalar == "\\" ? try escape(inClass: true) : .range(scalar.value, scalar.value)
            if case .range(let low, _) = part, next == "-", at + 1 < scalars.count, scalars[at + 1] != "]" {
                at += 1
                guard let end = next else { throw error("a class lacks its ']'") }
                at += 1
                let last: RegexClass.Part = end == "\\" ? try escape(inClass: true) : .range(end.value, end.value)
                guard case .range(let high, _) = last, high >= low else { throw error("a range in a class is reversed") }
                parts.append(.range(low, high))
            } else {
                parts.append(part)
            }
        }
        if let left { parts = [.intersection(left, parts)] }
        if negative { return .negated(parts) }
        return parts.count == 1 ? parts[0] : .union(parts)
    }

    private mutating func posixBracket() throws(TokenizerError) -> RegexClass.Part? {
        let start = at
        guard skip(":") else { return nil }
        let negative = skip("^")
        var name = ""
        while let scalar = next, scalar.properties.isAlphabetic { name.unicodeScalars.append(scalar); at += 1 }
        guard skip(":]") else {
            at = start
            return nil
        }
        guard let part = RegexProperty.bracket(named: name) else { throw error("unknown class [:\(name):]") }
        return negative ? .negated([part]) : part
    }

    /// What follows a backslash, where it stands for characters.
    ///
    /// Oniguruma's `\w` differs inside a class: it lacks Latin-1's superscripts and fractions there.
    private mutating func escape(inClass: Bool = false) throws(TokenizerError) -> RegexClass.Part {
        guard let scalar = next else { throw error("a trailing backslash") }
        at += 1
        func single(_ value: UInt32) -> RegexClass.Part { .range(value, value) }
        switch scalar {
        case "s": return .categories(.space)
        case "S": return .negated([.categories(.space)])
        case "d": return .categories(.decimal)
        case "D": return .negated([.categories(.decimal)])
        case "w": return inClass ? .categories(.word) : .word
        case "W": return .negated([inClass ? .categories(.word) : .word])
        case "h": return RegexProperty.hexDigit
        case "H": return .negated([RegexProperty.hexDigit])
        case "n": return single(0x0A)
        case "r": return single(0x0D)
        case "t": return single(0x09)
        case "f": return single(0x0C)
        case "v": return single(0x0B)
        case "a": return single(0x07)
        case "e": return single(0x1B)
        case "0": return single(0)
        case "x":
            if skip("{") {
                guard let value = hexadecimal(most: 8), skip("}") else { throw error("malformed \\x{…}") }
                return single(value)
            }
            guard let value = hexadecimal(most: 2) else { throw error("malformed \\x") }
            return single(value)
        case "u":
            guard let value = hexadecimal(most: 4) else { throw error("malformed \\u") }
            return single(value)
        case "p", "P":
            guard skip("{") else { throw error("\\p needs a property in braces") }
            let caret = skip("^")
            var name = ""
            while let scalar = next, scalar != "}" {
                name.unicodeScalars.append(scalar)
                at += 1
            }
            guard skip("}") else { throw error("\\p needs a property in braces") }
            guard let part = RegexProperty.part(named: name) else { throw error("unknown property \\p{\(name)}") }
            return caret != (scalar == "P") ? .negated([part]) : part
        default:
            guard !scalar.properties.isAlphabetic, !("0"..."9" ~= scalar) else {
                throw error("unknown escape \\\(Character(scalar))")
            }
            return single(scalar.value)
        }
    }

    private mutating func hexadecimal(most digits: Int) -> UInt32? {
        var value: UInt32?
        for _ in 0..<digits {
            guard let scalar = next, let digit = Character(scalar).hexDigitValue, scalar.isASCII else { break }
            value = (value ?? 0) << 4 | UInt32(digit)
            at += 1
        }
        return value
    }
}
