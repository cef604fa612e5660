/// The methods of Python's `str`, `dict`, `list` and `tuple` that the immutable sandbox allows.
enum BuiltinMethod {
    case text(TextMethod)
    case dict(DictMethod)
    case list(ListMethod)
    case float

    enum TextMethod: String {
        case capitalize, casefold, center, count, endswith, expandtabs, find, format, index, isalnum, isalpha, isascii
        case isdecimal, isdigit, isidentifier, islower, isnumeric, isprintable, isspace, istitle, isupper, join, ljust
        case lower, lstrip, partition, removeprefix, removesuffix, replace, rfind, rindex, rjust, rpartition, rsplit, rstrip
        case split, splitlines, startswith, strip, swapcase, title, upper, zfill
        case formatMap = "format_map"
        case encode, maketrans, translate
    }

    enum DictMethod: String { case copy, get, items, keys, values, fromkeys }
    enum ListMethod: String { case copy, count, index }

    init?(_ name: String, of object: TemplateValue) {
        switch object {
        case .string, .markup:
            guard let method = TextMethod(rawValue: name) else { return nil }
            self = .text(method)
        case .dict:
            guard let method = DictMethod(rawValue: name) else { return nil }
            self = .dict(method)
        case .list, .tuple, .group, .range:
            guard let method = ListMethod(rawValue: name) else { return nil }
            if case .copy = method { guard case .list = object else { return nil } }
            self = .list(method)
        case .float where name == "is_integer":
            self = .float
        default:
            return nil
        }
    }

    /// Whether Python's object has this attribute but the sandbox hides it.
    static func isUnsafe(_ name: String, of object: TemplateValue) -> Bool {
        if name.hasPrefix("__"), name.hasSuffix("__") {
            return ["__class__", "__doc__", "__init__", "__len__", "__getitem__", "__eq__", "__dir__", "__str__"].contains(name)
        }
        switch object {
        case .dict: return ["clear", "pop", "popitem", "setdefault", "update"].contains(name)
        case .list: return ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"].contains(name)
        default: return false
        }
    }

    var name: String {
        switch self {
        case .text(let method): method.rawValue
        case .dict(let method): method.rawValue
        case .list(let method): method.rawValue
        case .float: "is_integer"
        }
    }
}

/// A method taken from its object without being called.
final class BoundMethod: TemplateObject {
    private let method: BuiltinMethod
    private let receiver: TemplateValue

    init(_ method: BuiltinMethod, receiver: TemplateValue) {
        self.method = method
        self.receiver = receiver
    }

    var typeName: String { "builtin_function_or_method" }
    var isCallable: Bool { true }
    func describe(_ budget: TemplateBudget) -> String {
        "<built-in method \(method.name) of \(receiver.typeName) object>"
    }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        try interpreter.call(method, on: receiver, arguments)
    }
}

extension TemplateInterpreter {
    func call(_ method: BuiltinMethod, on receiver: TemplateValue, _ arguments: CallArguments) throws -> TemplateValue {
        switch (method, receiver) {
        case (.text(let method), .string(let text)):
            try budget.chargeText(text.utf8.count)
            return try call(method, on: text, isMarkup: false, arguments)
        case (.text(let method), .markup(let text)):
            try budget.chargeText(text.utf8.count)
            return try call(method, on: text, isMarkup: true, arguments)
        case (.dict(let method), .dict(let dict)):
            return try call(method, on: dict, arguments)
        case (.list(let method), _):
            return try call(method, on: receiver, arguments)
        case (.float, .float(let value)):
            _ = try arguments.bind("is_integer", [])
            return .bool(value.isFinite && value == value.rounded())
        default:
            throw TemplateFailure.type("'\(receiver.typeName)' object has no attribute '\(method.name)'")
        }
    }

    private func call(
        _ method: BuiltinMethod.DictMethod, on dict: TemplateDict, _ arguments: CallArguments
    ) throws -> TemplateValue {
        switch method {
        case .get:
            let values = try arguments.bind("get", ["key", "default"], required: 1, positionalOnly: true)
            let key = values[0] ?? .none
            try key.checkHashable(budget)
            return dict.get(key) ?? values[1] ?? .none
        case .keys, .values, .items:
            _ = try arguments.bind(method.rawValue, [])
            let kind: TemplateDictView.Kind = method == .keys ? .keys : method == .values ? .values : .items
            return .view(TemplateDictView(kind: kind, dict: dict))
        case .copy:
            _ = try arguments.bind("copy", [])
            try budget.chargeElements(dict.count)
            let copy = TemplateDict()
            for (key, value) in zip(dict.keys, dict.values) { try copy.set(key, value, budget) }
            return .dict(copy)
        case .fromkeys:
            let values = try arguments.bind("fromkeys", ["iterable", "value"], required: 1, positionalOnly: true)
            let result = TemplateDict()
            for key in try (values[0] ?? .none).collect(budget) { try result.set(key, values[1] ?? .none, budget) }
            return .dict(result)
        }
    }

    private func call(
        _ method: BuiltinMethod.ListMethod, on receiver: TemplateValue, _ arguments: CallArguments
    ) throws -> TemplateValue {
        switch method {
        case .copy:
            _ = try arguments.bind("copy", [])
            return try .list(of: receiver.collect(budget))
        case .count:
            let value = try arguments.bind("count", ["value"], required: 1, positionalOnly: true)[0] ?? .none
            var count = 0
            for item in try receiver.collect(budget) where try item.isSame(as: value) || item.isEqual(to: value, budget) {
                count += 1
            }
            return .int(count)
        case .index:
            let values = try arguments.bind("index", ["value", "start", "stop"], required: 1, positionalOnly: true)
            let value = values[0] ?? .none
            let items = try receiver.collect(budget)
            let bounds = try Self.resolve((values[1]?.index, values[2]?.index, nil), count: items.count)
            for at in bounds.start..<max(bounds.start, bounds.stop)
            where try items[at].isSame(as: value) || items[at].isEqual(to: value, budget) {
                return .int(at)
            }
            throw TemplateFailure.type("\(try PythonText.repr(value, budget)) is not in \(receiver.typeName)")
        }
    }
}
