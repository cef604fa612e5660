/// What every guidance is lowered to: rules over byte strings.
package indirect enum Expression: Sendable {
    /// No text at all.
    case never
    /// These bytes; none for the empty text.
    case bytes([UInt8])
    /// One scalar of the set, in UTF-8.
    case scalars(ScalarSet)
    case sequence([Expression])
    case choice([Expression])
    /// At least `min` times, at most `max` times or without end.
    case repeated(Expression, min: Int, max: Int?)
    /// The rule of that number.
    case rule(Int)
    /// The items in order with `separator` between those that are there, then any number (within `restCount`) of `rest`.
    case joined([Item], separator: Expression, rest: Expression?, restMin: Int, restMax: Int?)
    /// A deterministic automaton, from an intersection or a difference.
    case automaton(ByteAutomaton)

    /// An item of ``joined(_:separator:rest:restMin:restMax:)``.
    package struct Item: Sendable {
        package let expression: Expression
        package let isOptional: Bool
    }

    package static let empty = Expression.bytes([])

    package static func text(_ text: String) -> Expression { .bytes(Array(text.utf8)) }
    package static func optional(_ expression: Expression) -> Expression { .repeated(expression, min: 0, max: 1) }
    package static func many(_ expression: Expression) -> Expression { .repeated(expression, min: 0, max: nil) }
}

/// Rules with names for error messages; the first to hold is `root`.
package struct Grammar: Sendable {
    package struct Rule: Sendable {
        package let name: String
        package var expression: Expression
    }

    package private(set) var rules: [Rule] = []
    package var root = 0
    /// What the grammar was made from, as errors without a better place name it.
    package let origin: String

    package init(origin: String) { self.origin = origin }

    /// Adds a rule, to be defined at once or later.
    package mutating func addRule(_ name: String, _ expression: Expression = .never) -> Int {
        rules.append(Rule(name: name, expression: expression))
        return rules.count - 1
    }

    package mutating func define(_ rule: Int, _ expression: Expression) { rules[rule].expression = expression }
}

/// A deterministic automaton over bytes; state 0 begins.
package struct ByteAutomaton: Sendable {
    package struct Edge: Sendable {
        package let bytes: ClosedRange<UInt8>
        package let target: Int
    }

    package var edges: [[Edge]]
    package var accepts: [Bool]
}
