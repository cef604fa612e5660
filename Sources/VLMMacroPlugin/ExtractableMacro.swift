import SwiftDiagnostics
public import SwiftSyntax
import SwiftSyntaxBuilder
public import SwiftSyntaxMacros

/// `@Extractable`: conforms a structure or an enumeration to `Extractable`.
///
/// `schema` and `Partial` are members, since an extension of a nested type would not see that type's neighbours; the conformance is an
/// extension. Faults are reported once, for the members.
public struct ExtractableMacro {}

extension ExtractableMacro: MemberMacro {
    /// `schema` and, for a structure, `Partial`; nothing when the type is at fault.
    public static func expansion(
        of node: AttributeSyntax, providingMembersOf declaration: some DeclGroupSyntax, conformingTo protocols: [TypeSyntax],
        in context: some MacroExpansionContext
    ) throws -> [DeclSyntax] {
        if let structure = declaration.as(StructDeclSyntax.self) {
            return structureMembers(structure, FieldAttribute(node).description, context)
        }
        if let enumeration = declaration.as(EnumDeclSyntax.self) {
            return enumerationMembers(enumeration, FieldAttribute(node).description, context)
        }
        reportWrongKind(declaration, node, context)
        return []
    }
}

extension ExtractableMacro: ExtensionMacro {
    /// The conformance, unless the type is of a wrong kind or declares it.
    public static func expansion(
        of node: AttributeSyntax, attachedTo declaration: some DeclGroupSyntax,
        providingExtensionsOf type: some TypeSyntaxProtocol,
        conformingTo protocols: [TypeSyntax], in context: some MacroExpansionContext
    ) throws -> [ExtensionDeclSyntax] {
        guard !protocols.isEmpty, declaration.is(StructDeclSyntax.self) || declaration.is(EnumDeclSyntax.self) else { return [] }
        let conformance = protocols.map(\.trimmedDescription).joined(separator: ", ")
        return [try ExtensionDeclSyntax("extension \(raw: type.trimmedDescription): \(raw: conformance) {}")]
    }
}

extension ExtractableMacro {
    // MARK: Structures

    private static func structureMembers(
        _ structure: StructDeclSyntax, _ description: ExprSyntax?, _ context: some MacroExpansionContext
    ) -> [DeclSyntax] {
        let reporter = CountingContext(context)
        let fields = StoredField.all(of: structure, in: reporter)
        guard reporter.count == 0 else { return [] }
        guard !fields.isEmpty else {
            context.report(structure.name, "empty", "'\(structure.name.plain)' has no stored properties to read")
            return []
        }
        let access = accessModifier(structure.modifiers, context)
        var members: [DeclSyntax] = []
        if !structure.declares("Partial") { members.append(partial(fields, access)) }
        if !structure.declares("schema") {
            let properties = fields.map { field in
                let arguments = [field.key, metatype(field.type), field.attribute?.description?.description].compactMap { $0 }
                return ".property(" + (arguments + (field.attribute?.limits ?? [])).joined(separator: ", ") + ")"
            }
            members.append(
                """
                \(raw: access)static var schema: ExtractionSchema {
                .object(Self.self, \(raw: description?.description ?? "nil"), [
                \(raw: properties.joined(separator: ",\n"))
                ])
                }
                """)
        }
        return members
    }

    private static func partial(_ fields: [StoredField], _ access: String) -> DeclSyntax {
        let variables = fields.map { "\($0.access)var \($0.name): \($0.type.required.parenthesized).Partial?" }
        let renamed = fields.contains { $0.key != "\"\($0.name.plain)\"" }
        let cases = fields.map { "case \($0.name) = \($0.key)" }.joined(separator: "\n")
        let keys = renamed ? "\n\nprivate enum CodingKeys: String, CodingKey {\n\(cases)\n}" : ""
        return """
            \(raw: access)struct Partial: Decodable, Sendable {
            \(raw: variables.joined(separator: "\n"))

            \(raw: access)init() {}\(raw: keys)
            }
            """
    }

    private static func metatype(_ type: TypeSyntax) -> String { "\(type.parenthesized).self" }

    // MARK: Enumerations

