import Foundation

/// A macro, or the body of a `{% call %}` block, with the scope it was defined in.
final class MacroObject: TemplateObject {
    private let macro: TemplateMacro
    /// Nil once the rendering is over.
    private var scope: TemplateScope?

    init(_ macro: TemplateMacro, _ scope: TemplateScope) {
        self.macro = macro
        self.scope = scope
    }

    var typeName: String { "Macro" }
    var ownerName: String { "jinja2.runtime.Macro object" }
    var isCallable: Bool { true }
    func tearDown() { scope = nil }

    func describe(_ budget: TemplateBudget) -> String {
        macro.name.isEmpty ? "<Macro anonymous>" : "<Macro \(PythonText.quoted(macro.name))>"
    }

    func attribute(_ name: String, _ interpreter: TemplateInterpreter) throws -> TemplateValue? {
        switch name {
        case "name": macro.name.isEmpty ? TemplateValue.none : .string(macro.name)
        case "arguments": try .tuple(of: macro.parameters.map { .string($0.name) })
        case "catch_kwargs": .bool(macro.usesKeywords)
        case "catch_varargs": .bool(macro.usesVariadic)
        case "caller": .bool(macro.usesCaller)
        default: nil
        }
    }

    /// Sorts the arguments to the parameters as `jinja2.runtime.Macro` does.
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        guard let scope else { throw TemplateFailure(.runtime, "a macro outlived its template") }
        let parameters = macro.parameters
        var keywords = arguments.keywords
        func pop(_ name: String) -> TemplateValue? {
            guard let at = keywords.firstIndex(where: { $0.name.hasSameScalars(as: name) }) else { return nil }
            return keywords.remove(at: at).value
        }
        var values: [TemplateValue?] = Array(arguments.positional.prefix(parameters.count))
        // A parameter called `caller` takes the caller's place.
        let hasCallerParameter = parameters.contains { $0.name == "caller" }
        for parameter in parameters.dropFirst(values.count) { values.append(pop(parameter.name)) }
        var caller: TemplateValue?
        if macro.usesCaller, !hasCallerParameter {
            caller = pop("caller") ?? .undefined(hint: "No caller defined")
        }
        var extra: TemplateValue?
        if macro.usesKeywords {
            let dict = TemplateDict()
            for (name, value) in keywords { try dict.set(name, value) }
            extra = .dict(dict)
        } else if let (name, _) = keywords.first {
            if keywords.contains(where: { $0.name == "caller" }) {
                throw TemplateFailure.type(
                    "macro \(PythonText.quoted(macro.name)) was invoked with two values for the special caller argument. "
                        + "This is most likely a bug.")
            }
            throw TemplateFailure.type(
                "macro \(PythonText.quoted(macro.name)) takes no keyword argument \(PythonText.quoted(name))")
        }
        var variadic: TemplateValue?
        if macro.usesVariadic {
            variadic = try .tuple(of: Array(arguments.positional.dropFirst(parameters.count)))
        } else if arguments.positional.count > parameters.count {
            throw TemplateFailure.type(
                "macro \(PythonText.quoted(macro.name)) takes not more than \(parameters.count) argument(s)")
        }
        return .string(
            try interpreter.run(
                macro, in: scope, arguments: values, caller: caller, keywords: extra, variadic: variadic))
    }
}

/// The `loop` variable. Its iterator is read one element ahead only when the template asks for `last` or `nextitem`.
final class LoopVariable: TemplateObject {
    private var iterator: TemplateIterator?
    private var knownLength: Int?
    private let depth: Int
    private let budget: TemplateBudget
    private var recurse: ((TemplateValue) throws -> String)?

    private var index0 = -1
    private var previous: TemplateValue?
    private var current: TemplateValue?
    private var peeked: [TemplateValue] = []
    private var lastChanged: [TemplateValue]?

    init(
        _ iterator: TemplateIterator, length: Int?, depth: Int, budget: TemplateBudget,
        recurse: ((TemplateValue) throws -> String)?
    ) {
        self.iterator = iterator
        knownLength = length
        self.depth = depth
        self.budget = budget
        self.recurse = recurse
    }

