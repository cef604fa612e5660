import JSON

// Truth, equality, order, membership and iteration as Python defines them.

extension TemplateValue {
    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .string(let text), .markup(let text): !text.isEmpty
        case .list(let list), .tuple(let list), .group(let list): !list.items.isEmpty
        case .dict(let dict): dict.count > 0
        case .view(let view): view.dict.count > 0
        case .range(let range): range.count > 0
        case .iterator, .object: true
        }
    }

    /// Python's `==`.
    /// - Parameter budget: charged for the bytes and elements compared; nil only where the caller has charged already.
    func isEqual(to other: TemplateValue, _ budget: TemplateBudget?) throws -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none):
            return true
        case (.bool, _), (.int, _), (.float, _):
            return Number(self).flatMap { a in Number(other).map { a == $0 } } ?? false
        case (.string(let a), .string(let b)), (.string(let a), .markup(let b)), (.markup(let a), .string(let b)),
            (.markup(let a), .markup(let b)):
            guard a.utf8.count == b.utf8.count else { return false }
            try budget?.chargeText(a.utf8.count)
            return a.hasSameBytes(as: b)
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)), (.tuple(let a), .group(let b)),
            (.group(let a), .tuple(let b)), (.group(let a), .group(let b)):
            guard a !== b else { return true }
            guard a.items.count == b.items.count else { return false }
            for (a, b) in zip(a.items, b.items) {
                try budget?.step()
                guard try a.isSame(as: b) || a.isEqual(to: b, budget) else { return false }
            }
            return true
        case (.dict(let a), .dict(let b)):
            return try a === b || a.hasMembers(of: b, compareValues: true, budget)
        case (.range(let a), .range(let b)):
            guard a.count == b.count else { return false }
            return a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step)
        case (.view(let a), .view(let b)):
            guard a.kind == b.kind, a.kind != .values else { return false }
            return try a.dict.hasMembers(of: b.dict, compareValues: a.kind == .items, budget)
        case (.iterator(let a), .iterator(let b)):
            return a === b
        case (.object(let a), .object(let b)):
            return a === b
        default:
            return false
        }
    }

    /// Python's `is`: the same object. Equal numbers and strings count as one object, as CPython's caches make them.
    func isSame(as other: TemplateValue) -> Bool {
        switch (self, other) {
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)), (.group(let a), .group(let b)): a === b
        case (.dict(let a), .dict(let b)): a === b
        case (.undefined(let a), .undefined(let b)): a === b
        case (.object(let a), .object(let b)): a === b
        case (.iterator(let a), .iterator(let b)): a === b
        case (.none, .none): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.float(let a), .float(let b)): a == b
        case (.string(let a), .string(let b)), (.markup(let a), .markup(let b)): a.hasSameBytes(as: b)
        default: false
        }
    }

    /// Python's `<`.
    /// - Throws: a type error for values that have no order, the undefined error for an undefined one.
    func isLess(than other: TemplateValue, symbol: String = "<", _ budget: TemplateBudget) throws -> Bool {
        if case .undefined(let undefined) = self { throw undefined.failure }
        if case .undefined(let undefined) = other { throw undefined.failure }
        if let a = Number(self), let b = Number(other) { return a < b }
        if let a = text, let b = other.text {
            try budget.chargeText(min(a.utf8.count, b.utf8.count))
            return PythonText.isLess(a, b)
        }
        let bothLists =
            switch (self, other) {
            case (.list, .list), (.tuple, .tuple), (.tuple, .group), (.group, .tuple), (.group, .group): true
            default: false
            }
        guard bothLists, let a = elements, let b = other.elements else {
            throw TemplateFailure.type("'\(symbol)' not supported between instances of '\(typeName)' and '\(other.typeName)'")
        }
        for (a, b) in zip(a, b) {
            try budget.step()
            guard try a.isSame(as: b) || a.isEqual(to: b, budget) else { return try a.isLess(than: b, symbol: symbol, budget) }
        }
        return a.count < b.count
    }

    /// - Throws: a type error where Python raises one, as `1 in 2` and `1 in "1"` do.
    func contains(_ element: TemplateValue, _ budget: TemplateBudget) throws -> Bool {
        switch self {
        case .string(let text), .markup(let text):
            guard let part = element.text else {
                throw TemplateFailure.type("'in <string>' requires string as left operand, not \(element.typeName)")
            }
            try budget.chargeText(text.utf8.count)
            return PythonText.contains(text, part)
        case .view(let view) where view.kind == .keys:
            return try TemplateValue.dict(view.dict).contains(element, budget)
        case .dict(let dict):
            try element.checkHashable(budget)
            return dict.get(element) != nil
        case .range(let range):
            guard case .integer(let value)? = Number(element) else { return false }
            guard range.count > 0 else { return false }
            let (low, high) = (min(range[0], range[range.count - 1]), max(range[0], range[range.count - 1]))
            return value >= low && value <= high && (value - range.start) % range.step == 0
        default:
            let iterator = try makeIterator(budget)
            while let next = try iterator.next() {
                try budget.step()
                if try next.isSame(as: element) || next.isEqual(to: element, budget) { return true }
            }
            return false
        }
    }

    /// Python's `len()`.
    func length() throws -> Int {
        switch self {
        case .undefined: return 0
        case .string(let text), .markup(let text): return text.unicodeScalars.count
        case .list(let list), .tuple(let list), .group(let list): return list.items.count
        case .dict(let dict): return dict.count
        case .view(let view): return view.dict.count
        case .range(let range): return range.count
        case .object(let loop as LoopVariable): return try loop.length()
        default: throw TemplateFailure.type("object of type '\(typeName)' has no len()")
        }
    }

    var isIterable: Bool {
        switch self {
        case .none, .bool, .int, .float: false
        case .object(let object): object is LoopVariable
        default: true
        }
    }

    /// Python's `iter()`.
    func makeIterator(_ budget: TemplateBudget) throws -> TemplateIterator {
        if case .iterator(let iterator) = self { return iterator }
        return try TemplateIterator(typeName: "\(typeName)_iterator", depth: depth, over: sequence(budget))
    }

    /// All elements, in a list. Consumes an iterator.
    func collect(_ budget: TemplateBudget) throws -> [TemplateValue] {
        guard case .iterator(let iterator) = self else {
            let elements = try sequence(budget)
            try budget.chargeElements(elements.count)
            return elements
        }
        var items: [TemplateValue] = []
        while let item = try iterator.next() {
            try budget.chargeElements(1)
            items.append(item)
            if items.count > budget.limits.elements { try budget.chargeElements(items.count) }
        }
        return items
    }

    /// The elements of anything that can be iterated more than once.
    private func sequence(_ budget: TemplateBudget) throws -> [TemplateValue] {
        switch self {
        case .undefined: return []
        case .string(let text), .markup(let text):
            try budget.chargeElements(text.utf8.count)
            return text.unicodeScalars.map { .string(String($0)) }
        case .list(let list), .tuple(let list), .group(let list): return list.items
        case .dict(let dict): return dict.keys
        case .view(let view):
            try budget.chargeElements(view.dict.count)
            return try view.elements()
        case .range(let range): return range.elements
        default: throw TemplateFailure.type("'\(typeName)' object is not iterable")
        }
    }

    func checkHashable(_ budget: TemplateBudget) throws {
        switch self {
        case .list, .dict: throw TemplateFailure.type("unhashable type: '\(typeName)'")
        case .tuple(let list), .group(let list):
            for item in list.items { try item.checkHashable(budget) }
        case .string(let text), .markup(let text): try budget.chargeText(text.utf8.count)
        default: try budget.step()
        }
    }
}

