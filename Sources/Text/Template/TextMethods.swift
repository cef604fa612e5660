extension TemplateInterpreter {
    /// Calls a method of Python's `str`.
    /// - Parameter isMarkup: whether the text is `Markup`, whose methods return marked text and escape what they insert.
    func call(
        _ method: BuiltinMethod.TextMethod, on text: String, isMarkup: Bool, _ arguments: CallArguments
    ) throws -> TemplateValue {
        func make(_ text: String) -> TemplateValue { isMarkup ? .markup(text) : .string(text) }
        func bind(_ names: [String], required: Int = 0, positionalOnly: Bool = true) throws -> [TemplateValue?] {
            try arguments.bind(method.rawValue, names, required: required, positionalOnly: positionalOnly)
        }
        func noArguments() throws { _ = try bind([]) }

        switch method {
        case .capitalize, .casefold, .lower, .upper, .swapcase, .title:
            try noArguments()
            try budget.chargeText(text.utf8.count &* 3)
            return make(Self.changeCase(text, method))
        case .isalnum, .isalpha, .isascii, .isdecimal, .isdigit, .isidentifier, .islower, .isnumeric, .isprintable, .isspace,
            .istitle, .isupper:
            try noArguments()
            return .bool(Self.classify(text, method))
        case .strip, .lstrip, .rstrip:
            let characters = try optionalText(bind(["chars"])[0], method)
            return make(PythonText.strip(text, characters, left: method != .rstrip, right: method != .lstrip))
        case .split, .rsplit:
            let values = try bind(["sep", "maxsplit"], positionalOnly: false)
            let separator = try optionalText(values[0], method)
            let limit = try integer(values[1], default: -1)
            let parts = try split(text, separator, limit: limit < 0 ? Int.max : limit, fromRight: method == .rsplit)
            return try .list(of: parts.map(make))
        case .splitlines:
            let keepEnds = try integer(bind(["keepends"], positionalOnly: false)[0], default: 0) != 0
            try budget.chargeElements(text.utf8.count)
            return try .list(of: PythonText.lines(text, keepEnds: keepEnds).map(make))
        case .partition, .rpartition:
            let separator = try requiredText(bind(["sep"], required: 1)[0], method)
            guard !separator.isEmpty else { throw TemplateFailure.type("empty separator") }
            let parts = try split(text, separator, limit: 1, fromRight: method == .rpartition)
            let whole = method == .partition ? [text, "", ""] : ["", "", text]
            return try .tuple(of: (parts.count == 2 ? [parts[0], separator, parts[1]] : whole).map(make))
        case .join:
            let items = try (bind(["iterable"], required: 1)[0] ?? .none).collect(budget)
            let parts = try items.enumerated().map { at, item in
                if isMarkup { return try PythonText.escaped(item, budget) }
                guard let part = item.text else {
                    throw TemplateFailure.type("sequence item \(at): expected str instance, \(item.typeName) found")
                }
                return part
            }
            return make(try budget.join(parts, separator: text))
        case .replace:
            let values = try bind(["old", "new", "count"], required: 2)
            let old = try requiredText(values[0], method)
            let new = try requiredText(values[1], method)
            let limit = try integer(values[2], default: -1)
            return make(try replace(text, old, isMarkup ? PythonText.escaped(values[1] ?? .string(new)) : new, limit: limit))
        case .startswith, .endswith:
            let values = try bind(["prefix", "start", "end"], required: 1)
            let (slice, _) = try window(text, values[1], values[2])
            guard let slice else { return .bool(false) }
            return .bool(try affixes(values[0] ?? .none, method).contains { Self.hasAffix(slice, $0, method == .startswith) })
        case .removeprefix, .removesuffix:
            let affix = try requiredText(bind(["affix"], required: 1)[0], method)
            guard !affix.isEmpty, Self.hasAffix(text, affix, method == .removeprefix) else { return make(text) }
            let (count, scalars) = (affix.unicodeScalars.count, text.unicodeScalars)
            return make(PythonText.string(method == .removeprefix ? scalars.dropFirst(count) : scalars.dropLast(count)))
        case .find, .index, .rfind, .rindex, .count:
            return .int(try search(text, bind(["sub", "start", "end"], required: 1), method))
        case .center, .ljust, .rjust:
            let values = try bind(["width", "fillchar"], required: 1)
            let fill = try optionalText(values[1], method) ?? " "
            guard fill.unicodeScalars.count == 1 else {
                throw TemplateFailure.type("The fill character must be exactly one character long")
            }
            return make(try pad(text, width: integer(values[0], default: 0), fill: fill, method))
        case .zfill:
            let width = try integer(bind(["width"], required: 1)[0], default: 0)
            let missing = width - text.unicodeScalars.count
            guard missing > 0 else { return make(text) }
            let zeros = try budget.repeat("0", missing)
            let hasSign = text.utf8.first == UInt8(ascii: "+") || text.utf8.first == UInt8(ascii: "-")
            return make(hasSign ? String(text.prefix(1)) + zeros + text.dropFirst() : zeros + text)
        case .expandtabs:
            return make(
                try expandTabs(text, size: integer(bind(["tabsize"], positionalOnly: false)[0], default: 8)))
        case .format:
            return make(try BraceFormat.apply(text, arguments, isMarkup: isMarkup, self))
        case .formatMap:
            guard case .dict(let dict)? = try bind(["mapping"], required: 1)[0] else {
                throw TemplateFailure.type("format_map() argument must be a mapping")
            }
            let keywords = zip(dict.keys, dict.values).compactMap { key, value in key.text.map { ($0, value) } }
            return make(try BraceFormat.apply(text, CallArguments(keywords: keywords), isMarkup: isMarkup, self))
        case .encode, .maketrans, .translate:
            throw TemplateFailure.unsupported("str.\(method.rawValue)()")
        }
    }

    // MARK: arguments

    func integer(_ value: TemplateValue?, default: Int) throws -> Int {
        guard let value else { return `default` }
        guard let index = value.index else {
            throw TemplateFailure.type("'\(value.typeName)' object cannot be interpreted as an integer")
        }
        return index
    }

    private func requiredText(_ value: TemplateValue?, _ method: BuiltinMethod.TextMethod) throws -> String {
        guard let text = value?.text else {
            throw TemplateFailure.type("\(method.rawValue)() argument must be str, not \((value ?? .none).typeName)")
        }
        return text
    }

    private func optionalText(_ value: TemplateValue?, _ method: BuiltinMethod.TextMethod) throws -> String? {
        guard let value, !value.isNone else { return nil }
        return try requiredText(value, method)
    }

    /// `startswith` and `endswith` take one text or a tuple of them.
    private func affixes(_ value: TemplateValue, _ method: BuiltinMethod.TextMethod) throws -> [String] {
        if case .tuple(let list) = value { return try list.items.map { try requiredText($0, method) } }
        return [try requiredText(value, method)]
    }

    private static func hasAffix(_ text: String, _ affix: String, _ isPrefix: Bool) -> Bool {
        isPrefix ? text.utf8.starts(with: affix.utf8) : text.utf8.reversed().starts(with: affix.utf8.reversed())
    }

    // MARK: classes and case

    private static func changeCase(_ text: String, _ method: BuiltinMethod.TextMethod) -> String {
        switch method {
        case .capitalize: PythonText.capitalized(text)
        case .upper: PythonText.upper(text)
        case .swapcase: PythonText.swapCased(text)
        case .title: PythonText.titled(text)
        case .casefold: PythonText.lower(text).replacingScalar("ß", with: "ss").replacingScalar("ς", with: "σ")
        default: PythonText.lower(text)
        }
    }

    static func classify(_ text: String, _ method: BuiltinMethod.TextMethod) -> Bool {
        let scalars = text.unicodeScalars
        func all(_ predicate: (Unicode.Scalar) -> Bool) -> Bool { !scalars.isEmpty && scalars.allSatisfy(predicate) }
        switch method {
        case .isalnum: return all(PythonText.isAlphanumeric)
        case .isalpha: return all(PythonText.isAlphabetic)
        case .isascii: return scalars.allSatisfy(\.isASCII)
        case .isdecimal: return all(PythonText.isDecimal)
        case .isdigit: return all(PythonText.isDigit)
        case .isnumeric: return all(PythonText.isNumeric)
        case .isprintable: return scalars.allSatisfy(PythonText.isPrintable)
        case .isspace: return all(PythonText.isSpace)
        case .isidentifier:
            return (scalars.first.map { $0 == "_" || $0.properties.isXIDStart } ?? false)
                && scalars.allSatisfy(\.properties.isXIDContinue)
        case .islower:
            return scalars.contains(where: PythonText.isLower)
                && !scalars.contains { PythonText.isUpper($0) || PythonText.isTitle($0) }
        case .isupper:
            return scalars.contains(where: PythonText.isUpper)
                && !scalars.contains { PythonText.isLower($0) || PythonText.isTitle($0) }
        default:
            // istitle: capitals only begin words, other cased letters only continue them.
            var (inWord, hasCapital) = (false, false)
            for scalar in scalars {
                if PythonText.isUpper(scalar) || PythonText.isTitle(scalar) {
                    if inWord { return false }
                    (inWord, hasCapital) = (true, true)
                } else if PythonText.isLower(scalar) {
                    guard inWord else { return false }
                } else {
                    inWord = false
                }
            }
            return hasCapital
        }
    }

    // MARK: splitting and searching

    private func split(_ text: String, _ separator: String?, limit: Int, fromRight: Bool) throws -> [String] {
        guard let separator else { return try splitWords(text, limit: limit, fromRight: fromRight) }
        guard !separator.isEmpty else { throw TemplateFailure.type("empty separator") }
        let bytes = Array(text.utf8)
        let part = Array(separator.utf8)
        var starts = try occurrences(of: part, in: bytes)
        if starts.count > limit { starts = fromRight ? starts.suffix(limit) : Array(starts.prefix(limit)) }
        var pieces: [String] = []
        var from = 0
        for start in starts {
            pieces.append(String(decoding: bytes[from..<start], as: UTF8.self))
            from = start + part.count
        }
        pieces.append(String(decoding: bytes[from...], as: UTF8.self))
        return pieces

        func occurrences(of part: [UInt8], in bytes: [UInt8]) throws -> [Int] {
            // Overlapping matches resolve from the side that the splitting begins at.
            if fromRight {
                let mirrored = try PythonText.occurrences(of: part.reversed(), in: bytes.reversed(), budget)
                return mirrored.reversed().map { bytes.count - $0 - part.count }
            }
            return try PythonText.occurrences(of: part, in: bytes, budget)
        }
    }

    private func splitWords(_ text: String, limit: Int, fromRight: Bool) throws -> [String] {
        let scalars = fromRight ? text.unicodeScalars.reversed() : Array(text.unicodeScalars)
        var words: [[Unicode.Scalar]] = []
        var at = 0
        while true {
            while at < scalars.count, PythonText.isSpace(scalars[at]) { at += 1 }
            guard at < scalars.count else { break }
            try budget.chargeElements(1)
            if words.count == limit {
                var rest = scalars[at...]
                while let last = rest.last, PythonText.isSpace(last) { rest.removeLast() }
                words.append(Array(rest))
                break
            }
            let start = at
            while at < scalars.count, !PythonText.isSpace(scalars[at]) { at += 1 }
            words.append(Array(scalars[start..<at]))
        }
        return fromRight ? words.reversed().map { PythonText.string($0.reversed()) } : words.map { PythonText.string($0) }
    }

    /// `str.replace`; a negative limit replaces all.
    func replace(_ text: String, _ old: String, _ new: String, limit: Int) throws -> String {
        let limit = limit < 0 ? Int.max : limit
        if old.isEmpty {
            // An empty text matches before every character and at the end.
            let scalars = text.unicodeScalars
            try budget.chargeText(text.utf8.count)
            try budget.chargeText(new.utf8.count, times: min(limit, scalars.count + 1))
            var result = ""
            var done = 0
            for scalar in scalars {
                if done < limit {
                    result += new
                    done += 1
                }
                result.unicodeScalars.append(scalar)
            }
            return done < limit ? result + new : result
        }
        let bytes = Array(text.utf8)
        let part = Array(old.utf8)
        let starts = try PythonText.occurrences(of: part, in: bytes, budget).prefix(limit)
        guard !starts.isEmpty else { return text }
        try budget.chargeText(new.utf8.count, times: starts.count)
        var result: [UInt8] = []
        var from = 0
        for start in starts {
            result += bytes[from..<start]
            result += new.utf8
            from = start + part.count
        }
        result += bytes[from...]
        try budget.chargeText(result.count)
        return String(decoding: result, as: UTF8.self)
    }

    /// The part of `text` between two code point positions, and where it begins; nil when the bounds are crossed.
    private func window(
        _ text: String, _ start: TemplateValue?, _ end: TemplateValue?
    ) throws -> (text: String?, offset: Int) {
        let low = try start.flatMap { $0.isNone ? nil : try integer($0, default: 0) }
        let high = try end.flatMap { $0.isNone ? nil : try integer($0, default: 0) }
        if low == nil, high == nil { return (text, 0) }
        let scalars = Array(text.unicodeScalars)
        if let low, low > scalars.count { return (nil, low) }
        let bounds = try Self.resolve((low, high, nil), count: scalars.count)
        guard bounds.start <= bounds.stop else { return (nil, bounds.start) }
        return (PythonText.string(scalars[bounds.start..<bounds.stop]), bounds.start)
    }

    private func search(_ text: String, _ values: [TemplateValue?], _ method: BuiltinMethod.TextMethod) throws -> Int {
        let part = try requiredText(values[0], method)
        let (slice, offset) = try window(text, values[1], values[2])
        let bytes = Array((slice ?? "").utf8)
        if method == .count {
            guard slice != nil else { return 0 }
            if part.isEmpty { return (slice ?? "").unicodeScalars.count + 1 }
            return try PythonText.occurrences(of: Array(part.utf8), in: bytes, budget).count
        }
        var found: Int?
        if slice != nil {
            if method == .find || method == .index {
                found = PythonText.firstRange(of: Array(part.utf8), in: bytes, from: 0)
            } else {
                found = PythonText.firstRange(of: part.utf8.reversed(), in: bytes.reversed(), from: 0)
                    .map { bytes.count - $0 - part.utf8.count }
            }
        }
        if let found { return offset + String(decoding: bytes[..<found], as: UTF8.self).unicodeScalars.count }
        if method == .find || method == .rfind { return -1 }
        throw TemplateFailure.type("substring not found")
    }

    // MARK: padding

    func pad(_ text: String, width: Int, fill: String = " ", _ method: BuiltinMethod.TextMethod) throws -> String {
        let missing = width.subtractingReportingOverflow(text.unicodeScalars.count).partialValue
        guard width > 0, missing > 0 else { return text }
        let left =
            switch method {
            case .center: missing / 2 + (missing & width & 1)
            case .rjust: missing
            default: 0
            }
        return try budget.join([budget.repeat(fill, left), text, budget.repeat(fill, missing - left)])
    }

    private func expandTabs(_ text: String, size: Int) throws -> String {
        var result = String.UnicodeScalarView()
        var column = 0
        for scalar in text.unicodeScalars {
            if scalar == "\t" {
                guard size > 0 else { continue }
                let spaces = size - column % size
                result.append(contentsOf: try budget.repeat(" ", spaces).unicodeScalars)
                column += spaces
            } else {
                result.append(scalar)
                column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
            }
        }
        return String(result)
    }
}

extension PythonText {
    /// Byte positions of the occurrences of `part` that do not overlap, from the left.
    static func occurrences(of part: [UInt8], in text: [UInt8], _ budget: TemplateBudget) throws -> [Int] {
        var result: [Int] = []
        var from = 0
        while let found = firstRange(of: part, in: text, from: from) {
            try budget.chargeElements(1)
            result.append(found)
            from = found + part.count
        }
        return result
    }
}

extension String {
    fileprivate func replacingScalar(_ old: Unicode.Scalar, with new: String) -> String {
        guard unicodeScalars.contains(old) else { return self }
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if scalar == old { result.append(contentsOf: new.unicodeScalars) } else { result.append(scalar) }
        }
        return String(result)
    }
}