    var typeName: String { "LoopContext" }
    var ownerName: String { "jinja2.runtime.LoopContext object" }
    var isCallable: Bool { true }

    func tearDown() {
        iterator = nil
        recurse = nil
        previous = nil
        current = nil
        lastChanged = nil
        peeked = []
    }

    func advance() throws -> TemplateValue? {
        guard let item = try peek() else { return nil }
        peeked.removeFirst()
        index0 += 1
        previous = current
        current = item
        return item
    }

    private func peek() throws -> TemplateValue? {
        if let first = peeked.first { return first }
        guard let item = try iterator?.next() else { return nil }
        peeked.append(item)
        return item
    }

    /// The number of elements; reads a generator to its end.
    func length() throws -> Int {
        if let knownLength { return knownLength }
        var rest: [TemplateValue] = peeked
        while let item = try iterator?.next() {
            try budget.chargeElements(1)
            rest.append(item)
        }
        peeked = []
        let count = rest.count + index0 + 1
        iterator = try TemplateIterator(typeName: "list_iterator", depth: 0, over: rest)
        knownLength = count
        return count
    }

    func describe(_ budget: TemplateBudget) throws -> String { "<LoopContext \(index0 + 1)/\(try length())>" }

    func attribute(_ name: String, _ interpreter: TemplateInterpreter) throws -> TemplateValue? {
        switch name {
        case "index": .int(index0 + 1)
        case "index0": .int(index0)
        case "first": .bool(index0 == 0)
        case "last": .bool(try peek() == nil)
        case "length": .int(try length())
        case "revindex": .int(try length() - index0)
        case "revindex0": .int(try length() - index0 - 1)
        case "depth": .int(depth + 1)
        case "depth0": .int(depth)
        case "previtem": index0 == 0 ? .undefined(hint: "there is no previous item") : previous
        case "nextitem": try peek() ?? .undefined(hint: "there is no next item")
        case "cycle", "changed": .object(LoopMethod(self, name))
        default: nil
        }
    }

    /// Renders the body of a recursive loop over other elements.
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        let sequence = try arguments.bind("loop", ["iterable"], required: 1)[0] ?? .none
        guard let recurse else {
            throw TemplateFailure.type("The loop must have the 'recursive' marker to be called recursively.")
        }
        return .string(try recurse(sequence))
    }

    fileprivate func cycle(_ arguments: CallArguments) throws -> TemplateValue {
        guard arguments.keywords.isEmpty else { throw TemplateFailure.type("cycle() takes no keyword arguments") }
        guard !arguments.positional.isEmpty else { throw TemplateFailure.type("no items for cycling given") }
        return arguments.positional[index0 % arguments.positional.count]
    }

    fileprivate func changed(_ arguments: CallArguments) throws -> TemplateValue {
        guard arguments.keywords.isEmpty else { throw TemplateFailure.type("changed() takes no keyword arguments") }
        if let lastChanged, lastChanged.count == arguments.positional.count,
            try zip(lastChanged, arguments.positional).allSatisfy({ try $0.isSame(as: $1) || $0.isEqual(to: $1, budget) })
        {
            return .bool(false)
        }
        lastChanged = arguments.positional
        return .bool(true)
    }
}

private final class LoopMethod: TemplateObject {
    private let loop: LoopVariable
    private let name: String

    init(_ loop: LoopVariable, _ name: String) {
        self.loop = loop
        self.name = name
    }

    var typeName: String { "method" }
    var isCallable: Bool { true }
    func describe(_ budget: TemplateBudget) -> String { "<bound method LoopContext.\(name)>" }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        name == "cycle" ? try loop.cycle(arguments) : try loop.changed(arguments)
    }
}

/// `namespace()`: the one object whose attributes a template can set.
final class NamespaceObject: TemplateObject {
    private var attributes: TemplateDict

    init(_ attributes: TemplateDict) { self.attributes = attributes }

