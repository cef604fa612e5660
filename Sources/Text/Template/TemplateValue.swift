import JSON

/// A value of the template language: the Python objects that a chat template can meet.
///
/// Values live only during one rendering, on one thread. The immutable sandbox gives templates no way to change a list or
/// dictionary, so all but namespaces, loop variables and iterators are constant once made.
enum TemplateValue {
    case undefined(UndefinedValue)
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    /// `markupsafe.Markup`: text that the `safe` and `escape` filters marked; it escapes what is joined to it.
    case markup(String)
    case list(TemplateList)
    case tuple(TemplateList)
    /// An element of `groupby`: a tuple whose two members are also called `grouper` and `list`.
    case group(TemplateList)
    case dict(TemplateDict)
    case view(TemplateDictView)
    case range(TemplateRange)
    /// A generator or iterator: consumed by its first use, has no length.
    case iterator(TemplateIterator)
    case object(any TemplateObject)
}

/// jinja2's default `Undefined`: prints as nothing, is false, iterates as empty, and fails in any other use.
final class UndefinedValue {
    enum Reason {
        case variable(String)
        case attribute(owner: String, name: String)
        case element(owner: String, key: String)
        case hint(String)
        /// The sandbox hides this attribute; using the value is an error of its own kind.
        case unsafe(owner: String, name: String)
    }

    let reason: Reason

    init(_ reason: Reason) { self.reason = reason }

    var message: String {
        switch reason {
        case .variable(let name): "\(PythonText.quoted(name)) is undefined"
        case .attribute(let owner, let name): "\(PythonText.quoted(owner)) has no attribute \(PythonText.quoted(name))"
        case .element(let owner, let key): "\(owner) has no element \(key)"
        case .hint(let hint): hint
        case .unsafe(let owner, let name):
            "access to attribute \(PythonText.quoted(name)) of \(PythonText.quoted(owner)) object is unsafe."
        }
    }

    var failure: TemplateFailure {
        if case .unsafe = reason { return TemplateFailure(.runtime, message) }
        return TemplateFailure(.undefined, message)
    }
}

extension TemplateValue {
    static func undefined(hint: String) -> TemplateValue { .undefined(UndefinedValue(.hint(hint))) }
    static func undefined(name: String) -> TemplateValue { .undefined(UndefinedValue(.variable(name))) }
    static func undefined(attribute name: String, of object: TemplateValue) -> TemplateValue {
        .undefined(UndefinedValue(.attribute(owner: object.ownerName, name: name)))
    }

    static func list(of items: [TemplateValue]) throws -> TemplateValue { .list(try TemplateList(items)) }
    static func tuple(of items: [TemplateValue]) throws -> TemplateValue { .tuple(try TemplateList(items)) }

    /// Python's name of the type, for error messages.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .float: "float"
        case .string: "str"
        case .markup: "Markup"
        case .list: "list"
        case .tuple: "tuple"
        case .group: "_GroupTuple"
        case .dict: "dict"
        case .view(let view): view.kind.rawValue
        case .range: "range"
        case .iterator(let iterator): iterator.typeName
        case .object(let object): object.typeName
        }
    }

    /// How jinja2's messages about missing attributes name the owner.
    var ownerName: String {
        switch self {
        case .none: "None"
        case .markup: "markupsafe.Markup object"
        case .object(let object): object.ownerName
        default: "\(typeName) object"
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var isNone: Bool { if case .none = self { true } else { false } }

    /// The text of a `str` or `Markup`.
    var text: String? {
        switch self {
        case .string(let text), .markup(let text): text
        default: nil
        }
    }

    /// The elements of a list or tuple.
    var elements: [TemplateValue]? {
        switch self {
        case .list(let list), .tuple(let list), .group(let list): list.items
        default: nil
        }
    }

    /// How many containers are nested in this value, itself included.
    var depth: Int {
        switch self {
        case .list(let list), .tuple(let list), .group(let list): list.depth
        case .dict(let dict): dict.depth
        case .view(let view): view.dict.depth
        case .iterator(let iterator): iterator.depth
        default: 0
        }
    }

    /// The value as Python's `operator.index` sees it: integers and booleans.
    var index: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }
}

/// Containers nested deeper are refused, because comparing, printing and releasing them recurses.
private let nestingLimit = 200

private func nested(_ depth: Int) throws -> Int {
    guard depth <= nestingLimit else {
        throw TemplateFailure(.limit, "values nested deeper than \(nestingLimit)")
    }
    return depth
}

/// The elements of a list or tuple.
final class TemplateList {
    let items: [TemplateValue]
    let depth: Int

    init(_ items: [TemplateValue]) throws {
        var depth = 0
        for item in items { depth = max(depth, item.depth) }
        self.items = items
        self.depth = try nested(depth + 1)
    }
}

/// A dictionary in insertion order. Made once, then only read, except while it is being built.
final class TemplateDict {
    private(set) var keys: [TemplateValue] = []
    private(set) var values: [TemplateValue] = []
    private(set) var depth = 1
    /// Built when the dictionary is too large to be searched from front to back.
    private var positions: [TemplateKey: Int] = [:]
    private static let linearLimit = 8

    init() {}

    var count: Int { keys.count }

    /// - Throws: a type error for a key that Python cannot hash.
    func set(_ key: TemplateValue, _ value: TemplateValue, _ budget: TemplateBudget) throws {
        try key.checkHashable(budget)
        try put(key, value)
    }

