/// Parses the tokens of a template into statements, following jinja2 3.1's parser rule for rule.
struct TemplateParser {
    private let tokens: [TemplateToken]
    private let limits: TemplateLimits
    private var position = 0
    private var names = TemplateProgram.reserved
    private var ids: [String: Int]
    private var depth = 0
    /// Tags whose end is still to come, for messages.
    private var openTags: [String] = []

    /// Inside `if` and conditional expressions jinja2 reports an unknown filter only when it is applied.
    private var isSoft = false
    private var unknownNames: [(line: Int, message: String)] = []

    /// Loops that a `break` here could leave; macros and calls are functions of their own.
    private var loopDepth = 0
    /// Loops around this place, over function borders: `loop` cannot be assigned inside one.
    private var enclosingLoops = 0

    /// For each macro around this place, which of `caller`, `kwargs` and `varargs` its body reads.
    private var macroUses: [MacroUses] = []

    private struct MacroUses {
        var read: Set<Int> = []
        var hidden: Set<Int> = []
    }

    struct Fault: Error {
        let line: Int
        let message: String
        var kind = JinjaError.Kind.syntax
    }

    static func parse(_ source: String, name: String, limits: TemplateLimits) throws(JinjaError) -> TemplateProgram {
        let tokens = try TemplateLexer.tokenize(source, name: name)
        var parser = TemplateParser(tokens: tokens, limits: limits)
        do {
            let body = try parser.parseBody(until: [])
            if let unknown = parser.unknownNames.first { throw Fault(line: unknown.line, message: unknown.message) }
            return TemplateProgram(body: body, names: parser.names)
        } catch {
            let fault = error as? Fault ?? Fault(line: 0, message: "\(error)")
            throw JinjaError(kind: fault.kind, template: name, line: fault.line, message: fault.message)
        }
    }

    private init(tokens: [TemplateToken], limits: TemplateLimits) {
        self.tokens = tokens
        self.limits = limits
        ids = Dictionary(uniqueKeysWithValues: TemplateProgram.reserved.enumerated().map { ($1, $0) })
    }

    // MARK: tokens

    var current: TemplateToken { tokens[position] }

    func look() -> TemplateToken { tokens[min(position + 1, tokens.count - 1)] }

    @discardableResult
    mutating func next() -> TemplateToken {
        let token = tokens[position]
        if position + 1 < tokens.count { position += 1 }
        return token
    }

    func isSymbol(_ symbol: String) -> Bool {
        if case .symbol(let found) = current.kind { found == symbol } else { false }
    }

    mutating func skip(symbol: String) -> Bool {
        guard isSymbol(symbol) else { return false }
        next()
        return true
    }

    mutating func skip(name: String) -> Bool {
        guard current.isName(name) else { return false }
        next()
        return true
    }

    @discardableResult
    mutating func expect(_ kind: TemplateToken.Kind, _ description: String) throws -> TemplateToken {
        guard current.kind == kind else {
            if current.kind == .end {
                throw fault("unexpected end of template, expected '\(description)'.")
            }
            throw fault("expected token '\(description)', got '\(current.description)'")
        }
        return next()
    }

    @discardableResult
    mutating func expect(symbol: String) throws -> TemplateToken { try expect(.symbol(symbol), symbol) }

    mutating func expect(name: String) throws {
        guard skip(name: name) else { throw fault("expected token '\(name)', got '\(current.description)'") }
    }

    func fault(_ message: String, line: Int? = nil) -> Fault { Fault(line: line ?? current.line, message: message) }

    /// Runs `body` one level deeper.
    mutating func nested<T>(_ body: (inout Self) throws -> T) throws -> T {
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.syntaxDepth else {
            throw Fault(line: current.line, message: "nested deeper than \(limits.syntaxDepth) levels", kind: .limit)
        }
        return try body(&self)
    }

    func make(
        _ node: TemplateExpression.Node, line: Int, _ children: TemplateExpression?...
    ) throws -> TemplateExpression {
        try make(node, line: line, children: children.compactMap { $0 })
    }

    func make(
        _ node: TemplateExpression.Node, line: Int, children: [TemplateExpression]
    ) throws -> TemplateExpression {
        var depth = 1
        for child in children { depth = max(depth, child.depth + 1) }
        guard depth <= limits.expressionDepth else {
            throw Fault(line: line, message: "an expression nested deeper than \(limits.expressionDepth)", kind: .limit)
        }
        return TemplateExpression(node: node, line: line, depth: depth)
    }

    // MARK: names

    mutating func id(_ name: String) -> Int {
        if let id = ids[name] { return id }
        ids[name] = names.count
        names.append(name)
        return names.count - 1
    }