    var typeName: String { "Namespace" }
    var ownerName: String { "jinja2.utils.Namespace object" }
    func tearDown() { attributes = TemplateDict() }
    func set(_ name: String, _ value: TemplateValue) throws { try attributes.set(name, value) }
    func describe(_ budget: TemplateBudget) throws -> String { "<Namespace \(try PythonText.repr(attributes, budget))>" }
    func attribute(_ name: String, _ interpreter: TemplateInterpreter) -> TemplateValue? {
        guard let value = attributes.get(name) else { return nil }
        // The sandbox hides attributes that begin with an underscore, though they can be set.
        if name.hasPrefix("_") {
            return .undefined(UndefinedValue(.unsafe(owner: typeName, name: name)))
        }
        return value
    }
}

/// `cycler(a, b, ...)`.
final class CyclerObject: TemplateObject {
    private var items: [TemplateValue]
    private var position = 0

    init(_ items: [TemplateValue]) { self.items = items }

    var typeName: String { "Cycler" }
    var ownerName: String { "jinja2.utils.Cycler object" }
    func tearDown() { items = [.none] }
    func describe(_ budget: TemplateBudget) -> String { "<jinja2.utils.Cycler object>" }

    func attribute(_ name: String, _ interpreter: TemplateInterpreter) throws -> TemplateValue? {
        switch name {
        case "current": items[position % items.count]
        case "pos": .int(position)
        case "items": try .tuple(of: items)
        case "next", "reset": .object(CyclerMethod(self, isNext: name == "next"))
        default: nil
        }
    }

    fileprivate func next() -> TemplateValue {
        defer { position = (position + 1) % items.count }
        return items[position % items.count]
    }

    fileprivate func reset() { position = 0 }
}

private final class CyclerMethod: TemplateObject {
    private let cycler: CyclerObject
    private let isNext: Bool

    init(_ cycler: CyclerObject, isNext: Bool) {
        self.cycler = cycler
        self.isNext = isNext
    }

    var typeName: String { "method" }
    var isCallable: Bool { true }
    func describe(_ budget: TemplateBudget) -> String { "<bound method Cycler.\(isNext ? "next" : "reset")>" }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        _ = try arguments.bind("next", [])
        if isNext { return cycler.next() }
        cycler.reset()
        return .none
    }
}

/// `joiner(separator)`: nothing on the first call, the separator afterwards.
final class JoinerObject: TemplateObject {
    private var separator: TemplateValue
    private var isUsed = false

    init(_ separator: TemplateValue) { self.separator = separator }

    var typeName: String { "Joiner" }
    var ownerName: String { "jinja2.utils.Joiner object" }
    var isCallable: Bool { true }
    func tearDown() { separator = .none }
    func describe(_ budget: TemplateBudget) -> String { "<jinja2.utils.Joiner object>" }
    func attribute(_ name: String, _ interpreter: TemplateInterpreter) -> TemplateValue? {
        switch name {
        case "sep": separator
        case "used": .bool(isUsed)
        default: nil
        }
    }
    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        _ = try arguments.bind("joiner", [])
        defer { isUsed = true }
        return isUsed ? separator : .string("")
    }
}

/// The global functions of jinja2 and those that transformers adds.
enum TemplateFunction: String {
    case range, dict, namespace, cycler, joiner, lipsum
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

final class TemplateFunctionObject: TemplateObject {
    private let function: TemplateFunction

    init(_ function: TemplateFunction) { self.function = function }

    /// Three of the globals are Python classes.
    private var isClass: Bool { [.range, .dict, .namespace, .cycler, .joiner].contains(function) && function != .range }
    var typeName: String { isClass ? "type" : "function" }
    var isCallable: Bool { true }
    func describe(_ budget: TemplateBudget) -> String {
        switch function {
        case .dict: "<class 'dict'>"
        case .namespace: "<class 'jinja2.utils.Namespace'>"
        case .cycler: "<class 'jinja2.utils.Cycler'>"
        case .joiner: "<class 'jinja2.utils.Joiner'>"
        default: "<function \(function.rawValue)>"
        }
    }

