// Filters over sequences. `map`, `select` and their kin yield generators, lazily, as jinja2's do.

extension TemplateInterpreter {
    // MARK: attributes

    /// An attribute path such as `"address.0.city"`.
    private struct AttributePath {
        let parts: [TemplateValue]

        init(_ value: TemplateValue) {
            guard let text = value.text else {
                parts = value.isNone ? [] : [value]
                return
            }
            parts = PythonText.split(text, at: ".").map { part in
                let isNumber = !part.isEmpty && part.unicodeScalars.allSatisfy(PythonText.isDigit)
                return isNumber ? Int(part).map { .int($0) } ?? .string(part) : .string(part)
            }
        }
    }

    private func resolve(
        _ path: AttributePath, of item: TemplateValue, default fallback: TemplateValue? = nil
    ) throws -> TemplateValue {
        var item = item
        for part in path.parts {
            item = try self.item(part, of: item)
            if item.isUndefined, let fallback, !fallback.isNone { item = fallback }
        }
        return item
    }

    private func ignoringCase(_ value: TemplateValue) -> TemplateValue {
        value.text.map { .string(PythonText.lower($0)) } ?? value
    }

    /// Makes the sort key of an element: its attribute, in lower case unless told otherwise.
    private func key(
        _ path: AttributePath, of item: TemplateValue, isCaseSensitive: Bool, default fallback: TemplateValue? = nil
    ) throws -> TemplateValue {
        let value = try resolve(path, of: item, default: fallback)
        if let text = value.text, !isCaseSensitive { try budget.chargeText(text.utf8.count &* 4) }
        return isCaseSensitive ? value : ignoringCase(value)
    }

    // MARK: generators

    func applyLazily(
        _ filter: TemplateFilter, to value: TemplateValue, _ arguments: CallArguments
    ) throws -> TemplateValue {
        // jinja2's generator looks at its arguments only when the first element is asked for.
        var source: TemplateIterator?
        var step: ((TemplateValue) throws -> TemplateValue?)?
        let iterator = try TemplateIterator(depth: value.depth) { [unowned self] in
            if source == nil {
                guard value.isTrue else { return nil }
                step = filter == .map ? try mapping(arguments) : try selection(filter, arguments)
                source = try value.makeIterator(budget)
            }
            while let item = try source?.next() {
                try budget.step()
                if let result = try step?(item) { return result }
            }
            return nil
        }
        return .iterator(iterator)
    }

    private func mapping(_ arguments: CallArguments) throws -> (TemplateValue) throws -> TemplateValue? {
        if arguments.positional.isEmpty, let attribute = arguments.keyword("attribute") {
            if let (name, _) = arguments.keywords.first(where: { $0.name != "attribute" && $0.name != "default" }) {
                throw TemplateFailure(.runtime, "Unexpected keyword argument '\(name)'")
            }
            let path = AttributePath(attribute)
            let fallback = arguments.keyword("default")
            return { [unowned self] in try resolve(path, of: $0, default: fallback) }
        }
        guard let first = arguments.positional.first else {
            throw TemplateFailure(.runtime, "map requires a filter argument")
        }
        guard let name = first.text, let filter = TemplateFilter(rawValue: name) else {
            throw TemplateFailure(.runtime, "No filter named \(try PythonText.repr(first, budget)).")
        }
        var rest = arguments
        rest.positional.removeFirst()
        return { [unowned self] item in
            try budget.enter()
            defer { budget.leave() }
            return try apply(filter, to: item, rest)
        }
    }

    private func selection(
        _ filter: TemplateFilter, _ arguments: CallArguments
    ) throws -> (TemplateValue) throws -> TemplateValue? {
        let keepsMatches = filter == .select || filter == .selectattr
        var rest = arguments
        var path: AttributePath?
        if filter == .selectattr || filter == .rejectattr {
            guard !rest.positional.isEmpty else {
                throw TemplateFailure(.runtime, "Missing parameter for attribute name")
            }
            path = AttributePath(rest.positional.removeFirst())
        }
        guard let first = rest.positional.first else {
            return { [unowned self] item in
                try (path.map { try resolve($0, of: item) } ?? item).isTrue == keepsMatches ? item : nil
            }
        }
        guard let name = first.text, let test = TemplateTest(rawValue: name) else {
            throw TemplateFailure(.runtime, "No test named \(try PythonText.repr(first, budget)).")
        }
        rest.positional.removeFirst()
        return { [unowned self, rest] item in
            try apply(test, to: path.map { try resolve($0, of: item) } ?? item, rest) == keepsMatches ? item : nil
        }
    }

    // MARK: whole sequences