    mutating func read(_ id: Int) {
        guard id > TemplateProgram.loop, id < TemplateProgram.reserved.count else { return }
        for at in macroUses.indices where !macroUses[at].hidden.contains(id) { macroUses[at].read.insert(id) }
    }

    private mutating func store(_ id: Int, line: Int) throws {
        if id == TemplateProgram.loop, enclosingLoops > 0 {
            throw fault("Can't assign to special loop variable in for-loop target", line: line)
        }
        hide(id)
    }

    private mutating func hide(_ id: Int) {
        guard id > TemplateProgram.loop, id < TemplateProgram.reserved.count else { return }
        for at in macroUses.indices { macroUses[at].hidden.insert(id) }
    }

    /// Undoes reads noted while a target was parsed as an expression.
    private mutating func withoutReads<T>(_ body: (inout Self) throws -> T) rethrows -> T {
        let saved = macroUses
        let result = try body(&self)
        macroUses = saved
        return result
    }

    mutating func filter(named name: String, line: Int) -> TemplateExpression.FilterName {
        if let filter = TemplateFilter(rawValue: name) { return .known(filter) }
        if !isSoft { unknownNames.append((line, "No filter named \(PythonText.quoted(name)).")) }
        return .unknown(name)
    }

    mutating func test(named name: String, line: Int) -> TemplateExpression.TestName {
        if let test = TemplateTest(rawValue: name) { return .known(test) }
        if !isSoft { unknownNames.append((line, "No test named \(PythonText.quoted(name)).")) }
        return .unknown(name)
    }

    /// How many unknown filters and tests were met; those met since then turn out to be conditional.
    var unknownMark: Int { unknownNames.count }

    mutating func forgiveUnknown(since mark: Int) { unknownNames.removeSubrange(mark...) }

    /// Parses a body that jinja2 compiles into a frame of its own, where unknown filters are errors again.
    private mutating func inFrame<T>(soft: Bool = false, _ body: (inout Self) throws -> T) rethrows -> T {
        let saved = isSoft
        isSoft = soft
        defer { isSoft = saved }
        return try body(&self)
    }

    // MARK: statements

    /// Parses up to a tag in `ends`, which becomes the current token, or up to the end of the template.
    private mutating func parseBody(until ends: [String]) throws -> [TemplateStatement] {
        var body: [TemplateStatement] = []
        while true {
            let token = current
            switch token.kind {
            case .data:
                body.append(TemplateStatement(node: .text(token.text), line: token.line))
                next()
            case .variableBegin:
                next()
                let value = try parseTuple()
                body.append(TemplateStatement(node: .output(value), line: token.line))
                try expect(.variableEnd, "end of print statement")
            case .blockBegin:
                next()
                if current.kind == .name, ends.contains(current.text) { return body }
                let line = current.line
                for node in try nested({ try $0.parseStatement(ends) }) {
                    body.append(TemplateStatement(node: node, line: line))
                }
                try expect(.blockEnd, "end of statement block")
            default:
                if !ends.isEmpty { throw endOfTemplate(ends) }
                return body
            }
        }
    }

    private func endOfTemplate(_ ends: [String]) -> Fault {
        let wanted = ends.map { "'\($0)'" }.joined(separator: " or ")
        let innermost = openTags.last.map { " The innermost block that needs to be closed is '\($0)'." } ?? ""
        return fault("Unexpected end of template. Jinja was looking for the following tags: \(wanted).\(innermost)")
    }

    /// Parses a tag's body after the rest of the tag; the end tag's name is current afterwards.
    private mutating func parseStatements(until ends: [String]) throws -> [TemplateStatement] {
        _ = skip(symbol: ":")
        try expect(.blockEnd, "end of statement block")
        return try parseBody(until: ends)
    }

    private mutating func parseStatements(through end: String) throws -> [TemplateStatement] {
        let body = try parseStatements(until: [end])
        next()
        return body
    }

