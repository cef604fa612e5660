import JSON

/// Variables of one block of a template, inside those of the blocks around it.
final class TemplateScope {
    private var ids: [Int] = []
    private var values: [TemplateValue] = []
    private let parent: TemplateScope?

    init(parent: TemplateScope?) { self.parent = parent }

    func set(_ id: Int, _ value: TemplateValue) {
        if let at = ids.firstIndex(of: id) {
            values[at] = value
        } else {
            ids.append(id)
            values.append(value)
        }
    }

    func get(_ id: Int) -> TemplateValue? {
        var scope = self
        while true {
            if let at = scope.ids.firstIndex(of: id) { return scope.values[at] }
            guard let parent = scope.parent else { return nil }
            scope = parent
        }
    }

    func clear() {
        ids.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }
}

/// Runs a parsed template once.
///
/// Scopes follow what jinja2 compiles to: loops, macros, `with`, filter, call, generation and set blocks have variables
/// of their own, `if` has not, and a macro sees the later assignments of the scope that it was defined in.
final class TemplateInterpreter {
    let program: TemplateProgram
    let budget: TemplateBudget
    /// Seconds since 1970, for `strftime_now`.
    let now: () -> Double
    /// The line being executed, for error messages.
    var line = 0
    /// Text produced so far by the innermost block that captures its output.
    private var output = ""
    private let root = TemplateScope(parent: nil)
    /// The caller's variables and jinja2's globals, by number of their name.
    private var context: [TemplateValue?]
    /// Objects that may be part of reference cycles.
    private var objects: [any TemplateObject] = []

    enum Flow { case next, breakLoop, continueLoop }

    init(_ program: TemplateProgram, variables: JSONObject, budget: TemplateBudget, now: @escaping () -> Double) throws {
        self.program = program
        self.budget = budget
        self.now = now
        context = try program.names.map { name in
            if let value = variables[name] { return try TemplateValue(value) }
            return TemplateFunction(rawValue: name).map { .object(TemplateFunctionObject($0)) }
        }
    }

    func run() throws -> String {
        defer {
            root.clear()
            for object in objects { object.tearDown() }
        }
        _ = try execute(program.body, root)
        return output
    }

    /// Lets the end of the rendering break the cycles that `object` may be in.
    func track(_ object: any TemplateObject) throws {
        try budget.chargeElements(1)
        objects.append(object)
    }

    // MARK: statements

    private func execute(_ body: [TemplateStatement], _ scope: TemplateScope) throws -> Flow {
        for statement in body {
            try budget.step()
            line = statement.line
            switch statement.node {
            case .text(let text):
                try write(text)
            case .output(let expression):
                try write(PythonText.str(evaluate(expression, scope), budget))
            default:
                try budget.enter()
                defer { budget.leave() }
                let flow = try executeCompound(statement.node, scope)
                if flow != .next { return flow }
            }
        }
        return .next
    }

    private func write(_ text: String) throws {
        try budget.chargeText(text.utf8.count)
        output += text
        if output.utf8.count > budget.limits.stringBytes { try budget.chargeText(output.utf8.count) }
    }

    /// Runs `body` and returns what it wrote.
    private func capture(_ body: () throws -> Void) throws -> String {
        let outer = output
        output = ""
        try body()
        defer { output = outer }
        return output
    }

    private func executeCompound(_ node: TemplateStatement.Node, _ scope: TemplateScope) throws -> Flow {
        switch node {
        case .text, .output:
            break
        case .conditional(let branches, let otherwise):
            for (condition, body) in branches where try evaluate(condition, scope).isTrue { return try execute(body, scope) }
            return try execute(otherwise, scope)
        case .loop(let loop):
            let sequence = try evaluate(loop.sequence, scope)
            guard loop.isRecursive else { return try execute(loop, over: sequence, depth: 0, scope) }
            try write(render(loop, over: sequence, depth: 0, scope))
        case .assign(let target, let expression):
            try assign(target, evaluate(expression, scope), scope)
        case .assignBlock(let target, let filter, let body):
            let inner = TemplateScope(parent: scope)
            var flow = Flow.next
            let text = try capture { flow = try execute(body, inner) }
            if flow != .next { return flow }
            try assign(target, filter.map { try evaluate($0, inner, subject: .string(text)) } ?? .string(text), scope)
        case .macro(let id, let macro):
            scope.set(id, try makeMacro(macro, scope))
        case .callBlock(let call, let macro):
            try write(ownText(evaluateCall(call, scope, caller: makeMacro(macro, scope))))
        case .filterBlock(let filter, let body):
            let inner = TemplateScope(parent: scope)
            var flow = Flow.next
            let text = try capture { flow = try execute(body, inner) }
            if flow != .next { return flow }
            try write(ownText(evaluate(filter, inner, subject: .string(text))))
        case .with(let bindings, let body):
            let inner = TemplateScope(parent: scope)
            for (target, value) in bindings { try assign(target, evaluate(value, scope), inner) }
            return try execute(body, inner)
        case .generation(let body):
            _ = try execute(body, TemplateScope(parent: scope))
        case .block(let body):
            // A block sees the variables of the template, not those of loops around it.
            _ = try execute(body, TemplateScope(parent: root))
        case .breakLoop:
            return .breakLoop
        case .continueLoop:
            return .continueLoop
        case .unsupported(let message):
            throw TemplateFailure.unsupported(message)
        }
        return .next
    }

