import JSON

/// Python's view of text: sequences of code points, compared by code point. Swift's `String` would compare by canonical
/// equivalence and count grapheme clusters, so everything here works on scalars or bytes.
enum PythonText {
    // MARK: printing

    /// Python's `str()`.
    static func str(_ value: TemplateValue, _ budget: TemplateBudget) throws -> String {
        switch value {
        case .undefined: ""
        case .string(let text), .markup(let text): text
        default: try repr(value, budget)
        }
    }

    /// Python's `repr()`.
    static func repr(_ value: TemplateValue, _ budget: TemplateBudget) throws -> String {
        switch value {
        case .undefined: return "Undefined"
        case .none: return "None"
        case .bool(let value): return value ? "True" : "False"
        case .int(let value): return String(value)
        case .float(let value): return floatRepr(value)
        case .string(let text):
            try budget.chargeText(text.utf8.count)
            return quoted(text)
        case .markup(let text):
            try budget.chargeText(text.utf8.count)
            return "Markup(\(quoted(text)))"
        case .list(let list): return try reprs(list.items, "[", "]", budget)
        case .tuple(let list), .group(let list):
            return try reprs(list.items, "(", list.items.count == 1 ? ",)" : ")", budget)
        case .dict(let dict): return try repr(dict, budget)
        case .view(let view): return try "\(view.kind.rawValue)(\(reprs(view.elements(), "[", "]", budget)))"
        case .range(let range):
            return range.step == 1
                ? "range(\(range.start), \(range.stop))" : "range(\(range.start), \(range.stop), \(range.step))"
        case .iterator(let iterator): return "<\(iterator.typeName) object>"
        case .object(let object):
            try budget.enter()
            defer { budget.leave() }
            return try object.describe(budget)
        }
    }

    static func repr(_ dict: TemplateDict, _ budget: TemplateBudget) throws -> String {
        try budget.enter()
        defer { budget.leave() }
        let members = try zip(dict.keys, dict.values).map { key, value in
            try repr(key, budget) + ": " + repr(value, budget)
        }
        return "{" + (try budget.join(members, separator: ", ")) + "}"
    }

    private static func reprs(
        _ items: [TemplateValue], _ open: String, _ close: String, _ budget: TemplateBudget
    ) throws -> String {
        try budget.enter()
        defer { budget.leave() }
        return open + (try budget.join(items.map { try repr($0, budget) }, separator: ", ")) + close
    }

    /// `repr` of a float; JSON's spelling of the non-finite ones differs from Python's own.
    static func floatRepr(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        return pythonRepr(value)
    }