    private mutating func parseStatement(_ ends: [String]) throws -> [TemplateStatement.Node] {
        let token = current
        guard token.kind == .name else { throw fault("tag name expected") }
        openTags.append(token.text)
        defer { openTags.removeLast() }
        next()
        switch token.text {
        case "for": return [try parseFor()]
        case "if": return [try parseIf()]
        case "set": return [try parseSet()]
        case "macro": return [try parseMacro(line: token.line)]
        case "call": return [try parseCallBlock(line: token.line)]
        case "filter": return [try parseFilterBlock()]
        case "with": return [try parseWith()]
        case "generation": return [.generation(try inFunction { try $0.parseStatements(through: "endgeneration") })]
        case "break", "continue":
            guard loopDepth > 0 else { throw fault("'\(token.text)' outside loop", line: token.line) }
            return [token.text == "break" ? .breakLoop : .continueLoop]
        case "print": return try parsePrint()
        case "block": return [try parseBlock()]
        case "autoescape": return [try parseAutoescape()]
        case "include", "import", "from", "extends":
            while current.kind != .blockEnd, current.kind != .end { next() }
            return [.unsupported("{% \(token.text) %} needs other templates, and a chat template stands alone")]
        default:
            openTags.removeLast()
            defer { openTags.append(token.text) }
            var message = "Encountered unknown tag '\(token.text)'."
            if !ends.isEmpty {
                message += " Jinja was looking for the following tags: \(ends.map { "'\($0)'" }.joined(separator: " or "))."
            }
            if let innermost = openTags.last {
                message += " The innermost block that needs to be closed is '\(innermost)'."
            }
            throw fault(message, line: token.line)
        }
    }

    private mutating func parseFor() throws -> TemplateStatement.Node {
        enclosingLoops += 1
        defer { enclosingLoops -= 1 }
        let target = try parseTarget()
        try expect(name: "in")
        let sequence = try parseTuple(withConditional: false)
        let condition = try skip(name: "if") ? inFrame { try $0.parseExpression() } : nil
        let isRecursive = skip(name: "recursive")
        let savedDepth = loopDepth
        defer { loopDepth = savedDepth }
        loopDepth = (isRecursive ? 0 : savedDepth) + 1
        let body = try inFrame { try $0.parseStatements(until: ["endfor", "else"]) }
        loopDepth -= 1
        let otherwise = next().text == "endfor" ? [] : try inFrame { try $0.parseStatements(through: "endfor") }
        return .loop(
            TemplateLoop(
                target: target, sequence: sequence, condition: condition, isRecursive: isRecursive, body: body,
                otherwise: otherwise))
    }

    private mutating func parseIf() throws -> TemplateStatement.Node {
        try inFrame(soft: true) { parser in
            var branches: [(condition: TemplateExpression, body: [TemplateStatement])] = []
            while true {
                let condition = try parser.parseTuple(withConditional: false)
                branches.append((condition, try parser.parseStatements(until: ["elif", "else", "endif"])))
                let token = parser.next()
                if token.text == "elif" { continue }
                let otherwise = token.text == "else" ? try parser.parseStatements(through: "endif") : []
                return .conditional(branches, otherwise: otherwise)
            }
        }
    }

    private mutating func parseSet() throws -> TemplateStatement.Node {
        let target = try parseTarget(withNamespace: true)
        if skip(symbol: "=") { return .assign(target, try parseTuple()) }
        return try inFrame { parser in
            let filter = try parser.parseFilters(nil)
            return .assignBlock(target, filter: filter, body: try parser.parseStatements(through: "endset"))
        }
    }

    private mutating func parseWith() throws -> TemplateStatement.Node {
        var bindings: [(target: TemplateTarget, value: TemplateExpression)] = []
        while current.kind != .blockEnd, current.kind != .end {
            if !bindings.isEmpty { try expect(symbol: ",") }
            let target = try parseTarget(isParameter: true)
            try expect(symbol: "=")
            bindings.append((target, try parseExpression()))
        }
        return .with(bindings, body: try inFrame { try $0.parseStatements(through: "endwith") })
    }

    private mutating func parseFilterBlock() throws -> TemplateStatement.Node {
        try inFrame { parser in
            guard let filter = try parser.parseFilters(nil, startsWithName: true) else {
                throw parser.fault("expected a filter")
            }
            return .filterBlock(filter, body: try parser.parseStatements(through: "endfilter"))
        }
    }

    private mutating func parsePrint() throws -> [TemplateStatement.Node] {
        var nodes: [TemplateStatement.Node] = []
        while current.kind != .blockEnd, current.kind != .end {
            if !nodes.isEmpty { try expect(symbol: ",") }
            nodes.append(.output(try parseExpression()))
        }
        return nodes
    }

    private mutating func parseBlock() throws -> TemplateStatement.Node {
        let name = try expect(.name, "name").text
        _ = skip(name: "scoped")
        let isRequired = skip(name: "required")
        let body = try inFunction { try $0.parseStatements(through: "endblock") }
        _ = skip(name: name)
        return isRequired ? .unsupported("required blocks") : .block(body)
    }

    private mutating func parseAutoescape() throws -> TemplateStatement.Node {
        let value = try parseExpression()
        let body = try inFrame { try $0.parseStatements(through: "endautoescape") }
        if case .literal(.bool(false)) = value.node { return .with([], body: body) }
        return .unsupported("{% autoescape %}")
    }

