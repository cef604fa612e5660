import SwiftDiagnostics
import SwiftSyntax
import SwiftSyntaxBuilder
import SwiftSyntaxMacros

/// A stored property that becomes a field of the answer.
struct StoredField {
    /// The property as it is spelled, with backticks where it needs them.
    let name: TokenSyntax
    let type: TypeSyntax
    let attribute: FieldAttribute?
    /// The coding key as a literal.
    let key: String
    /// The property's own access level, as in `public `; empty when none is written.
    let access: String

    /// The fields of a structure; faults are reported and left out.
    static func all(of declaration: StructDeclSyntax, in context: some MacroExpansionContext) -> [StoredField] {
        let keys = CodingKeysReader.keys(of: declaration)
        var fields: [StoredField] = []
        for member in declaration.memberBlock.members {
            if let block = member.decl.as(IfConfigDeclSyntax.self), block.holdsProperties {
                context.report(
                    block, "conditional", "'@Extractable' does not see properties inside '#if'; put the whole structure inside")
            }
            guard let variable = member.decl.as(VariableDeclSyntax.self), !variable.isTypeProperty else { continue }
            if let modifier = variable.modifiers.first(where: { $0.name.text == "lazy" }) {
                context.report(modifier, "lazy", "a lazy property is computed, not read; make it a computed one")
                continue
            }
            fields += read(variable, keys, context)
        }
        return fields
    }

    private static func read(
        _ variable: VariableDeclSyntax, _ keys: [String: String]?, _ context: some MacroExpansionContext
    ) -> [StoredField] {
        let attributes = FieldAttribute.all(in: variable.attributes)
        for attribute in attributes.dropFirst() {
            let rest = variable.attributes.filter { $0.as(AttributeSyntax.self)?.id != attribute.syntax.id }
            context.report(
                attribute.syntax, "duplicate", "a property has one '@Field'; put everything about it into the first",
                fix: "remove this one", changes: [.replace(variable.attributes, by: rest)])
        }
        var fields: [StoredField] = []
        // In `let a, b: Int` the type stands behind the last name.
        var laterType: TypeSyntax?
        for binding in variable.bindings.reversed() where !binding.isComputed {
            let type = binding.typeAnnotation?.type ?? laterType
            if binding.initializer == nil { laterType = type } else { laterType = nil }
            if variable.isConstant, binding.initializer != nil { continue }
            guard let name = binding.pattern.as(IdentifierPatternSyntax.self)?.identifier else {
                context.report(binding.pattern, "pattern", "a field has one name; declare the properties one by one")
                continue
            }
            guard let key = keys.map({ $0[name.plain] }) ?? "\"\(name.plain)\"" else { continue }
            guard let type else {
                reportMissingType(name, binding, context)
                continue
            }
            let kind = ValueKind(type)
            if let fault = kind.fault {
                let message = "'\(fault.type.trimmedDescription)' cannot be read from an answer: \(fault.reason)"
                if let instead = fault.instead {
                    context.report(
                        fault.type, "unsupported", message, fix: "use '\(instead)'", changes: [.replace(fault.type, by: instead)])
                } else {
                    context.report(fault.type, "unsupported", message)
                }
                continue
            }
            attributes.first?.check(name.plain, type, kind, in: context)
            fields.append(
                StoredField(
                    name: name.trimmed, type: type.trimmed, attribute: attributes.first, key: key,
                    access: variable.modifiers.access ?? ""))
        }
        return fields.reversed()
    }

    private static func reportMissingType(
        _ name: TokenSyntax, _ binding: PatternBindingSyntax, _ context: some MacroExpansionContext
    ) {
        let guess = binding.initializer?.value.literalType
        let annotation = TypeAnnotationSyntax(
            colon: .colonToken(trailingTrivia: .space), type: TypeSyntax("\(raw: guess ?? "<#Type#>")"))
        var typed = binding
        typed.pattern = binding.pattern.with(\.trailingTrivia, [])
        typed.typeAnnotation = annotation.with(\.trailingTrivia, binding.pattern.trailingTrivia)
        context.report(
            name, "missingType", "'@Extractable' needs to see the type of '\(name.plain)'", fix: "write ': \(guess ?? "Type")'",
            changes: [.replace(binding, by: typed)])
    }
}

/// Reads the names that a structure gives its coding keys.
private enum CodingKeysReader {
    /// Literals by property; nil when the structure has no coding keys of its own.
    static func keys(of declaration: StructDeclSyntax) -> [String: String]? {
        let nested = declaration.memberBlock.members.lazy.compactMap { $0.decl.as(EnumDeclSyntax.self) }
        guard let coding = nested.first(where: { $0.name.text == "CodingKeys" }) else { return nil }
        var keys: [String: String] = [:]
        for element in coding.elements {
            keys[element.name.plain] = element.rawValue?.value.trimmedDescription ?? "\"\(element.name.plain)\""
        }
        return keys
    }
}

extension EnumDeclSyntax {
    /// The cases, in order.
    var elements: [EnumCaseElementSyntax] {
        memberBlock.members.compactMap { $0.decl.as(EnumCaseDeclSyntax.self) }.flatMap { Array($0.elements) }
    }
}

extension TokenSyntax {
    /// The name without backticks.
    var plain: String { text.filter { $0 != "`" } }
}

extension IfConfigDeclSyntax {
    fileprivate var holdsProperties: Bool {
        clauses.contains { clause in
            clause.elements?.as(MemberBlockItemListSyntax.self)?.contains { $0.decl.is(VariableDeclSyntax.self) } ?? false
        }
    }
}

extension ExprSyntax {
    /// The type a literal has by itself.
    fileprivate var literalType: String? {
        if self.is(StringLiteralExprSyntax.self) { return "String" }
        if self.is(BooleanLiteralExprSyntax.self) { return "Bool" }
        if self.is(IntegerLiteralExprSyntax.self) { return "Int" }
        if self.is(FloatLiteralExprSyntax.self) { return "Double" }
        guard let array = self.as(ArrayExprSyntax.self), let first = array.elements.first?.expression.literalType else {
            return nil
        }
        return "[\(first)]"
    }
}