    func set(_ name: String, _ value: TemplateValue) throws { try put(.string(name), value) }

    private func put(_ key: TemplateValue, _ value: TemplateValue) throws {
        depth = try nested(max(depth, value.depth + 1, key.depth + 1))
        if let at = position(of: key) {
            values[at] = value
        } else {
            append(key, value)
        }
    }

    func get(_ key: TemplateValue) -> TemplateValue? { position(of: key).map { values[$0] } }

    func get(_ name: String) -> TemplateValue? {
        if !positions.isEmpty { return position(of: .string(name)).map { values[$0] } }
        for at in keys.indices {
            if case .string(let key) = keys[at], key.hasSameBytes(as: name) { return values[at] }
        }
        return nil
    }

    private func append(_ key: TemplateValue, _ value: TemplateValue) {
        keys.append(key)
        values.append(value)
        if !positions.isEmpty {
            positions[TemplateKey(value: key)] = keys.count - 1
        } else if keys.count > Self.linearLimit {
            for (at, key) in keys.enumerated() { positions[TemplateKey(value: key)] = at }
        }
    }

    private func position(of key: TemplateValue) -> Int? {
        if !positions.isEmpty { return positions[TemplateKey(value: key)] }
        return keys.firstIndex { $0.isSameKey(as: key) }
    }
}

/// `dict.keys()`, `dict.values()` and `dict.items()`.
struct TemplateDictView {
    enum Kind: String { case keys = "dict_keys", values = "dict_values", items = "dict_items" }

    let kind: Kind
    let dict: TemplateDict

    func elements() throws -> [TemplateValue] {
        switch kind {
        case .keys: dict.keys
        case .values: dict.values
        case .items: try zip(dict.keys, dict.values).map { try .tuple(of: [$0, $1]) }
        }
    }
}

/// Python's `range`, which the sandbox limits to 100,000 elements.
struct TemplateRange {
    let start: Int
    let stop: Int
    let step: Int
    let count: Int

    static let limit = 100_000

    init(start: Int, stop: Int, step: Int) throws {
        guard step != 0 else { throw TemplateFailure.type("range() arg 3 must not be zero") }
        let (distance, overflow) = step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
        let magnitude = step.magnitude
        let count: UInt = (step > 0 ? start < stop : start > stop) ? (UInt(bitPattern: distance) - 1) / magnitude + 1 : 0
        guard !overflow || count == 0, count <= Self.limit else {
            throw TemplateFailure(.limit, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(Self.limit)).")
        }
        self.start = start
        self.stop = stop
        self.step = step
        self.count = Int(count)
    }

    subscript(position: Int) -> Int { start + position * step }

    var elements: [TemplateValue] { (0..<count).map { .int(self[$0]) } }
}

/// A generator: yields each element once, lazily as Python does.
final class TemplateIterator {
    let typeName: String
    let depth: Int
    private var advance: (() throws -> TemplateValue?)?

    /// - Parameter depth: nesting of the value that the closure draws from.
    init(typeName: String = "generator", depth: Int, _ advance: @escaping () throws -> TemplateValue?) throws {
        self.typeName = typeName
        self.depth = try nested(depth + 1)
        self.advance = advance
    }

    convenience init(typeName: String, depth: Int, over elements: [TemplateValue]) throws {
        var next = 0
        try self.init(typeName: typeName, depth: depth) {
            guard next < elements.count else { return nil }
            defer { next += 1 }
            return elements[next]
        }
    }

    /// A generator whose body makes all its elements once the first is asked for.
    convenience init(depth: Int, making elements: @escaping () throws -> [TemplateValue]) throws {
        var items: [TemplateValue]?
        var next = 0
        try self.init(depth: depth) {
            let made = try items ?? elements()
            items = made
            guard next < made.count else { return nil }
            defer { next += 1 }
            return made[next]
        }
    }

    func next() throws -> TemplateValue? {
        guard let value = try advance?() else {
            advance = nil
            return nil
        }
        return value
    }
}

/// An object with attributes that is no Python builtin type: namespaces, the loop variable, macros and functions.
protocol TemplateObject: AnyObject {
    var typeName: String { get }
    var ownerName: String { get }
    /// What `str()` and `repr()` print.
    func describe(_ budget: TemplateBudget) throws -> String
    func attribute(_ name: String, _ interpreter: TemplateInterpreter) throws -> TemplateValue?
    var isCallable: Bool { get }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue
    /// Drops references to other values when the rendering ends, so that cycles and long chains are released.
    func tearDown()
}

extension TemplateObject {
    var ownerName: String { "\(typeName) object" }
    func tearDown() {}
    func attribute(_ name: String, _ interpreter: TemplateInterpreter) throws -> TemplateValue? { nil }
    var isCallable: Bool { false }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        throw TemplateFailure.type("'\(typeName)' object is not callable")
    }
}

extension TemplateValue {
    /// The Python object that `json.loads` would have made.
    init(_ json: JSONValue) throws {
        switch json {
        case .null: self = .none
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .int(value)
        case .number(let value): self = .float(value)
        case .string(let value): self = .string(value)
        case .array(let items): self = try .list(of: items.map { try TemplateValue($0) })
        case .object(let object):
            let dict = TemplateDict()
            for (key, value) in object { try dict.set(key, TemplateValue(value)) }
            self = .dict(dict)
        }
    }
}