    /// Parses what jinja2 compiles into a function: no `break` reaches out of it.
    private mutating func inFunction<T>(_ body: (inout Self) throws -> T) rethrows -> T {
        let saved = loopDepth
        loopDepth = 0
        defer { loopDepth = saved }
        return try inFrame(body)
    }

    // MARK: macros

    private mutating func parseMacro(line: Int) throws -> TemplateStatement.Node {
        let name = try expect(.name, "name").text
        guard !Self.constants.contains(name) else { throw fault("can't assign to 'const'", line: line) }
        return .macro(id(name), try parseMacroBody(name: name, end: "endmacro", line: line) { try $0.parseSignature() })
    }

    private mutating func parseCallBlock(line: Int) throws -> TemplateStatement.Node {
        var call: TemplateExpression?
        let macro = try parseMacroBody(name: "", end: "endcall", line: line) { parser in
            let signature = parser.isSymbol("(") ? try parser.parseSignature() : ([], [])
            let expression = try parser.parseExpression()
            guard case .call = expression.node else { throw parser.fault("expected call", line: line) }
            call = expression
            return signature
        }
        guard let call else { throw fault("expected call", line: line) }
        return .callBlock(call: call, macro)
    }

    private typealias Signature = (parameters: [(name: String, id: Int)], defaults: [TemplateExpression])

    private mutating func parseSignature() throws -> Signature {
        var parameters: [(name: String, id: Int)] = []
        var defaults: [TemplateExpression] = []
        try expect(symbol: "(")
        while !isSymbol(")") {
            if !parameters.isEmpty { try expect(symbol: ",") }
            let name = try expect(.name, "name").text
            guard !Self.constants.contains(name) else { throw fault("can't assign to 'const'") }
            guard !parameters.contains(where: { $0.name.hasSameScalars(as: name) }) else {
                throw fault("duplicate argument '\(name)' in a macro's definition")
            }
            if skip(symbol: "=") {
                defaults.append(try parseExpression())
            } else if !defaults.isEmpty {
                throw fault("non-default argument follows default argument")
            }
            parameters.append((name, id(name)))
        }
        try expect(symbol: ")")
        return (parameters, defaults)
    }

    private mutating func parseMacroBody(
        name: String, end: String, line: Int, signature: (inout Self) throws -> Signature
    ) throws -> TemplateMacro {
        let (parameters, defaults) = try inFrame(signature)
        macroUses.append(MacroUses())
        let body = try inFunction { try $0.parseStatements(through: end) }
        let uses = macroUses.removeLast()
        func isParameter(_ id: Int) -> Bool { parameters.contains { $0.id == id } }
        if uses.read.contains(TemplateProgram.caller),
            let at = parameters.firstIndex(where: { $0.id == TemplateProgram.caller }),
            at < parameters.count - defaults.count
        {
            throw fault(
                "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.",
                line: line)
        }
        return TemplateMacro(
            name: name, parameters: parameters, defaults: defaults, body: body,
            usesCaller: uses.read.contains(TemplateProgram.caller),
            usesKeywords: uses.read.contains(TemplateProgram.kwargs) && !isParameter(TemplateProgram.kwargs),
            usesVariadic: uses.read.contains(TemplateProgram.varargs) && !isParameter(TemplateProgram.varargs))
    }

    // MARK: targets

    static let constants: Set = ["true", "false", "none", "True", "False", "None"]

    /// Parses what is assigned to: a name, a tuple of names, or with `withNamespace` also `name.attribute`.
    private mutating func parseTarget(
        withNamespace: Bool = false, isParameter: Bool = false
    ) throws -> TemplateTarget {
        let line = current.line
        let expression = try withoutReads {
            try $0.parseTuple { try $0.parsePrimary(withNamespace: withNamespace) }
        }
        return try target(expression, line: line, isParameter: isParameter)
    }

    private mutating func target(
        _ expression: TemplateExpression, line: Int, isParameter: Bool
    ) throws -> TemplateTarget {
        switch expression.node {
        case .name(let id):
            if isParameter { hide(id) } else { try store(id, line: line) }
            return .name(id)
        case .namespaceMember(let id, let attribute):
            read(id)
            return .namespaceMember(id, attribute)
        case .tuple(let items):
            return .tuple(try items.map { try target($0, line: line, isParameter: isParameter) })
        default:
            throw fault("can't assign to \(expression.kindName)", line: line)
        }
    }
}

extension TemplateExpression {
    /// jinja2's name for the kind of node, in messages.
    fileprivate var kindName: String {
        switch node {
        case .literal: "'const'"
        case .list: "'list'"
        case .dict: "'dict'"
        default: "an expression"
        }
    }
}