    func applySequence(
        _ filter: TemplateFilter, to value: TemplateValue, _ arguments: CallArguments
    ) throws -> TemplateValue {
        switch filter {
        case .first:
            _ = try arguments.bind("first", [])
            return try value.makeIterator(budget).next() ?? .undefined(hint: "No first item, sequence was empty.")
        case .last:
            _ = try arguments.bind("last", [])
            return try reversible(value).last ?? .undefined(hint: "No last item, sequence was empty.")
        case .list:
            _ = try arguments.bind("list", [])
            return try .list(of: value.collect(budget))
        case .join:
            let values = try arguments.bind("join", ["d", "attribute"])
            let path = values[1].flatMap { $0.isNone ? nil : AttributePath($0) }
            let parts = try value.collect(budget).map { item in
                try PythonText.str(path.map { try resolve($0, of: item) } ?? item, budget)
            }
            return .string(try budget.join(parts, separator: PythonText.str(values[0] ?? .string(""), budget)))
        case .reverse:
            _ = try arguments.bind("reverse", [])
            return try reverse(value)
        case .items:
            _ = try arguments.bind("items", [])
            return .iterator(
                try TemplateIterator(
                    depth: value.depth,
                    making: { [unowned self] in
                        switch value {
                        case .undefined: return []
                        case .dict(let dict):
                            try budget.chargeElements(dict.count)
                            return try TemplateDictView(kind: .items, dict: dict).elements()
                        default: throw TemplateFailure.type("Can only get item pairs from a mapping.")
                        }
                    }))
        case .batch, .slice:
            let names = filter == .batch ? ["linecount", "fill_with"] : ["slices", "fill_with"]
            let values = try arguments.bind(filter.rawValue, names, required: 1)
            return .iterator(
                try TemplateIterator(
                    depth: value.depth + 1,
                    making: { [unowned self] in
                        try chunk(filter, value, size: integer(values[0], default: 1), fill: values[1])
                    }))
        case .sort:
            let values = try arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])
            return try .list(of: sort(value, values[2] ?? .none, values[1], isReversed: values[0]?.isTrue ?? false))
        case .dictsort:
            return try sortDict(value, arguments)
        case .unique:
            return try unique(value, arguments)
        case .min, .max:
            return try extreme(filter, value, arguments)
        case .groupby:
            return try group(value, arguments)
        default:
            return try sum(value, arguments)
        }
    }

    /// The elements of what Python's `reversed()` takes.
    private func reversible(_ value: TemplateValue) throws -> [TemplateValue] {
        switch value {
        case .iterator, .object: throw TemplateFailure.type("'\(value.typeName)' object is not reversible")
        default: return try value.collect(budget)
        }
    }

    private func reverse(_ value: TemplateValue) throws -> TemplateValue {
        if let text = value.text {
            let reversed = PythonText.string(text.unicodeScalars.reversed())
            return value.isMarkup ? .markup(reversed) : .string(reversed)
        }
        guard value.isIterable else { throw TemplateFailure(.runtime, "argument must be iterable") }
        let items = Array(try value.collect(budget).reversed())
        if case .iterator = value { return try .list(of: items) }
        return .iterator(try TemplateIterator(typeName: "\(value.typeName)_reverseiterator", depth: value.depth, over: items))
    }

    private func chunk(
        _ filter: TemplateFilter, _ value: TemplateValue, size: Int, fill: TemplateValue?
    ) throws -> [TemplateValue] {
        let fill = fill.flatMap { $0.isNone ? nil : $0 }
        let items = try value.collect(budget)
        var rows: [[TemplateValue]] = []
        if filter == .batch {
            var row: [TemplateValue] = []
            for item in items {
                if row.count == size {
                    rows.append(row)
                    row = []
                }
                row.append(item)
            }
            if !row.isEmpty {
                if let fill, row.count < size {
                    try budget.chargeElements(size - row.count)
                    row += Array(repeating: fill, count: size - row.count)
                }
                rows.append(row)
            }
        } else {
            guard size != 0 else { throw TemplateFailure.type("integer division or modulo by zero") }
            try budget.chargeElements(max(0, size))
            let (whole, extra) = items.count.quotientAndRemainder(dividingBy: size)
            var start = 0
            for at in 0..<max(0, size) {
                let end = start + whole + (at < extra ? 1 : 0)
                rows.append(Array(items[start..<end]) + (at >= extra ? [fill].compactMap { $0 } : []))
                start = end
            }
        }
        return try rows.map { try .list(of: $0) }
    }

    // MARK: order

    private func sort(
        _ value: TemplateValue, _ attribute: TemplateValue, _ isCaseSensitive: TemplateValue?, isReversed: Bool
    ) throws -> [TemplateValue] {
        let paths =
            attribute.text.map { PythonText.split($0, at: ",").map { AttributePath(.string($0)) } } ?? [AttributePath(attribute)]
        let isCaseSensitive = isCaseSensitive?.isTrue ?? false
        let keyed = try value.collect(budget).map { item in
            (keys: try paths.map { try key($0, of: item, isCaseSensitive: isCaseSensitive) }, item: item)
        }
        return try sortKeyed(keyed, isReversed: isReversed, keysAreLists: true).map(\.item)
    }

    private typealias Keyed = (keys: [TemplateValue], item: TemplateValue)

    /// - Parameter keysAreLists: whether Python compares lists of keys, which looks for their first difference; undefined
    ///   keys are equal there and have no order otherwise.
    private func sortKeyed(_ items: [Keyed], isReversed: Bool, keysAreLists: Bool = false) throws -> [Keyed] {
        // Python reverses before and after, so that equal elements keep their order.
        let ordered = try sorted(isReversed ? items.reversed() : items) { a, b in
            try budget.step()
            for (a, b) in zip(a.keys, b.keys) {
                if try keysAreLists && (a.isSame(as: b) || a.isEqual(to: b, budget)) { continue }
                return try a.isLess(than: b, budget)
            }
            return false
        }
        return isReversed ? ordered.reversed() : ordered
    }

    private func sortDict(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])
        guard let by = (values[1] ?? .string("key")).text, by == "key" || by == "value" else {
            throw TemplateFailure(.runtime, "You can only sort by either \"key\" or \"value\"")
        }
        if case .undefined(let undefined) = value { throw undefined.failure }
        guard case .dict(let dict) = value else {
            throw TemplateFailure.type("'\(value.typeName)' object has no attribute 'items'")
        }
        try budget.chargeElements(dict.count)
        let isCaseSensitive = values[0]?.isTrue ?? false
        let keyed = try zip(dict.keys, dict.values).map { key, value in
            let sorting = by == "key" ? key : value
            let item = try TemplateValue.tuple(of: [key, value])
            return (keys: [isCaseSensitive ? sorting : ignoringCase(sorting)], item: item)
        }
        return try .list(of: sortKeyed(keyed, isReversed: values[2]?.isTrue ?? false).map(\.item))
    }

    private func unique(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("unique", ["case_sensitive", "attribute"])
        let path = AttributePath(values[1] ?? .none)
        let isCaseSensitive = values[0]?.isTrue ?? false
        var seen: Set<TemplateKey> = []
        let source = try value.makeIterator(budget)
        let iterator = try TemplateIterator(depth: value.depth) { [unowned self] in
            while let item = try source.next() {
                try budget.chargeElements(1)
                let key = try key(path, of: item, isCaseSensitive: isCaseSensitive)
                try key.checkHashable(budget)
                if seen.insert(TemplateKey(value: key)).inserted { return item }
            }
            return nil
        }
        return .iterator(iterator)
    }

    private func extreme(_ filter: TemplateFilter, _ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind(filter.rawValue, ["case_sensitive", "attribute"])
        let path = AttributePath(values[1] ?? .none)
        let isCaseSensitive = values[0]?.isTrue ?? false
        var best: (key: TemplateValue, item: TemplateValue)?
        for item in try value.collect(budget) {
            let key = try key(path, of: item, isCaseSensitive: isCaseSensitive)
            guard let current = best else {
                best = (key, item)
                continue
            }
            let isBetter =
                try filter == .min
                ? key.isLess(than: current.key, symbol: "<", budget) : current.key.isLess(than: key, symbol: ">", budget)
            if isBetter { best = (key, item) }
        }
        return best?.item ?? .undefined(hint: "No aggregated item, sequence was empty.")
    }

    private func group(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("groupby", ["attribute", "default", "case_sensitive"], required: 1)
        let path = AttributePath(values[0] ?? .none)
        let isCaseSensitive = values[2]?.isTrue ?? false
        let keyed = try value.collect(budget).map { item in
            (keys: [try key(path, of: item, isCaseSensitive: isCaseSensitive, default: values[1])], item: item)
        }
        var groups: [(key: TemplateValue, items: [TemplateValue])] = []
        for (keys, item) in try sortKeyed(keyed, isReversed: false) {
            if let last = groups.last, try last.key.isSame(as: keys[0]) || last.key.isEqual(to: keys[0], budget) {
                groups[groups.count - 1].items.append(item)
            } else {
                groups.append((keys[0], [item]))
            }
        }
        return try .list(
            of: groups.map { key, items in
                // The group is named as its first element spells the key.
                let name = isCaseSensitive ? key : try resolve(path, of: items[0], default: values[1])
                return .group(try TemplateList([name, .list(of: items)]))
            })
    }

    private func sum(_ value: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        let values = try arguments.bind("sum", ["attribute", "start"])
        let path = values[0].flatMap { $0.isNone ? nil : AttributePath($0) }
        var total = values[1] ?? .int(0)
        if total.text != nil { throw TemplateFailure.type("sum() can't sum strings [use ''.join(seq) instead]") }
        for item in try value.collect(budget) {
            total = try Arithmetic.apply(.add, total, path.map { try resolve($0, of: item) } ?? item, self)
        }
        return total
    }
}

extension PythonText {
    /// The parts of `text` between occurrences of one ASCII character.
    static func split(_ text: String, at separator: Unicode.Scalar) -> [String] {
        text.unicodeScalars.split(separator: separator, omittingEmptySubsequences: false).map { String($0) }
    }
}
