/// Reads regular expressions in the syntax that ECMAScript, Python and ICU share, into ``Expression``.
///
/// `\d` and `\w` are ASCII and `\s` is ASCII white space, as JSON Schema recommends for patterns that many tools read alike; `.` is any
/// character but a line end. Greedy and lazy quantifiers match the same texts. What no automaton can hold (lookaround, back references,
/// word boundaries) is an error.
package struct RegexParser {
    /// An expression by where it is anchored: the texts it matches anywhere, at the start, at the end, and as the whole.
    package struct Anchored {
        var free: [Expression] = []
        var atStart: [Expression] = []
        var atEnd: [Expression] = []
        var atBoth: [Expression] = []

        /// Texts that match from the first to the last character.
        package var wholeMatch: Expression { .choice(free + atStart + atEnd + atBoth) }

        /// Texts in which a match is found.
        package var found: Expression {
            let any = Expression.many(.scalars(.all))
            var ways = atBoth
            if !free.isEmpty { ways.append(.sequence([any, .choice(free), any])) }
            if !atStart.isEmpty { ways.append(.sequence([.choice(atStart), any])) }
            if !atEnd.isEmpty { ways.append(.sequence([any, .choice(atEnd)])) }
            return .choice(ways)
        }

        var isFree: Bool { atStart.isEmpty && atEnd.isEmpty && atBoth.isEmpty }
    }

    private let scalars: [Unicode.Scalar]
    private let origin: String
    private let limits: GuidanceLimits
    private var at = 0
    private var depth = 0

    /// - Throws: ``GuidanceError`` at `origin:POSITION`, counted in characters from 1.
    package static func parse(_ pattern: String, origin: String, limits: GuidanceLimits) throws(GuidanceError) -> Anchored {
        guard pattern.utf8.count <= limits.textBytes else {
            throw GuidanceError(.tooLarge, at: origin, "is longer than \(limits.textBytes) bytes")
        }
        var parser = RegexParser(scalars: Array(pattern.unicodeScalars), origin: origin, limits: limits)
        let result = try parser.alternatives()
        if parser.at < parser.scalars.count { throw parser.error("an unmatched ')'; write \\) for the character") }
        return result
    }

    private init(scalars: [Unicode.Scalar], origin: String, limits: GuidanceLimits) {
        self.scalars = scalars
        self.origin = origin
        self.limits = limits
    }

    private func error(_ message: String, kind: GuidanceError.Kind = .invalidSyntax, back: Int = 0) -> GuidanceError {
        GuidanceError(kind, at: "\(origin):\(max(1, at + 1 - back))", message)
    }

    private func peek(_ offset: Int = 0) -> Unicode.Scalar? { at + offset < scalars.count ? scalars[at + offset] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek() == scalar else { return false }
        at += 1
        return true
    }

    private mutating func take(_ text: String) -> Bool {
        let wanted = Array(text.unicodeScalars)
        guard scalars[at...].starts(with: wanted) else { return false }
        at += wanted.count
        return true
    }

    // MARK: Structure

    private mutating func alternatives() throws(GuidanceError) -> Anchored {
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.nesting else { throw error("groups are nested deeper than \(limits.nesting)", kind: .tooLarge) }
        var result = Anchored()
        repeat {
            let branch = try sequence()
            result.free += branch.free
            result.atStart += branch.atStart
            result.atEnd += branch.atEnd
            result.atBoth += branch.atBoth
        } while take("|")
        return result
    }

    private mutating func sequence() throws(GuidanceError) -> Anchored {
        var (isAtStart, isAtEnd) = (false, false)
        var items: [Anchored] = []
        while let scalar = peek(), scalar != "|", scalar != ")" {
            if scalar == "^" || (scalar == "\\" && peek(1) == "A") {
                guard items.isEmpty else {
                    throw error("'^' inside an expression can never match; write \\^ for the character", kind: .unsupported)
                }
                at += scalar == "^" ? 1 : 2
                isAtStart = true
                continue
            }
            if scalar == "$" || (scalar == "\\" && (peek(1) == "z" || peek(1) == "Z")) {
                at += scalar == "$" ? 1 : 2
                isAtEnd = true
                continue
            }
            guard !isAtEnd else {
                throw error("'$' inside an expression can never match; write \\$ for the character", kind: .unsupported)
            }
            items.append(try quantified())
        }
        // Only the first item may bring a start and only the last an end.
        for (index, item) in items.enumerated() where !item.isFree {
            let startIsInside = index > 0 && !(item.atStart.isEmpty && item.atBoth.isEmpty)
            let endIsInside = index < items.count - 1 && !(item.atEnd.isEmpty && item.atBoth.isEmpty)
            if startIsInside || endIsInside {
                throw error("an anchor of a group is inside the expression; put ^ and $ at its ends", kind: .unsupported)
            }
        }
        var result = Anchored()
        func add(_ parts: [Expression], start: Bool, end: Bool) {
            switch (start || isAtStart, end || isAtEnd) {
            case (false, false): result.free.append(.sequence(parts))
            case (true, false): result.atStart.append(.sequence(parts))
            case (false, true): result.atEnd.append(.sequence(parts))
            case (true, true): result.atBoth.append(.sequence(parts))
            }
        }
        guard let first = items.first, let last = items.last else {
            add([], start: false, end: false)
            return result
        }
        if items.count == 1 {
            for (parts, start, end) in [
                (first.free, false, false), (first.atStart, true, false), (first.atEnd, false, true), (first.atBoth, true, true),
            ] where !parts.isEmpty { add([.choice(parts)], start: start, end: end) }
            return result
        }
        let middle = items.dropFirst().dropLast().map { Expression.choice($0.free) }
        for (head, start) in [(first.free, false), (first.atStart, true)] where !head.isEmpty {
            for (tail, end) in [(last.free, false), (last.atEnd, true)] where !tail.isEmpty {
                add([.choice(head)] + middle + [.choice(tail)], start: start, end: end)
            }
        }
        return result
    }

    private mutating func quantified() throws(GuidanceError) -> Anchored {
        var item = try atom()
        var quantifiers = 0
        while let (min, max) = try quantifier() {
            quantifiers += 1
            guard quantifiers == 1 else { throw error("a repetition of a repetition; put the first in a group", back: 1) }
            guard item.isFree else { throw error("an anchor cannot be repeated", kind: .unsupported, back: 1) }
            item.free = [.repeated(.choice(item.free), min: min, max: max)]
            if take("?") { continue }
            if peek() == "+" {
                throw error("possessive quantifiers are not supported; leave the '+' out", kind: .unsupported)
            }
        }
        return item
    }

    private mutating func quantifier() throws(GuidanceError) -> (min: Int, max: Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        guard peek() == "{" else { return nil }
        // As in most flavours, a brace that begins no count is itself.
        let start = at
        at += 1
        guard let low = try number() else {
            at = start
            return nil
        }
        var high: Int? = low
        if take(",") { high = try number() }
        guard take("}") else {
            at = start
            return nil
        }
        if let high, high < low { throw error("{\(low),\(high)} is the wrong way round", back: 1) }
        return (low, high)
    }

    private mutating func number() throws(GuidanceError) -> Int? {
        var value: Int?
        while let scalar = peek(), ("0"..."9").contains(scalar) {
            value = (value ?? 0) * 10 + Int(scalar.value - 0x30)
            at += 1
            if let value, value > limits.repetitions {
                throw error("a count above \(limits.repetitions); lower it or write * or +", kind: .tooLarge, back: 1)
            }
        }
        return value
    }

    // MARK: Atoms

    private func free(_ set: ScalarSet) -> Anchored { Anchored(free: [.scalars(set)]) }

    private mutating func atom() throws(GuidanceError) -> Anchored {
        guard let scalar = peek() else { throw error("the expression ends too early") }
        switch scalar {
        case "(": return try group()
        case "[":
            at += 1
            return free(try characterClass())
        case ".":
            at += 1
            return free(ScalarSet.lineEnds.inverted)
        case "\\":
            at += 1
            return free(try escape(inClass: false))
        case "*", "+", "?": throw error("'\(scalar)' repeats nothing; write \\\(scalar) for the character")
        default:
            if scalar == "{", let quantifier = try quantifier() {
                throw error("{\(quantifier.min)… repeats nothing; write \\{ for the character", back: 1)
            }
            at += 1
            return free(ScalarSet(scalar))
        }
    }

    private mutating func group() throws(GuidanceError) -> Anchored {
        at += 1
        if take("?") {
            if take("=") || take("!") || take("<=") || take("<!") {
                throw error("lookaround is not supported; write out the texts that are allowed", kind: .unsupported, back: 1)
            }
            if take("P<") || take("<") {
                while let scalar = peek(), scalar != ">" {
                    guard scalar.properties.isAlphabetic || scalar == "_" || ("0"..."9").contains(scalar) else {
                        throw error("a group's name may have letters, digits and '_'")
                    }
                    at += 1
                }
                guard take(">") else { throw error("the group's name has no end") }
            } else if !take(":") {
                throw error(
                    "only (?:…) and (?<name>…) are supported after '(?'; write flags out, [aA] for instance", kind: .unsupported)
            }
        }
        let inner = try alternatives()
        guard take(")") else { throw error("a group has no end; add ')'") }
        return inner
    }

    private mutating func characterClass() throws(GuidanceError) -> ScalarSet {
        let isInverted = take("^")
        var result = ScalarSet()
        var isFirst = true
        while true {
            guard let scalar = peek() else { throw error("a character class has no end; add ']'") }
            if scalar == "]" && !isFirst { break }
            if scalar == "]" {
                throw error("an empty character class matches nothing; write \\] for the character", kind: .unsupported)
            }
            if scalar == "[" && peek(1) == ":" {
                throw error("POSIX classes are not supported; write \\d, \\w or the ranges", kind: .unsupported)
            }
            if scalar == "&" && peek(1) == "&" || scalar == "-" && peek(1) == "-" && !isFirst {
                throw error("class operations are not supported; write the ranges", kind: .unsupported)
            }
            isFirst = false
            let low = try classMember()
            if peek() == "-", let after = peek(1), after != "]" {
                at += 1
                let high = try classMember()
                guard let low = low.single, let high = high.single else {
                    throw error("a range needs a character on both sides of '-'; write \\- for the character")
                }
                guard low <= high else { throw error("the range \(low)-\(high) is the wrong way round") }
                result = result.union(ScalarSet(low...high))
            } else {
                result = result.union(low)
            }
        }
        at += 1
        let set = isInverted ? result.inverted : result
        guard !set.isEmpty else { throw error("this character class matches nothing", kind: .unsatisfiable, back: 1) }
        return set
    }

    private mutating func classMember() throws(GuidanceError) -> ScalarSet {
        guard let scalar = peek() else { throw error("a character class has no end; add ']'") }
        at += 1
        return scalar == "\\" ? try escape(inClass: true) : ScalarSet(scalar)
    }

    private mutating func escape(inClass: Bool) throws(GuidanceError) -> ScalarSet {
        guard let scalar = peek() else { throw error("a backslash at the end; write \\\\ for the character") }
        at += 1
        switch scalar {
        case "d": return .digits
        case "D": return ScalarSet.digits.inverted
        case "w": return .word
        case "W": return ScalarSet.word.inverted
        case "s": return .space
        case "S": return ScalarSet.space.inverted
        case "n": return ScalarSet("\n")
        case "r": return ScalarSet("\r")
        case "t": return ScalarSet("\t")
        case "f": return ScalarSet("\u{C}")
        case "v": return ScalarSet("\u{B}")
        case "b" where inClass: return ScalarSet("\u{8}")
        case "0":
            guard !(peek().map { ("0"..."9").contains($0) } ?? false) else {
                throw error("octal escapes are not supported; write \\xHH", kind: .unsupported)
            }
            return ScalarSet("\0")
        case "x":
            if peek() == "{" { return try braced() }
            return ScalarSet(try hex(2))
        case "u":
            if peek() == "{" { return try braced() }
            let unit = try hexValue(4)
            // A pair of surrogates is one character.
            if 0xD800...0xDBFF ~= unit, take("\\u") {
                let low = try hexValue(4)
                guard 0xDC00...0xDFFF ~= low, let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)) else {
                    throw error("half a surrogate pair is no character", back: 1)
                }
                return ScalarSet(scalar)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw error("half a surrogate pair is no character", back: 1) }
            return ScalarSet(scalar)
        case "U": return ScalarSet(try hex(8))
        case "p", "P": return try property(isInverted: scalar == "P")
        case "b", "B", "G", "K", "X", "R":
            throw error("\\\(scalar) is not supported; write out the texts that are allowed", kind: .unsupported, back: 1)
        case "1"..."9", "k":
            throw error("back references are not supported; write out the texts that are allowed", kind: .unsupported, back: 1)
        default:
            // A letter or digit that means nothing today may be a mistake; anything else stands for itself.
            if scalar.isASCII, scalar.properties.isAlphabetic {
                throw error("\\\(scalar) is not known; leave the backslash out for the character", back: 1)
            }
            return ScalarSet(scalar)
        }
    }

    private mutating func hexValue(_ count: Int) throws(GuidanceError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let scalar = peek(), let digit = Character(scalar).hexDigitValue else {
                throw error("\(count) hexadecimal digits are needed here")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }

    private mutating func hex(_ count: Int) throws(GuidanceError) -> Unicode.Scalar {
        guard let scalar = Unicode.Scalar(try hexValue(count)) else { throw error("is no Unicode character", back: 1) }
        return scalar
    }

    private mutating func braced() throws(GuidanceError) -> ScalarSet {
        at += 1
        var value: UInt32 = 0
        var count = 0
        while let scalar = peek(), let digit = Character(scalar).hexDigitValue, count < 6 {
            value = value << 4 | UInt32(digit)
            count += 1
            at += 1
        }
        guard count > 0, take("}"), let scalar = Unicode.Scalar(value) else {
            throw error("1 to 6 hexadecimal digits of a Unicode character and '}' are needed here")
        }
        return ScalarSet(scalar)
    }

    /// A general category: `\p{L}`, `\pL`, `\p{Lu}`, `\p{gc=Lu}`.
    private mutating func property(isInverted: Bool) throws(GuidanceError) -> ScalarSet {
        var name = ""
        if take("{") {
            while let scalar = peek(), scalar != "}" {
                name.unicodeScalars.append(scalar)
                at += 1
            }
            guard take("}") else { throw error("a property has no end; add '}'") }
        } else if let scalar = peek() {
            name.unicodeScalars.append(scalar)
            at += 1
        }
        guard let set = UnicodeCategories.set(named: name) else {
            throw error(
                "the property \(name) is not known; general categories such as L, Lu, N, Nd, P, S, Z are", kind: .unsupported,
                back: 1)
        }
        return isInverted ? set.inverted : set
    }
}

extension ScalarSet {
    /// The only member.
    var single: Unicode.Scalar? {
        guard ranges.count == 1, ranges[0].lowerBound == ranges[0].upperBound else { return nil }
        return Unicode.Scalar(ranges[0].lowerBound)
    }
}