    private static func enumerationMembers(
        _ enumeration: EnumDeclSyntax, _ description: ExprSyntax?, _ context: some MacroExpansionContext
    ) -> [DeclSyntax] {
        let elements = enumeration.elements
        let name = enumeration.name.plain
        if let element = elements.first(where: { $0.parameterClause != nil }) {
            context.report(
                element, "associatedValues",
                "'\(element.name.plain)' holds values, and an answer is one of a list of constants; "
                    + "use a structure with optional properties")
            return []
        }
        guard !elements.isEmpty else {
            context.report(enumeration.name, "empty", "'\(name)' has no cases to choose from")
            return []
        }
        let inherited = enumeration.inheritanceClause?.inheritedTypes.map(\.type.trimmedDescription) ?? []
        guard inherited.contains(where: { ["String", "Int", "Swift.String", "Swift.Int"].contains($0) }) else {
            reportRawType(enumeration, context)
            return []
        }
        guard !enumeration.declares("schema") else { return [] }
        let values = elements.map { "Self.\($0.name.trimmed).rawValue" }.joined(separator: ", ")
        let arguments = ["[\(values)]", description?.description].compactMap { $0 }.joined(separator: ", ")
        return [
            """
            \(raw: accessModifier(enumeration.modifiers, context))static var schema: ExtractionSchema {
            .choices(\(raw: arguments))
            }
            """
        ]
    }

    private static func reportRawType(_ enumeration: EnumDeclSyntax, _ context: some MacroExpansionContext) {
        var fixed = enumeration
        let text = InheritedTypeSyntax(type: TypeSyntax("String"))
        if let clause = enumeration.inheritanceClause, let first = clause.inheritedTypes.first {
            let raws = [
                "Double", "Float", "Character", "Int8", "Int16", "Int32", "Int64", "UInt", "UInt8", "UInt16", "UInt32", "UInt64",
            ]
            guard !raws.contains(first.type.trimmedDescription) else {
                return context.report(
                    first, "rawType", "raw values of '\(enumeration.name.plain)' must be String or Int",
                    fix: "use 'String'", changes: [.replace(first.type, by: TypeSyntax("String"))])
            }
            var types = [text.with(\.trailingComma, .commaToken(trailingTrivia: .space))]
            types += clause.inheritedTypes
            fixed.inheritanceClause?.inheritedTypes = InheritedTypeListSyntax(types)
        } else {
            fixed.name.trailingTrivia = []
            fixed.inheritanceClause = InheritanceClauseSyntax(
                colon: .colonToken(trailingTrivia: .space), inheritedTypes: [text.with(\.trailingTrivia, .space)])
        }
        context.report(
            enumeration.name, "rawType", "'\(enumeration.name.plain)' needs raw values, which are what the model writes",
            fix: "add ': String'", changes: [.replace(enumeration, by: fixed)])
    }

    // MARK: Others

    private static func reportWrongKind(
        _ declaration: some DeclGroupSyntax, _ node: AttributeSyntax, _ context: some MacroExpansionContext
    ) {
        let message = "'@Extractable' is for structures, and for enumerations with raw values"
        let keyword: TokenSyntax? =
            declaration.as(ClassDeclSyntax.self)?.classKeyword ?? declaration.as(ActorDeclSyntax.self)?.actorKeyword
        guard let keyword else { return context.report(node, "wrongKind", message) }
        context.report(
            keyword, "wrongKind", message + ", not for \(keyword.text == "actor" ? "an actor" : "a class")", fix: "use 'struct'",
            changes: [.replace(keyword, by: TokenSyntax.keyword(.struct))])
    }

    /// `public ` or `package ` for a type that others see, by its own word or that of the extension it stands in.
    private static func accessModifier(_ modifiers: DeclModifierListSyntax, _ context: some MacroExpansionContext) -> String {
        let outer = context.lexicalContext.first?.as(ExtensionDeclSyntax.self)?.modifiers
        let access = modifiers.access ?? outer?.access ?? ""
        return ["public ", "package "].contains(access) ? access : ""
    }
}

extension DeclModifierListSyntax {
    /// The access level with a space behind it, as in `public `; nil when none is written. That of a setter does not count.
    var access: String? {
        let levels: Set<String> = ["public", "package", "internal", "fileprivate", "private"]
        return first { levels.contains($0.name.text) && $0.detail == nil }.map { $0.name.text + " " }
    }
}

extension DeclGroupSyntax {
    /// Whether a type or a variable of this name stands in the type's own body.
    fileprivate func declares(_ name: String) -> Bool {
        memberBlock.members.contains { member in
            if let variable = member.decl.as(VariableDeclSyntax.self) {
                return variable.isTypeProperty && variable.bindings.contains { $0.pattern.trimmedDescription == name }
            }
            if let alias = member.decl.as(TypeAliasDeclSyntax.self) { return alias.name.text == name }
            return member.decl.asProtocol((any NamedDeclSyntax).self).map { $0.name.text == name } ?? false
        }
    }
}

extension TypeSyntax {
    /// The type so that a member can be named after it.
    fileprivate var parenthesized: String {
        switch kind {
        case .identifierType, .memberType, .arrayType, .dictionaryType, .optionalType, .tupleType: trimmedDescription
        default: "(\(trimmedDescription))"
        }
    }
}
