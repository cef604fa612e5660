/// jinja2's builtin filters, under all their names. `tojson` is the one that transformers puts in its place.
enum TemplateFilter: String, Sendable {
    case abs, attr, batch, capitalize, center, count, d, `default`, dictsort, e, escape, filesizeformat, first, float
    case forceescape, format, groupby, indent, int, items, join, last, length, list, lower, map, max, min, pprint, random
    case reject, rejectattr, replace, reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title
    case tojson, trim, truncate, unique, upper, urlencode, urlize, wordcount, wordwrap, xmlattr
}

extension TemplateInterpreter {
    func apply(_ filter: TemplateFilter, to value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        if let text = value.text { try budget.chargeText(text.utf8.count) }
        switch filter {
        case .default, .d:
            let values = try arguments.bind("default", ["default_value", "boolean"])
            let isMissing = value.isUndefined || (values[1]?.isTrue ?? false) && !value.isTrue
            return isMissing ? values[0] ?? .string("") : value
        case .length, .count:
            _ = try arguments.bind("len", [])
            return .int(try value.length())
        case .tojson:
            return try toJSON(value, arguments)
        case .attr:
            guard let name = try arguments.bind("attr", ["name"], required: 1)[0]?.text else {
                throw TemplateFailure.type("attribute name must be string")
            }
            return try pythonAttribute(name, of: value) ?? .undefined(attribute: name, of: value)
        case .abs, .float, .int, .round, .filesizeformat:
            return try applyNumber(filter, to: value, arguments)
        case .capitalize, .center, .e, .escape, .forceescape, .format, .indent, .lower, .replace, .safe, .string, .striptags,
            .title, .trim, .truncate, .upper, .urlencode, .wordcount, .wordwrap, .xmlattr:
            return try applyText(filter, to: value, arguments)
        case .map, .reject, .rejectattr, .select, .selectattr:
            return try applyLazily(filter, to: value, arguments)
        case .batch, .dictsort, .first, .groupby, .items, .join, .last, .list, .max, .min, .reverse, .slice, .sort, .sum, .unique:
            return try applySequence(filter, to: value, arguments)
        case .pprint:
            return try prettyPrint(value, arguments)
        case .random, .urlize:
            throw TemplateFailure.unsupported("the filter '\(filter.rawValue)'")
        }
    }

    // MARK: JSON

    /// transformers' `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
    private func toJSON(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
        var writer = TemplateJSONWriter(budget: budget)
        writer.asciiOnly = values[0]?.isTrue ?? false
        writer.sortsKeys = values[3]?.isTrue ?? false
        switch values[1] {
        case nil, .some(.none): break
        case .some(let indent):
            if let text = indent.text {
                writer.indent = text
            } else {
                writer.indent = try budget.repeat(" ", integer(indent, default: 0))
            }
            writer.itemSeparator = ","
        }
        if let separators = values[2], !separators.isNone {
            let parts = try separators.collect(budget)
            guard parts.count == 2, let item = parts[0].text, let key = parts[1].text else {
                throw TemplateFailure.type("separators must be a pair of strings")
            }
            (writer.itemSeparator, writer.keySeparator) = (item, key)
        }
        try writer.write(value, level: 0)
        return .string(writer.output)
    }

    /// `pprint.pformat`, for values that fit on one line of 80 characters.
    private func prettyPrint(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        _ = try arguments.bind("pprint", [])
        let text = try PythonText.repr(sortedByKey(value), budget)
        guard text.unicodeScalars.count <= 80 || value.text == nil && value.elements == nil && !value.isDict else {
            throw TemplateFailure.unsupported("pprint of a value longer than a line")
        }
        return .string(text)
    }

    private func sortedByKey(_ value: TemplateValue) throws -> TemplateValue {
        switch value {
        case .list(let list): return try .list(of: list.items.map(sortedByKey))
        case .tuple(let list), .group(let list): return try .tuple(of: list.items.map(sortedByKey))
        case .dict(let dict):
            let members = try sorted(Array(zip(dict.keys, dict.values))) { try $0.0.isLess(than: $1.0, budget) }
            let result = TemplateDict()
            for (key, value) in members { try result.set(key, sortedByKey(value), budget) }
            return .dict(result)
        default: return value
        }
    }

    // MARK: numbers

