/// An expression of a template, with the line it began on.
struct TemplateExpression: Sendable {
    let node: Node
    let line: Int
    /// Height of the tree, bounded by the parser because evaluating and releasing a tree recurses.
    let depth: Int

    indirect enum Node: Sendable {
        case literal(TemplateLiteral)
        case name(Int)
        case list([TemplateExpression])
        case tuple([TemplateExpression])
        case dict([(key: TemplateExpression, value: TemplateExpression)])
        case attribute(TemplateExpression, String)
        case item(TemplateExpression, TemplateExpression)
        case slice(TemplateExpression, start: TemplateExpression?, stop: TemplateExpression?, step: TemplateExpression?)
        case call(TemplateExpression, TemplateArguments)
        /// The subject is nil in `{% filter %}` and `{% set x | f %}`, where it is the text of the block.
        case filter(TemplateExpression?, FilterName, TemplateArguments)
        case test(TemplateExpression, TestName, TemplateArguments)
        case not(TemplateExpression)
        case negative(TemplateExpression)
        case positive(TemplateExpression)
        case arithmetic(BinaryOperator, TemplateExpression, TemplateExpression)
        case and(TemplateExpression, TemplateExpression)
        case or(TemplateExpression, TemplateExpression)
        case concatenate([TemplateExpression])
        case compare(TemplateExpression, [(operation: ComparisonOperator, right: TemplateExpression)])
        case conditional(condition: TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
        /// `namespace.attribute` as the target of an assignment.
        case namespaceMember(Int, String)
    }

    /// A filter the engine has, or the name of one it has not, which fails when it is applied.
    enum FilterName: Sendable { case known(TemplateFilter), unknown(String) }
    enum TestName: Sendable { case known(TemplateTest), unknown(String) }
}

enum ComparisonOperator: String, Sendable {
    case equal = "==", notEqual = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case isIn = "in", isNotIn = "not in"
}

struct TemplateArguments: Sendable {
    var positional: [TemplateExpression] = []
    var keywords: [(name: String, value: TemplateExpression)] = []
    var variadic: TemplateExpression?
    var variadicKeywords: TemplateExpression?

    var isEmpty: Bool { positional.isEmpty && keywords.isEmpty && variadic == nil && variadicKeywords == nil }
    var expressions: [TemplateExpression] {
        positional + keywords.map(\.value) + [variadic, variadicKeywords].compactMap { $0 }
    }
}

/// What an assignment or a loop binds.
indirect enum TemplateTarget: Sendable {
    case name(Int)
    case namespaceMember(Int, String)
    case tuple([TemplateTarget])
}

struct TemplateMacro: Sendable {
    /// Empty for the body of a `{% call %}` block.
    let name: String
    let parameters: [(name: String, id: Int)]
    /// Defaults of the last parameters.
    let defaults: [TemplateExpression]
    let body: [TemplateStatement]
    let usesCaller: Bool
    let usesKeywords: Bool
    let usesVariadic: Bool
}

struct TemplateStatement: Sendable {
    let node: Node
    let line: Int

    indirect enum Node: Sendable {
        case text(String)
        case output(TemplateExpression)
        case conditional([(condition: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
        case loop(TemplateLoop)
        case assign(TemplateTarget, TemplateExpression)
        /// `{% set x %}...{% endset %}` with the filters written after the name.
        case assignBlock(TemplateTarget, filter: TemplateExpression?, body: [TemplateStatement])
        case macro(Int, TemplateMacro)
        case callBlock(call: TemplateExpression, TemplateMacro)
        case filterBlock(TemplateExpression, body: [TemplateStatement])
        case with([(target: TemplateTarget, value: TemplateExpression)], body: [TemplateStatement])
        /// `{% generation %}`: marks what the assistant wrote; its body has a scope of its own.
        case generation([TemplateStatement])
        case block([TemplateStatement])
        case breakLoop
        case continueLoop
        /// A statement that jinja2 compiles but that cannot run here.
        case unsupported(String)
    }
}

struct TemplateLoop: Sendable {
    let target: TemplateTarget
    let sequence: TemplateExpression
    let condition: TemplateExpression?
    let isRecursive: Bool
    let body: [TemplateStatement]
    let otherwise: [TemplateStatement]
}

/// A parsed template. Variable names are numbered, so that looking one up compares integers.
struct TemplateProgram: Sendable {
    let body: [TemplateStatement]
    let names: [String]

    /// Names with a meaning of their own have fixed numbers.
    static let reserved = ["loop", "caller", "kwargs", "varargs"]
    static let loop = 0, caller = 1, kwargs = 2, varargs = 3
}