    /// `repr` of a string: single quotes unless only those occur inside, escapes for what cannot be printed.
    static func quoted(_ text: String) -> String {
        let quote: Unicode.Scalar = text.utf8.contains(UInt8(ascii: "'")) && !text.utf8.contains(UInt8(ascii: "\"")) ? "\"" : "'"
        var result = String.UnicodeScalarView()
        result.append(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case quote, "\\":
                result.append("\\")
                result.append(scalar)
            case "\n": result.append(contentsOf: "\\n".unicodeScalars)
            case "\r": result.append(contentsOf: "\\r".unicodeScalars)
            case "\t": result.append(contentsOf: "\\t".unicodeScalars)
            case " "..."~": result.append(scalar)
            default:
                if isPrintable(scalar) {
                    result.append(scalar)
                } else {
                    let hex = String(scalar.value, radix: 16)
                    let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
                    let escape = "\\" + letter + String(repeating: "0", count: width - hex.utf8.count) + hex
                    result.append(contentsOf: escape.unicodeScalars)
                }
            }
        }
        result.append(quote)
        return String(result)
    }

    /// markupsafe's `escape`: marked text stays as it is.
    static func escaped(_ value: TemplateValue, _ budget: TemplateBudget) throws -> String {
        if case .markup(let text) = value { return text }
        let text = try str(value, budget)
        try budget.chargeText(text.utf8.count &* 5)
        return escaped(text)
    }

    static func escaped(_ value: TemplateValue) -> String {
        switch value {
        case .markup(let text): text
        case .string(let text): escaped(text)
        default: ""
        }
    }

    static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { "&<>'\"".utf8.contains($0) }) else { return text }
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result.append(contentsOf: "&amp;".unicodeScalars)
            case "<": result.append(contentsOf: "&lt;".unicodeScalars)
            case ">": result.append(contentsOf: "&gt;".unicodeScalars)
            case "'": result.append(contentsOf: "&#39;".unicodeScalars)
            case "\"": result.append(contentsOf: "&#34;".unicodeScalars)
            default: result.append(scalar)
            }
        }
        return String(result)
    }

    // MARK: character classes

    /// `str.isspace` of one character, which is also what `strip`, `split` and `\s` take for white space.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    static func isLineBreak(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: scalar == " "
        default: true
        }
    }

    static func isAlphabetic(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    static func isDecimal(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.numericType == .decimal }
    static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.numericType == .decimal || scalar.properties.numericType == .digit
    }
    static func isNumeric(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.numericType != nil }
    static func isAlphanumeric(_ scalar: Unicode.Scalar) -> Bool { isAlphabetic(scalar) || isNumeric(scalar) }

    /// `\w` of Python's `re`.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool { scalar == "_" || isAlphanumeric(scalar) }

    static func isUpper(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isUppercase }
    static func isLower(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isLowercase }
    static func isTitle(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .titlecaseLetter }
    static func isCased(_ scalar: Unicode.Scalar) -> Bool { isUpper(scalar) || isLower(scalar) || isTitle(scalar) }

    // MARK: case

    static func upper(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars { result += scalar.properties.uppercaseMapping }
        return result
    }

    static func lower(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var result = ""
        for at in scalars.indices { result += lower(scalars, at) }
        return result
    }

    /// Lowercase of one character; a capital sigma depends on its neighbours.
    private static func lower(_ scalars: [Unicode.Scalar], _ at: Int) -> String {
        guard scalars[at] == "\u{3A3}" else { return scalars[at].properties.lowercaseMapping }
        let before = scalars[..<at].last { !$0.properties.isCaseIgnorable }
        let after = scalars[(at + 1)...].first { !$0.properties.isCaseIgnorable }
        let isFinal = (before.map(isCased) ?? false) && !(after.map(isCased) ?? false)
        return isFinal ? "\u{3C2}" : "\u{3C3}"
    }

    static func capitalized(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var result = scalars.first?.properties.titlecaseMapping ?? ""
        for at in scalars.indices.dropFirst() { result += lower(scalars, at) }
        return result
    }

    /// `str.title()`: a capital after every character that has no case.
    static func titled(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var result = ""
        var inWord = false
        for at in scalars.indices {
            result += inWord ? lower(scalars, at) : scalars[at].properties.titlecaseMapping
            inWord = isCased(scalars[at])
        }
        return result
    }

    static func swapCased(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var result = ""
        for at in scalars.indices {
            let scalar = scalars[at]
            result += isUpper(scalar) ? lower(scalars, at) : isLower(scalar) ? scalar.properties.uppercaseMapping : String(scalar)
        }
        return result
    }

    // MARK: comparison and search

    static func isLess(_ a: String, _ b: String) -> Bool {
        // UTF-8 orders as code points do.
        a.utf8.lexicographicallyPrecedes(b.utf8)
    }

    static func contains(_ text: String, _ part: String) -> Bool {
        part.isEmpty || firstRange(of: Array(part.utf8), in: Array(text.utf8), from: 0) != nil
    }

    /// Position of the first occurrence of `part` at or after `from`, in bytes.
    ///
    /// Knuth, Morris and Pratt's search: linear whatever the texts, so that no template can make it hang.
    static func firstRange(of part: [UInt8], in text: [UInt8], from: Int) -> Int? {
        guard let head = part.first else { return from }
        guard part.count > 1 else { return text[min(from, text.count)...].firstIndex(of: head) }
        // borders[i]: length of the longest proper prefix of part[...i] that also ends there.
        var borders = [Int](repeating: 0, count: part.count)
        var matched = 0
        for at in 1..<part.count {
            while matched > 0, part[at] != part[matched] { matched = borders[matched - 1] }
            if part[at] == part[matched] { matched += 1 }
            borders[at] = matched
        }
        matched = 0
        var at = from
        while at < text.count {
            while matched > 0, text[at] != part[matched] { matched = borders[matched - 1] }
            if text[at] == part[matched] { matched += 1 }
            at += 1
            if matched == part.count { return at - part.count }
        }
        return nil
    }

    static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    /// What Python's `strip` removes at either end: white space, or any of `characters`.
    static func strip(_ text: String, _ characters: String?, left: Bool = true, right: Bool = true) -> String {
        let set = characters.map { Set($0.unicodeScalars) }
        func isStripped(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isSpace(scalar) }
        var view = text.unicodeScalars[...]
        if left { while let first = view.first, isStripped(first) { view.removeFirst() } }
        if right { while let last = view.last, isStripped(last) { view.removeLast() } }
        return String(view)
    }

    /// `str.splitlines`.
    static func lines(_ text: String, keepEnds: Bool = false) -> [String] {
        let scalars = Array(text.unicodeScalars)
        var result: [String] = []
        var (start, at) = (0, 0)
        while at < scalars.count {
            guard isLineBreak(scalars[at]) else {
                at += 1
                continue
            }
            let end = scalars[at] == "\r" && at + 1 < scalars.count && scalars[at + 1] == "\n" ? at + 2 : at + 1
            result.append(string(scalars[start..<(keepEnds ? end : at)]))
            (start, at) = (end, end)
        }
        if start < scalars.count { result.append(string(scalars[start...])) }
        return result
    }
}