    /// What call and filter blocks write, which jinja2 does not convert to text.
    private func ownText(_ value: TemplateValue) throws -> String {
        guard let text = value.text else {
            throw TemplateFailure.type("sequence item: expected str instance, \(value.typeName) found")
        }
        return text
    }

    private func makeMacro(_ macro: TemplateMacro, _ scope: TemplateScope) throws -> TemplateValue {
        let object = MacroObject(macro, scope)
        try track(object)
        return .object(object)
    }

    func assign(_ target: TemplateTarget, _ value: TemplateValue, _ scope: TemplateScope) throws {
        switch target {
        case .name(let id):
            scope.set(id, value)
        case .namespaceMember(let id, let attribute):
            guard case .object(let object as NamespaceObject)? = lookup(id, scope) else {
                throw TemplateFailure(.runtime, "cannot assign attribute on non-namespace object")
            }
            try object.set(attribute, value)
        case .tuple(let targets):
            let items = try unpack(value, count: targets.count)
            for (target, item) in zip(targets, items) { try assign(target, item, scope) }
        }
    }

    private func unpack(_ value: TemplateValue, count: Int) throws -> [TemplateValue] {
        guard value.isIterable else { throw TemplateFailure.type("cannot unpack non-iterable \(value.typeName) object") }
        let iterator = try value.makeIterator(budget)
        var items: [TemplateValue] = []
        while items.count < count {
            guard let item = try iterator.next() else {
                throw TemplateFailure.type("not enough values to unpack (expected \(count), got \(items.count))")
            }
            items.append(item)
        }
        guard try iterator.next() == nil else { throw TemplateFailure.type("too many values to unpack (expected \(count))") }
        return items
    }

    // MARK: loops

    /// Runs a recursive loop over `sequence` and returns its text.
    func render(_ loop: TemplateLoop, over sequence: TemplateValue, depth: Int, _ scope: TemplateScope) throws -> String {
        try budget.enter()
        defer { budget.leave() }
        return try capture { _ = try execute(loop, over: sequence, depth: depth, scope) }
    }

    private func execute(
        _ loop: TemplateLoop, over sequence: TemplateValue, depth: Int, _ scope: TemplateScope
    ) throws -> Flow {
        var iterator = try sequence.makeIterator(budget)
        var length = try? sequence.length()
        if let condition = loop.condition {
            let source = iterator
            length = nil
            iterator = try TemplateIterator(depth: source.depth) { [unowned self] in
                while let item = try source.next() {
                    let inner = TemplateScope(parent: scope)
                    try assign(loop.target, item, inner)
                    if try evaluate(condition, inner).isTrue { return item }
                }
                return nil
            }
        }
        let variable = LoopVariable(
            iterator, length: length, depth: depth, budget: budget,
            recurse: loop.isRecursive ? { [unowned self] in try render(loop, over: $0, depth: depth + 1, scope) } : nil)
        defer { variable.tearDown() }
        var inner = TemplateScope(parent: scope)
        // As jinja2 compiles it, `break` and `continue` jump over the line that notes that the loop had an iteration.
        var finishedIteration = false
        while let item = try variable.advance() {
            try budget.step()
            if isKnownUniquelyReferenced(&inner) { inner.clear() } else { inner = TemplateScope(parent: scope) }
            try assign(loop.target, item, inner)
            inner.set(TemplateProgram.loop, .object(variable))
            let flow = try execute(loop.body, inner)
            if flow == .breakLoop { break }
            if flow == .next { finishedIteration = true }
        }
        return finishedIteration ? .next : try execute(loop.otherwise, TemplateScope(parent: scope))
    }

    // MARK: macros

    /// Calls a macro with arguments already sorted to its parameters; nil where none was given.
    func run(
        _ macro: TemplateMacro, in scope: TemplateScope, arguments: [TemplateValue?], caller: TemplateValue?,
        keywords: TemplateValue?, variadic: TemplateValue?
    ) throws -> String {
        try budget.enter()
        defer { budget.leave() }
        let savedLine = line
        let inner = TemplateScope(parent: scope)
        if let caller { inner.set(TemplateProgram.caller, caller) }
        if let keywords { inner.set(TemplateProgram.kwargs, keywords) }
        if let variadic { inner.set(TemplateProgram.varargs, variadic) }
        let firstDefault = macro.parameters.count - macro.defaults.count
        // Parameters hide outer variables of their name even before they are bound.
        for (name, id) in macro.parameters { inner.set(id, .undefined(hint: "parameter '\(name)' was not provided")) }
        for (at, parameter) in macro.parameters.enumerated() {
            if let value = arguments[at] { inner.set(parameter.id, value) }
        }
        for (at, parameter) in macro.parameters.enumerated() where arguments[at] == nil && at >= firstDefault {
            inner.set(parameter.id, try evaluate(macro.defaults[at - firstDefault], inner))
        }
        let text = try capture { _ = try execute(macro.body, inner) }
        line = savedLine
        return text
    }

    // MARK: variables

    func lookup(_ id: Int, _ scope: TemplateScope) -> TemplateValue? { scope.get(id) ?? context[id] }
}