    func call(_ arguments: CallArguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
        let budget = interpreter.budget
        switch function {
        case .range: return try Self.range(arguments)
        case .dict: return .dict(try Self.dict(arguments, budget))
        case .namespace:
            let namespace = NamespaceObject(try Self.dict(arguments, budget))
            try interpreter.track(namespace)
            return .object(namespace)
        case .cycler:
            guard arguments.keywords.isEmpty else { throw TemplateFailure.type("cycler() takes no keyword arguments") }
            guard !arguments.positional.isEmpty else {
                throw TemplateFailure(.runtime, "at least one item has to be provided")
            }
            let cycler = CyclerObject(arguments.positional)
            try interpreter.track(cycler)
            return .object(cycler)
        case .joiner:
            let joiner = JoinerObject(try arguments.bind("joiner", ["sep"])[0] ?? .string(", "))
            try interpreter.track(joiner)
            return .object(joiner)
        case .lipsum:
            throw TemplateFailure.unsupported("lipsum(), whose text is random")
        case .raiseException:
            let message = try arguments.bind("raise_exception", ["message"], required: 1)[0] ?? .none
            throw TemplateFailure(.raised, try PythonText.str(message, budget))
        case .strftimeNow:
            guard let format = try arguments.bind("strftime_now", ["format"], required: 1)[0]?.text else {
                throw TemplateFailure.type("strftime() argument 1 must be str")
            }
            return .string(try Self.format(interpreter.now(), as: format))
        }
    }

    private static func range(_ arguments: CallArguments) throws -> TemplateValue {
        guard arguments.keywords.isEmpty else { throw TemplateFailure.type("range() takes no keyword arguments") }
        let bounds = try arguments.positional.map { value in
            guard let bound = value.index else {
                throw TemplateFailure.type("'\(value.typeName)' object cannot be interpreted as an integer")
            }
            return bound
        }
        switch bounds.count {
        case 1: return .range(try TemplateRange(start: 0, stop: bounds[0], step: 1))
        case 2: return .range(try TemplateRange(start: bounds[0], stop: bounds[1], step: 1))
        case 3: return .range(try TemplateRange(start: bounds[0], stop: bounds[1], step: bounds[2]))
        default: throw TemplateFailure.type("range expected 1 to 3 arguments, got \(bounds.count)")
        }
    }

    /// Python's `dict(mapping or pairs, **names)`.
    private static func dict(_ arguments: CallArguments, _ budget: TemplateBudget) throws -> TemplateDict {
        let dict = TemplateDict()
        guard arguments.positional.count <= 1 else {
            throw TemplateFailure.type("dict expected at most 1 argument, got \(arguments.positional.count)")
        }
        if case .dict(let source)? = arguments.positional.first {
            try budget.chargeElements(source.count)
            for (key, value) in zip(source.keys, source.values) { try dict.set(key, value, budget) }
        } else if let pairs = arguments.positional.first {
            if case .undefined(let undefined) = pairs { throw undefined.failure }
            for pair in try pairs.collect(budget) {
                let pair = try pair.collect(budget)
                guard pair.count == 2 else {
                    throw TemplateFailure.type("dictionary update sequence element has length \(pair.count); 2 is required")
                }
                try dict.set(pair[0], pair[1], budget)
            }
        }
        for (name, value) in arguments.keywords { try dict.set(name, value) }
        return dict
    }

    /// Local time in the format of C's `strftime`, which is Python's too.
    private static func format(_ seconds: Double, as format: String) throws -> String {
        guard format.utf8.count <= 4096 else { throw TemplateFailure(.limit, "a date format longer than 4096 bytes") }
        var time = time_t(seconds)
        var parts = tm()
        localtime_r(&time, &parts)
        // Only Python knows %f; a marker keeps an empty result apart from one that did not fit.
        let micros = String(Int((seconds - seconds.rounded(.down)) * 1_000_000))
        let padded = String(repeating: "0", count: max(0, 6 - micros.utf8.count)) + micros
        let marked = format.replacingOccurrences(of: "%f", with: padded) + "\u{1}"
        var buffer = [CChar](repeating: 0, count: 1 << 16)
        let length = strftime(&buffer, buffer.count, marked, &parts)
        guard length > 0 else { throw TemplateFailure(.limit, "a date longer than \(buffer.count) bytes") }
        return String(decoding: buffer[..<(length - 1)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
