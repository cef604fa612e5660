import SwiftDiagnostics
public import SwiftSyntax
public import SwiftSyntaxMacros

/// `@Field`: writes nothing itself, `@Extractable` reads it. Reports where it stands for nothing.
public struct FieldMacro: PeerMacro {
    /// No declarations.
    public static func expansion(
        of node: AttributeSyntax, providingPeersOf declaration: some DeclSyntaxProtocol, in context: some MacroExpansionContext
    ) throws -> [DeclSyntax] {
        func misplaced(_ message: String) -> [DeclSyntax] {
            context.report(node, "misplaced", message, fix: "remove '@Field'", changes: [removal(of: node, from: declaration)])
            return []
        }
        guard let variable = declaration.as(VariableDeclSyntax.self) else {
            return misplaced("'@Field' describes a stored property")
        }
        guard let property = variable.bindings.first else { return [] }
        if variable.isTypeProperty { return misplaced("'@Field' describes a stored property, and this one belongs to the type") }
        if property.isComputed { return misplaced("'@Field' describes a stored property, and this one is computed") }
        if variable.isConstant, property.initializer != nil {
            return misplaced("'@Field' describes a property that is read, and this one has its value already")
        }
        let owner = context.lexicalContext.first?.asProtocol((any DeclGroupSyntax).self)
        guard let owner, owner.attributes.contains(where: { $0.as(AttributeSyntax.self)?.isNamed("Extractable") ?? false }) else {
            return misplaced("'@Field' means nothing outside of a structure with '@Extractable'")
        }
        return []
    }

    private static func removal(of node: AttributeSyntax, from declaration: some DeclSyntaxProtocol) -> FixIt.Change {
        guard var attributed = declaration.asProtocol((any WithAttributesSyntax).self) else {
            return .replace(node, by: TokenSyntax.identifier(""))
        }
        let leading = attributed.leadingTrivia
        attributed.attributes = attributed.attributes.filter {
            $0.as(AttributeSyntax.self)?.trimmedDescription != node.trimmedDescription
        }
        attributed.leadingTrivia = leading
        return .replace(oldNode: Syntax(declaration), newNode: Syntax(fromProtocol: attributed))
    }
}

extension VariableDeclSyntax {
    var isTypeProperty: Bool { modifiers.contains { $0.name.text == "static" || $0.name.text == "class" } }
    var isConstant: Bool { bindingSpecifier.tokenKind == .keyword(.let) }
}

extension PatternBindingSyntax {
    /// Whether the property has a getter, and no storage.
    var isComputed: Bool {
        switch accessorBlock?.accessors {
        case nil: false
        case .getter: true
        case .accessors(let list): !list.allSatisfy { ["willSet", "didSet"].contains($0.accessorSpecifier.text) }
        }
    }
}
