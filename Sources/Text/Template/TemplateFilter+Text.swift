extension TemplateInterpreter {
    func applyText(_ filter: TemplateFilter, to value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        /// markupsafe's `soft_str`: text as it is, marked or not, and the `str` of anything else.
        func soft() throws -> String { try PythonText.str(value, budget) }
        func make(_ text: String) -> TemplateValue { value.isMarkup ? .markup(text) : .string(text) }
        func bind(_ names: [String], required: Int = 0) throws -> [TemplateValue?] {
            try arguments.bind(filter.rawValue, names, required: required)
        }

        switch filter {
        case .upper:
            _ = try bind([])
            return make(PythonText.upper(try soft()))
        case .lower:
            _ = try bind([])
            return make(PythonText.lower(try soft()))
        case .capitalize:
            _ = try bind([])
            return make(PythonText.capitalized(try soft()))
        case .title:
            _ = try bind([])
            return .string(try title(soft()))
        case .string:
            _ = try bind([])
            return make(try soft())
        case .safe:
            _ = try bind([])
            return .markup(try soft())
        case .escape, .e:
            _ = try bind([])
            return .markup(try PythonText.escaped(value, budget))
        case .forceescape:
            _ = try bind([])
            return .markup(try PythonText.escaped(.string(soft()), budget))
        case .trim:
            let characters = try bind(["chars"])[0]
            if let characters, !characters.isNone, characters.text == nil {
                throw TemplateFailure.type("strip arg must be None or str")
            }
            return make(PythonText.strip(try soft(), characters?.text))
        case .center:
            return make(try pad(soft(), width: integer(bind(["width"])[0], default: 80), .center))
        case .replace:
            let values = try bind(["old", "new", "count"], required: 2)
            let limit = try values[2].flatMap { $0.isNone ? nil : try integer($0, default: -1) } ?? -1
            let (old, new) = (try PythonText.str(values[0] ?? .none, budget), try PythonText.str(values[1] ?? .none, budget))
            return .string(try replace(soft(), old, new, limit: limit))
        case .format:
            guard arguments.positional.isEmpty || arguments.keywords.isEmpty else {
                throw TemplateFailure(.runtime, "can't handle positional and keyword arguments at the same time")
            }
            var operand = try TemplateValue.tuple(of: arguments.positional)
            if !arguments.keywords.isEmpty {
                let dict = TemplateDict()
                for (name, value) in arguments.keywords { try dict.set(name, value) }
                operand = .dict(dict)
            }
            return make(try PercentFormat.apply(soft(), to: operand, markup: value.isMarkup, self))
        case .indent:
            return try indent(value, bind(["width", "first", "blank"]))
        case .truncate:
            return try truncate(value, bind(["length", "killwords", "end", "leeway"]))
        case .wordcount:
            _ = try bind([])
            var (count, inWord) = (0, false)
            for scalar in try soft().unicodeScalars {
                let isWord = PythonText.isWord(scalar)
                if isWord, !inWord { count += 1 }
                inWord = isWord
            }
            return .int(count)
        case .wordwrap:
            return try wrap(
                value, bind(["width", "break_long_words", "wrapstring", "break_on_hyphens"]))
        case .striptags:
            _ = try bind([])
            return .string(try stripTags(soft()))
        case .urlencode:
            _ = try bind([])
            return .string(try urlEncode(value))
        default:
            return .string(try xmlAttributes(value, bind(["autospace"])))
        }
    }

    /// jinja2's own notion of words: what follows white space, a hyphen or an opening bracket.
    private func title(_ text: String) -> String {
        var result = ""
        var word = ""
        for scalar in text.unicodeScalars {
            if PythonText.isSpace(scalar) || "-({[<".unicodeScalars.contains(scalar) {
                result += titledWord(word)
                word = ""
                result.unicodeScalars.append(scalar)
            } else {
                word.unicodeScalars.append(scalar)
            }
        }
        return result + titledWord(word)
    }

    private func titledWord(_ word: String) -> String {
        guard let first = word.unicodeScalars.first else { return "" }
        return first.properties.uppercaseMapping + PythonText.lower(PythonText.string(word.unicodeScalars.dropFirst()))
    }

    private func indent(_ value: TemplateValue, _ values: [TemplateValue?]) throws -> TemplateValue {
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard let text = value.text else {
            throw TemplateFailure.type("unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
        }
        let indention: String
        if let width = values[0]?.text {
            indention = width
        } else {
            indention = try budget.repeat(" ", integer(values[0], default: 4))
        }
        let indentsBlank = values[2]?.isTrue ?? false
        let lines = PythonText.lines(text + "\n")
        try budget.chargeText(indention.utf8.count, times: lines.count)
        var parts = lines.enumerated().map { at, line in
            at > 0 && (indentsBlank || !line.isEmpty) ? indention + line : line
        }
        if values[1]?.isTrue ?? false { parts[0] = indention + parts[0] }
        let result = try budget.join(parts, separator: "\n")
        return value.isMarkup ? .markup(result) : .string(result)
    }

    private func truncate(_ value: TemplateValue, _ values: [TemplateValue?]) throws -> TemplateValue {
        let length = try integer(values[0], default: 255)
        let end = values[2] ?? .string("...")
        let leeway = try values[3].flatMap { $0.isNone ? nil : try integer($0, default: 5) } ?? 5
        let endLength = try end.length()
        guard length >= endLength else {
            throw TemplateFailure(.runtime, "expected length >= \(endLength), got \(length)")
        }
        guard leeway >= 0 else { throw TemplateFailure(.runtime, "expected leeway >= 0, got \(leeway)") }
        let (limit, overflow) = length.addingReportingOverflow(leeway)
        if try overflow || value.length() <= limit { return value }
        guard let text = value.text, let ending = end.text else {
            throw TemplateFailure.type("'\(value.typeName)' object has no attribute 'rsplit'")
        }
        var kept = Array(text.unicodeScalars.prefix(length - endLength))
        if !(values[1]?.isTrue ?? false), let space = kept.lastIndex(of: " ") { kept = Array(kept[..<space]) }
        let result = PythonText.string(kept) + ending
        return value.isMarkup ? .markup(result) : .string(result)
    }

    /// markupsafe's `striptags`: comments and tags go, runs of white space become one space, entities become characters.
    private func stripTags(_ text: String) throws -> String {
        var scalars = Array(text.unicodeScalars)
        for (open, close) in [("<!--", "-->"), ("<", ">")] {
            let (open, close) = (Array(open.unicodeScalars), Array(close.unicodeScalars))
            var kept: [Unicode.Scalar] = []
            var at = 0
            // Once no closing mark is left, none will be found later either.
            var hasClose = true
            while at < scalars.count {
                if hasClose, scalars[at...].starts(with: open) {
                    var end = at + (open.count == 1 ? 1 : open.count)
                    while end < scalars.count, !scalars[end...].starts(with: close) { end += 1 }
                    if end < scalars.count {
                        at = end + close.count
                        continue
                    }
                    hasClose = false
                }
                kept.append(scalars[at])
                at += 1
            }
            scalars = kept
        }
        var words: [String] = []
        for word in scalars.split(whereSeparator: PythonText.isSpace) { words.append(PythonText.string(word)) }
        return PythonText.unescaped(words.joined(separator: " "))
    }

    private func urlEncode(_ value: TemplateValue) throws -> String {
        if value.text != nil || !value.isIterable { return Self.quote(try PythonText.str(value, budget), isQuery: false) }
        let pairs: [TemplateValue]
        if case .dict(let dict) = value {
            pairs = try TemplateDictView(kind: .items, dict: dict).elements()
        } else {
            pairs = try value.collect(budget)
        }
        let parts = try pairs.map { pair in
            let pair = try pair.collect(budget)
            guard pair.count == 2 else { throw TemplateFailure.type("not enough values to unpack (expected 2)") }
            return try pair.map { Self.quote(try PythonText.str($0, budget), isQuery: true) }.joined(separator: "=")
        }
        return try budget.join(parts, separator: "&")
    }

    private static func quote(_ text: String, isQuery: Bool) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "/") where !isQuery: result += "/"
            case UInt8(ascii: " ") where isQuery: result += "+"
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += hex.utf8.count == 1 ? "%0" + hex : "%" + hex
            }
        }
        return result
    }

    private func xmlAttributes(_ value: TemplateValue, _ values: [TemplateValue?]) throws -> String {
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard case .dict(let dict) = value else {
            throw TemplateFailure.type("'\(value.typeName)' object has no attribute 'items'")
        }
        var parts: [String] = []
        for (key, value) in zip(dict.keys, dict.values) where !value.isNone && !value.isUndefined {
            guard let name = key.text else { throw TemplateFailure.type("expected string or bytes-like object") }
            guard !name.unicodeScalars.contains(where: { " \t\n\r\u{B}\u{C}/>=".unicodeScalars.contains($0) }) else {
                throw TemplateFailure(.runtime, "Invalid character in attribute name: \(PythonText.quoted(name))")
            }
            parts.append("\(try PythonText.escaped(key, budget))=\"\(try PythonText.escaped(value, budget))\"")
        }
        let text = try budget.join(parts, separator: " ")
        return values[0]?.isTrue ?? true && !text.isEmpty ? " " + text : text
    }

    private func wrap(_ value: TemplateValue, _ values: [TemplateValue?]) throws -> TemplateValue {
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard let text = value.text else {
            throw TemplateFailure.type("'\(value.typeName)' object has no attribute 'splitlines'")
        }
        let width = try integer(values[0], default: 79)
        let separator = try values[2].flatMap { $0.isNone ? nil : try PythonText.str($0, budget) } ?? "\n"
        let wrapper = TextWrapper(
            width: width, breaksLongWords: values[1]?.isTrue ?? true, breaksOnHyphens: values[3]?.isTrue ?? true)
        let paragraphs = try PythonText.lines(text).map { line in
            let lines = try wrapper.wrap(line)
            try budget.chargeElements(lines.count)
            return try budget.join(lines, separator: separator)
        }
        return .string(try budget.join(paragraphs, separator: separator))
    }
}

extension PythonText {
    /// `html.unescape` for numeric references and the five that `escape` writes.
    static func unescaped(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "&")) else { return text }
        let named: [String: String] = ["amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": "\u{A0}"]
        let scalars = Array(text.unicodeScalars)
        var result = ""
        var at = 0
        while at < scalars.count {
            if scalars[at] == "&", let end = scalars[at...].prefix(12).firstIndex(of: ";") {
                let name = string(scalars[(at + 1)..<end])
                var replacement = named[name]
                if name.hasPrefix("#x") || name.hasPrefix("#X") {
                    replacement = UInt32(name.dropFirst(2), radix: 16).flatMap(Unicode.Scalar.init).map(String.init)
                } else if name.hasPrefix("#") {
                    replacement = UInt32(name.dropFirst()).flatMap(Unicode.Scalar.init).map(String.init)
                }
                if let replacement {
                    result += replacement
                    at = end + 1
                    continue
                }
            }
            result.unicodeScalars.append(scalars[at])
            at += 1
        }
        return result
    }
}
