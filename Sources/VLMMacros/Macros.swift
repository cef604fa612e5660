@_exported public import Extraction

/// Makes a structure one that a model's answer can be read into.
///
/// Every stored property becomes a field of the answer, in order, under its coding key. The macro writes the conformance to
/// `Extractable`: the schema, and `Partial`, a structure of the same members, each optional.
///
///     @Extractable("A shop's receipt")
///     struct Receipt {
///         @Field("Name of the shop") let shop: String
///         @Field("Total in euros", range: 0...1_000_000) let total: Double
///         @Field(count: 1...20) let lines: [Line]
///         let paidInCash: Bool?
///     }
///
/// An optional property may be `null` in the answer. A computed property and a constant with a value are no fields.
///
/// An enumeration with texts or whole numbers as raw values is held to its cases:
///
///     @Extractable("How it was paid")
///     enum Payment: String { case cash, card }
///
/// - Parameter description: what the type is, for the model.
@attached(member, names: named(schema), named(Partial))
@attached(extension, conformances: Extractable)
public macro Extractable(_ description: String? = nil) =
    #externalMacro(module: "VLMMacroPlugin", type: "ExtractableMacro")

/// Tells the model what a property of an `@Extractable` structure means.
@attached(peer)
public macro Field(_ description: String) = #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")

/// Tells the model what a number means, and holds it to a range: `0...100`, `0...` or `...100`.
///
/// Of an array or dictionary, the range is that of its elements.
@attached(peer)
public macro Field<Range: RangeExpression>(_ description: String? = nil, range: Range) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")

/// Tells the model what a list of numbers means, and holds the numbers to a range and their count to another.
@attached(peer)
public macro Field<Range: RangeExpression, Count: RangeExpression>(_ description: String? = nil, range: Range, count: Count) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro") where Count.Bound == Int

/// Tells the model what a list of numbers means, and holds the numbers to a range and their count to a number.
@attached(peer)
public macro Field<Range: RangeExpression>(_ description: String? = nil, range: Range, count: Int) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")

/// Tells the model what a text or list means, and how many characters or elements it has: `1...20`, `1...` or `...20`.
@attached(peer)
public macro Field<Count: RangeExpression>(_ description: String? = nil, count: Count) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro") where Count.Bound == Int

/// Tells the model what a text or list means, and how many characters or elements it has.
@attached(peer)
public macro Field(_ description: String? = nil, count: Int) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")

/// Tells the model what a text means, and holds it to a regular expression, which it must contain a match of: anchor it with `^` and
/// `$`.
///
/// Of an array or dictionary, the pattern is that of its elements.
@attached(peer)
public macro Field(_ description: String? = nil, pattern: String) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")

/// Tells the model what a list of texts means, and holds the texts to a regular expression and their count to a range.
@attached(peer)
public macro Field<Count: RangeExpression>(_ description: String? = nil, pattern: String, count: Count) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro") where Count.Bound == Int

/// Tells the model what a list of texts means, and holds the texts to a regular expression and their count to a number.
@attached(peer)
public macro Field(_ description: String? = nil, pattern: String, count: Int) =
    #externalMacro(module: "VLMMacroPlugin", type: "FieldMacro")
