import SwiftSyntax
import SwiftSyntaxBuilder

/// What a property's type can be held to, as far as its spelling tells.
indirect enum ValueKind {
    case number
    case text
    /// A value that takes no limits: a boolean, a date.
    case other
    case list(ValueKind)
    case dictionary(ValueKind)
    case optional(ValueKind)
    /// A type that the macro cannot see into.
    case unknown
    /// A type that cannot be read, why, and one that can be instead.
    case unsupported(TypeSyntax, reason: String, instead: TypeSyntax?)

    private static let numbers: Set<String> = [
        "Int", "Int8", "Int16", "Int32", "Int64", "UInt", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Decimal",
    ]
    private static let others: Set<String> = ["Bool", "Date", "URL", "UUID"]
    private static let replacements = [
        "Character": "String", "Substring": "String", "CGFloat": "Double", "Float16": "Float", "Int128": "Int64",
        "UInt128": "UInt64",
        "NSString": "String", "NSNumber": "Double",
    ]

    init(_ type: TypeSyntax) {
        if let optional = type.as(OptionalTypeSyntax.self) {
            self = .optional(ValueKind(optional.wrappedType))
        } else if let array = type.as(ArrayTypeSyntax.self) {
            self = .list(ValueKind(array.element))
        } else if let dictionary = type.as(DictionaryTypeSyntax.self) {
            self = ValueKind.dictionary(type, dictionary.key, dictionary.value)
        } else if let tuple = type.as(TupleTypeSyntax.self), tuple.elements.count == 1, let only = tuple.elements.first {
            self = ValueKind(only.type)
        } else if type.is(TupleTypeSyntax.self) {
            self = .unsupported(type, reason: "a tuple has no schema; use a structure with @Extractable", instead: nil)
        } else if type.is(FunctionTypeSyntax.self) {
            self = .unsupported(type, reason: "a function cannot be read from an answer", instead: nil)
        } else if type.is(ImplicitlyUnwrappedOptionalTypeSyntax.self) {
            let wrapped = type.as(ImplicitlyUnwrappedOptionalTypeSyntax.self)?.wrappedType.trimmedDescription ?? ""
            self = .unsupported(type, reason: "a value that may be missing is an optional", instead: "\(raw: wrapped)?")
        } else if type.is(SomeOrAnyTypeSyntax.self) || type.trimmedDescription == "Any" {
            self = .unsupported(type, reason: "the schema needs a concrete type", instead: nil)
        } else if let member = type.as(MemberTypeSyntax.self) {
            let isStandard = ["Swift", "Foundation"].contains(member.baseType.trimmedDescription)
            self = isStandard ? ValueKind.named(type, member.name.text, member.genericArgumentClause) : .unknown
        } else if let identifier = type.as(IdentifierTypeSyntax.self) {
            self = ValueKind.named(type, identifier.name.text, identifier.genericArgumentClause)
        } else {
            self = .unknown
        }
    }

    private static func named(_ type: TypeSyntax, _ name: String, _ clause: GenericArgumentClauseSyntax?) -> ValueKind {
        let arguments = clause?.arguments.compactMap { $0.argument.as(TypeSyntax.self) } ?? []
        switch (name, arguments.count) {
        case ("Optional", 1): return .optional(ValueKind(arguments[0]))
        case ("Array", 1): return .list(ValueKind(arguments[0]))
        case ("Dictionary", 2): return dictionary(type, arguments[0], arguments[1])
        case ("Set", 1):
            return .unsupported(
                type, reason: "an answer may name an element twice, so a set cannot hold it; use an array",
                instead: "[\(raw: arguments[0].trimmedDescription)]")
        case ("Data", 0): return .unsupported(type, reason: "an answer is text, not bytes", instead: nil)
        case ("Void", 0), ("Never", 0): return .unsupported(type, reason: "it has no values to read", instead: nil)
        default: break
        }
        if name == "String" { return .text }
        if numbers.contains(name) { return .number }
        if others.contains(name) { return .other }
        if let replacement = replacements[name] {
            return .unsupported(type, reason: "it has no schema; use \(replacement)", instead: "\(raw: replacement)")
        }
        return .unknown
    }

    private static func dictionary(_ type: TypeSyntax, _ key: TypeSyntax, _ value: TypeSyntax) -> ValueKind {
        guard ["String", "Swift.String"].contains(key.trimmedDescription) else {
            return .unsupported(
                type, reason: "names in an answer are texts; use String as the key",
                instead: "[String: \(raw: value.trimmedDescription)]")
        }
        return .dictionary(ValueKind(value))
    }

    /// The unsupported type inside, if there is one.
    var fault: (type: TypeSyntax, reason: String, instead: TypeSyntax?)? {
        switch self {
        case .number, .text, .other, .unknown: nil
        case .list(let content), .dictionary(let content), .optional(let content): content.fault
        case .unsupported(let type, let reason, let instead): (type, reason, instead)
        }
    }

    /// What lists, dictionaries and optionals hold in the end.
    var content: ValueKind {
        switch self {
        case .list(let content), .dictionary(let content), .optional(let content): content.content
        default: self
        }
    }

    /// The kind without `nil`.
    var required: ValueKind { if case .optional(let wrapped) = self { wrapped.required } else { self } }
}

extension TypeSyntax {
    /// The type without its question marks.
    var required: TypeSyntax {
        if let optional = self.as(OptionalTypeSyntax.self) { return optional.wrappedType.required }
        if let name = self.as(IdentifierTypeSyntax.self), name.name.text == "Optional",
            let wrapped = name.genericArgumentClause?.arguments.first?.argument.as(TypeSyntax.self)
        {
            return wrapped.required
        }
        return self
    }
}
