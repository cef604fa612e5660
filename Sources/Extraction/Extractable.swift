/// A type whose values can be read out of a model's answer with `pipeline.extract`.
///
/// Attach `@Extractable` of the module `VLMMacros` to a structure and the compiler writes both requirements:
///
///     import VLM
///     import VLMMacros
///
///     @Extractable("A shop's receipt")
///     struct Receipt {
///         @Field("Name of the shop") let shop: String
///         @Field("Total in euros", range: 0...1_000_000) let total: Double
///         let lines: [Line]
///     }
///
/// Texts, booleans, numbers, `Date`, `URL`, `UUID`, `Decimal`, optionals, arrays, dictionaries with `String` keys and enumerations with raw
/// values conform already; an enumeration needs no more than
///
///     enum Currency: String, CaseIterable, Extractable { case eur, usd }
///
/// Without the macro, conform by hand: a schema whose names are the coding keys, and no `Partial`.
public protocol Extractable: Codable, Sendable {
    /// What is known of a value while the model still writes it: for a structure with `@Extractable` a structure of the same members,
    /// each optional.
    ///
    /// It is the type itself unless said otherwise. Such a value is shown when it is whole.
    associatedtype Partial: Decodable & Sendable = Self

    /// The form that the model's answer is held to.
    static var schema: ExtractionSchema { get }
}

/// A type whose values a `range` can limit: numbers, and optionals, arrays and dictionaries of them.
public protocol RangeLimited: Extractable {
    /// The number that is limited.
    associatedtype Bound: Comparable & Sendable
    /// A bound as the schema keeps it.
    static func number(_ bound: Bound) -> ExtractionSchema.Number
}

/// A type whose values a `count` can limit: the characters of a text, the elements of an array or dictionary.
public protocol CountLimited: Extractable {}

/// A type whose values a `pattern` can limit: texts, and optionals, arrays and dictionaries of them.
public protocol PatternLimited: Extractable {}
