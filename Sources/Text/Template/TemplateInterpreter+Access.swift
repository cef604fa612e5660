// `a.b`, `a[b]` and `a[b:c]` with the sandbox's rules.

extension TemplateInterpreter {
    /// `object.name`: the attribute, else the item of that name, else undefined.
    func attribute(_ name: String, of object: TemplateValue) throws -> TemplateValue {
        if let value = try pythonAttribute(name, of: object) { return value }
        if case .dict(let dict) = object, let value = dict.get(name) { return value }
        return .undefined(attribute: name, of: object)
    }

    /// `object[key]`: the item, else for text the attribute of that name, else undefined.
    func item(_ key: TemplateValue, of object: TemplateValue) throws -> TemplateValue {
        switch object {
        case .undefined(let undefined):
            throw undefined.failure
        case .dict(let dict):
            if let value = dict.get(key) { return value }
        case .list(let list), .tuple(let list), .group(let list):
            if let at = position(key, count: list.items.count) { return list.items[at] }
        case .range(let range):
            if let at = position(key, count: range.count) { return .int(range[at]) }
        case .string(let text), .markup(let text):
            if key.index != nil {
                try budget.chargeText(text.utf8.count)
                let scalars = text.unicodeScalars
                if let at = position(key, count: scalars.count) {
                    let character = String(scalars[scalars.index(scalars.startIndex, offsetBy: at)])
                    return object.isMarkup ? .markup(character) : .string(character)
                }
            }
        default: break
        }
        if let name = key.text {
            return try pythonAttribute(name, of: object) ?? .undefined(attribute: name, of: object)
        }
        return .undefined(
            UndefinedValue(.element(owner: object.ownerName, key: try PythonText.repr(key, budget))))
    }

    private func position(_ key: TemplateValue, count: Int) -> Int? {
        guard let index = key.index, index < count, index >= -count else { return nil }
        return index < 0 ? index + count : index
    }

    /// What Python's `getattr` finds: methods of builtin types, attributes of objects; nil when there is none.
    func pythonAttribute(_ name: String, of object: TemplateValue) throws -> TemplateValue? {
        switch object {
        case .undefined(let undefined):
            guard BuiltinMethod.isUnsafe(name, of: object) else { throw undefined.failure }
        case .object(let object):
            return try object.attribute(name, self)
        case .group(let list) where name == "grouper" || name == "list":
            return list.items[name == "list" ? 1 : 0]
        case .range(let range) where ["start", "stop", "step"].contains(name):
            return .int(name == "start" ? range.start : name == "stop" ? range.stop : range.step)
        default:
            break
        }
        if let method = BuiltinMethod(name, of: object) {
            return .object(BoundMethod(method, receiver: object))
        }
        if BuiltinMethod.isUnsafe(name, of: object) {
            return .undefined(UndefinedValue(.unsafe(owner: object.typeName, name: name)))
        }
        return nil
    }

    // MARK: slices

    func slice(
        _ object: TemplateValue, _ start: TemplateValue, _ stop: TemplateValue, _ step: TemplateValue
    ) throws -> TemplateValue {
        if case .undefined(let undefined) = object { throw undefined.failure }
        let bounds = (try bound(start), try bound(stop), try bound(step))
        switch object {
        case .string(let text), .markup(let text):
            try budget.chargeText(text.utf8.count &* 4)
            let scalars = Array(text.unicodeScalars)
            let sliced = PythonText.string(try Self.positions(bounds, count: scalars.count).map { scalars[$0] })
            return object.isMarkup ? .markup(sliced) : .string(sliced)
        case .list(let list): return try .list(of: pick(list.items, bounds))
        case .tuple(let list), .group(let list): return try .tuple(of: pick(list.items, bounds))
        case .range(let range):
            let (start, stop, step) = try Self.resolve(bounds, count: range.count)
            let first = range.start &+ start &* range.step
            let product = range.step.multipliedReportingOverflow(by: bounds.2 ?? 1)
            return .range(
                try TemplateRange(
                    start: first, stop: range.start &+ stop &* range.step,
                    step: product.overflow ? range.step &* step : product.partialValue))
        default: throw TemplateFailure.type("'\(object.typeName)' object is not subscriptable")
        }
    }

    private func pick(_ items: [TemplateValue], _ bounds: (Int?, Int?, Int?)) throws -> [TemplateValue] {
        let positions = try Self.positions(bounds, count: items.count)
        try budget.chargeElements(positions.count)
        return positions.map { items[$0] }
    }

    private func bound(_ value: TemplateValue) throws -> Int? {
        if case .none = value { return nil }
        guard let index = value.index else {
            throw TemplateFailure.type("slice indices must be integers or None or have an __index__ method")
        }
        return index
    }

    /// The bounds of a slice as CPython's `PySlice_AdjustIndices` computes them.
    static func resolve(_ bounds: (Int?, Int?, Int?), count: Int) throws -> (start: Int, stop: Int, step: Int) {
        guard bounds.2 != 0 else { throw TemplateFailure.type("slice step cannot be zero") }
        // A longer step than the sequence selects the same elements and could overflow.
        let step = min(max(bounds.2 ?? 1, -count - 1), count + 1)
        func clamp(_ bound: Int) -> Int {
            if bound < 0 {
                let (sum, overflow) = bound.addingReportingOverflow(count)
                return overflow || sum < 0 ? (step < 0 ? -1 : 0) : sum
            }
            return bound >= count ? (step < 0 ? count - 1 : count) : bound
        }
        let start = bounds.0.map(clamp) ?? (step < 0 ? count - 1 : 0)
        let stop = bounds.1.map(clamp) ?? (step < 0 ? -1 : count)
        return (start, stop, step)
    }

    static func positions(_ bounds: (Int?, Int?, Int?), count: Int) throws -> [Int] {
        let (start, stop, step) = try resolve(bounds, count: count)
        return Array(stride(from: start, to: stop, by: step))
    }
}