extension TemplateDict {
    /// Whether both have the same keys, and the same values where asked.
    func hasMembers(of other: TemplateDict, compareValues: Bool, _ budget: TemplateBudget?) throws -> Bool {
        guard count == other.count else { return false }
        for (key, value) in zip(keys, values) {
            try budget?.step()
            guard let found = other.get(key) else { return false }
            if compareValues, try !value.isSame(as: found) && !value.isEqual(to: found, budget) { return false }
        }
        return true
    }
}

/// A dictionary key: equal keys of different types (`1`, `1.0`, `True`) are one key, as in Python.
struct TemplateKey: Hashable {
    let value: TemplateValue

    static func == (a: TemplateKey, b: TemplateKey) -> Bool { a.value.isSameKey(as: b.value) }

    func hash(into hasher: inout Hasher) { Self.hash(value, into: &hasher) }

    private static func hash(_ value: TemplateValue, into hasher: inout Hasher) {
        switch value {
        case .bool, .int, .float:
            switch Number(value) {
            case .integer(let integer): hasher.combine(integer)
            case .real(let real):
                if let integer = Int(exactly: real) { hasher.combine(integer) } else { hasher.combine(real) }
            case nil: break
            }
        case .string(let text), .markup(let text):
            var copy = text
            copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        case .tuple(let list), .group(let list):
            for item in list.items { hash(item, into: &hasher) }
        default:
            hasher.combine(value.typeName)
        }
    }
}

extension TemplateValue {
    /// Equality of two hashable values whose size has been charged.
    func isSameKey(as other: TemplateValue) -> Bool { isSame(as: other) || (try? isEqual(to: other, nil)) ?? false }
}
