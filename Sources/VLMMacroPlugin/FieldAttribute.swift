import SwiftDiagnostics
import SwiftSyntax
import SwiftSyntaxBuilder
import SwiftSyntaxMacros

/// A `@Field(…)`: what the model is told about a property, and what its values are held to.
struct FieldAttribute {
    let syntax: AttributeSyntax
    let arguments: [LabeledExprSyntax]

    init(_ syntax: AttributeSyntax) {
        self.syntax = syntax
        arguments = syntax.arguments?.as(LabeledExprListSyntax.self).map(Array.init) ?? []
    }

    /// The attributes `@Field` among some.
    static func all(in attributes: AttributeListSyntax) -> [FieldAttribute] {
        attributes.compactMap { $0.as(AttributeSyntax.self) }.filter { $0.isNamed("Field") }.map(FieldAttribute.init)
    }

    /// The description, unless it is missing or `nil`.
    var description: ExprSyntax? {
        arguments.first { $0.label == nil }.map(\.expression).flatMap { $0.is(NilLiteralExprSyntax.self) ? nil : $0.trimmed }
    }

    /// The limits, as arguments of `ExtractionSchema.Property.property`.
    var limits: [String] {
        arguments.compactMap { argument in argument.label.map { ".\($0.text)(\(argument.expression.trimmed))" } }
    }

    /// Reports limits that make no sense for the type of a property.
    func check(_ property: String, _ type: TypeSyntax, _ kind: ValueKind, in context: some MacroExpansionContext) {
        for argument in arguments {
            guard let label = argument.label else { continue }
            switch (label.text, kind.required, kind.content) {
            case ("range", _, .text):
                misfit(
                    argument, "a range limits numbers, and '\(property)' is \(type.trimmedDescription)", instead: "count", context
                )
            case ("range", _, .other):
                misfit(argument, "a range limits numbers, and '\(property)' is \(type.trimmedDescription)", instead: nil, context)
            case ("count", .number, _):
                misfit(
                    argument, "a count limits texts and lists, and '\(property)' is \(type.trimmedDescription)",
                    instead: argument.expression.isRange ? "range" : nil, context)
            case ("count", .other, _):
                misfit(
                    argument, "a count limits texts and lists, and '\(property)' is \(type.trimmedDescription)", instead: nil,
                    context)
            case ("pattern", _, .number), ("pattern", _, .other):
                misfit(argument, "a pattern limits texts, and '\(property)' is \(type.trimmedDescription)", instead: nil, context)
            default: checkBounds(argument, label.text, context)
            }
        }
    }

    private func misfit(
        _ argument: LabeledExprSyntax, _ message: String, instead label: String?, _ context: some MacroExpansionContext
    ) {
        guard let label, let old = argument.label else { return context.report(argument, "misfit", message) }
        context.report(
            argument, "misfit", message, fix: "use '\(label):'", changes: [.replace(old, by: TokenSyntax.identifier(label))])
    }

    /// Half-open and empty ranges, and counts below zero.
    private func checkBounds(_ argument: LabeledExprSyntax, _ label: String, _ context: some MacroExpansionContext) {
        if label == "count", let count = argument.expression.literalValue, count < 0 {
            context.report(argument.expression, "negativeCount", "a count cannot be negative")
        }
        guard let range = argument.expression.rangeParts else { return }
        if range.sign.text == "..<" {
            // The bound below is only known of a whole number.
            let last = range.upper?.literalText.flatMap(Int.init).map { ExprSyntax("\(raw: $0 - 1)") }
            var changes: [FixIt.Change] = [.replace(range.sign, by: range.sign.with(\.tokenKind, range.sign.closed))]
            if let upper = range.upper, let last { changes.append(.replace(upper, by: last)) }
            context.report(
                range.sign, "halfOpen", "limits are inclusive; a half-open range is none",
                fix: "use '...'" + (last.map { " and \($0)" } ?? ""), changes: changes)
        } else if let lower = range.lower?.literalValue, let upper = range.upper?.literalValue, lower > upper {
            context.report(argument.expression, "emptyRange", "no value is from \(range.lower ?? "") to \(range.upper ?? "")")
        } else if label == "count", let bound = (range.lower ?? range.upper)?.literalValue, bound < 0 {
            context.report(argument.expression, "negativeCount", "a count cannot be negative")
        }
    }
}

extension AttributeSyntax {
    /// Whether this is `@name` or `@VLMMacros.name`.
    func isNamed(_ name: String) -> Bool {
        attributeName.as(IdentifierTypeSyntax.self)?.name.text == name || attributeName.trimmedDescription == "VLMMacros.\(name)"
    }
}

extension TokenSyntax {
    /// `...` as the same sort of operator.
    fileprivate var closed: TokenKind {
        switch tokenKind {
        case .prefixOperator: .prefixOperator("...")
        case .postfixOperator: .postfixOperator("...")
        default: .binaryOperator("...")
        }
    }
}

extension ExprSyntax {
    fileprivate var isRange: Bool { rangeParts != nil }

    /// The parts of `a...b`, `a...` and `...b`, and of their half-open kin.
    fileprivate var rangeParts: (lower: ExprSyntax?, sign: TokenSyntax, upper: ExprSyntax?)? {
        let operators: Set<String> = ["...", "..<"]
        if let infix = self.as(InfixOperatorExprSyntax.self),
            let sign = infix.operator.as(BinaryOperatorExprSyntax.self)?.operator,
            operators.contains(sign.text)
        {
            return (infix.leftOperand, sign, infix.rightOperand)
        }
        if let sequence = self.as(SequenceExprSyntax.self) {
            let parts = Array(sequence.elements)
            guard parts.count == 3, let sign = parts[1].as(BinaryOperatorExprSyntax.self)?.operator, operators.contains(sign.text)
            else { return nil }
            return (parts[0], sign, parts[2])
        }
        if let postfix = self.as(PostfixOperatorExprSyntax.self), operators.contains(postfix.operator.text) {
            return (postfix.expression, postfix.operator, nil)
        }
        if let prefix = self.as(PrefixOperatorExprSyntax.self), operators.contains(prefix.operator.text) {
            return (nil, prefix.operator, prefix.expression)
        }
        return nil
    }

    /// The digits of a whole number.
    fileprivate var literalText: String? {
        self.as(IntegerLiteralExprSyntax.self)?.literal.text.filter { $0 != "_" }
    }

    /// The value of a number that is written out.
    fileprivate var literalValue: Double? {
        if let text = literalText { return Double(text) }
        if let real = self.as(FloatLiteralExprSyntax.self) { return Double(real.literal.text.filter { $0 != "_" }) }
        if let prefix = self.as(PrefixOperatorExprSyntax.self), prefix.operator.text == "-" {
            return prefix.expression.literalValue.map { -$0 }
        }
        return nil
    }
}