    private func applyNumber(
        _ filter: TemplateFilter, to value: TemplateValue, _ arguments: CallArguments
    ) throws -> TemplateValue {
        switch filter {
        case .abs:
            _ = try arguments.bind("abs", [])
            switch Number(value) {
            case .integer(let integer): return integer < 0 ? try Arithmetic.negate(.int(integer)) : .int(integer)
            case .real(let real): return .float(real.magnitude)
            case nil: throw TemplateFailure.type("bad operand type for abs(): '\(value.typeName)'")
            }
        case .int:
            let values = try arguments.bind("int", ["default", "base"])
            return try toInteger(value, base: integer(values[1], default: 10)) ?? values[0] ?? .int(0)
        case .float:
            let fallback = try arguments.bind("float", ["default"])[0] ?? .float(0)
            if case .undefined(let undefined) = value { throw undefined.failure }
            if let number = Number(value) { return .float(number.double) }
            return value.text.flatMap(PythonText.float).map { .float($0) } ?? fallback
        case .round:
            return try round(value, arguments)
        default:
            return try fileSize(value, arguments)
        }
    }

    private func toInteger(_ value: TemplateValue, base: Int) throws -> TemplateValue? {
        switch value {
        case .undefined(let undefined): throw undefined.failure
        case .int, .bool: return .int(value.index ?? 0)
        case .float(let real):
            if real.isNaN { return nil }
            guard real.isFinite else { throw TemplateFailure(.runtime, "cannot convert float infinity to integer") }
            return .int(try integer(from: real))
        case .string(let text), .markup(let text):
            if let integer = PythonText.integer(text, base: base) { return .int(integer) }
            guard let real = PythonText.float(text), real.isFinite else { return nil }
            return .int(try integer(from: real))
        default: return nil
        }
    }

    private func integer(from real: Double) throws -> Int {
        guard let integer = Int(exactly: real.rounded(.towardZero)) else {
            throw TemplateFailure(.limit, "an integer beyond 64 bits")
        }
        return integer
    }

    private func round(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("round", ["precision", "method"])
        let precision = try integer(values[0], default: 0)
        guard let method = (values[1] ?? .string("common")).text, ["common", "ceil", "floor"].contains(method) else {
            throw TemplateFailure(.runtime, "method must be common, ceil or floor")
        }
        guard let number = Number(value) else {
            throw TemplateFailure.type("type \(value.typeName) doesn't define __round__ method")
        }
        guard method == "common" else {
            let scale = try Arithmetic.apply(.power, .int(10), .int(precision), self)
            let scaled = try Arithmetic.apply(.multiply, number.value, scale, self)
            guard let scaled = Number(scaled)?.double, scaled.isFinite else {
                throw TemplateFailure.type("cannot convert float infinity to integer")
            }
            let rounded = try integer(from: scaled.rounded(method == "ceil" ? .up : .down))
            return try Arithmetic.apply(.divide, .int(rounded), scale, self)
        }
        switch number {
        case .integer(let integer):
            guard precision < 0 else { return .int(integer) }
            guard precision > -19 else { return .int(0) }
            var unit = 1
            for _ in 0..<(-precision) { unit *= 10 }
            let low = try Arithmetic.apply(.floorDivide, .int(integer), .int(unit), self).index ?? 0
            let rest = integer - low * unit
            let goesUp = rest > unit - rest || rest == unit - rest && low % 2 != 0
            return .int((goesUp ? low + 1 : low) * unit)
        case .real(let real):
            return .float(PythonText.rounded(real, precision))
        }
    }

    private func fileSize(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let isBinary = try arguments.bind("filesizeformat", ["binary"])[0]?.isTrue ?? false
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard let bytes = Number(value)?.double ?? value.text.flatMap(PythonText.float) else {
            throw TemplateFailure.type("could not convert \(value.typeName) to float")
        }
        let base: Double = isBinary ? 1024 : 1000
        if bytes == 1 { return .string("1 Byte") }
        if bytes < base { return .string("\(try integer(from: bytes)) Bytes") }
        let prefixes = ["k", "M", "G", "T", "P", "E", "Z", "Y"]
        var unit = base
        for (at, prefix) in prefixes.enumerated() {
            unit *= base
            guard bytes < unit || at == prefixes.count - 1 else { continue }
            let name = isBinary ? (prefix == "k" ? "K" : prefix) + "iB" : prefix + "B"
            var spec = FormatSpec()
            (spec.type, spec.precision) = ("f", 1)
            return .string(try spec.format(float: base * bytes / unit, budget) + " " + name)
        }
        return .string("")
    }
}

extension TemplateValue {
    fileprivate var isDict: Bool { if case .dict = self { true } else { false } }
}
