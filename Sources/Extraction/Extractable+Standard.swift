// Forms of the standard library's types.

extension String: Extractable, CountLimited, PatternLimited {
    /// The beginning of the text.
    public typealias Partial = String
    /// Any text.
    public static var schema: ExtractionSchema { .text }
}

extension Bool: Extractable {
    /// `true` or `false`.
    public static var schema: ExtractionSchema { .boolean }
}

// MARK: Numbers

extension RangeLimited where Self: FixedWidthInteger & Codable & Sendable {
    /// A whole number that the type can hold.
    public static var schema: ExtractionSchema { .integer(Int(clamping: Self.min)...Int(clamping: Self.max)) }
    /// The number as a 64-bit one.
    public static func number(_ bound: Self) -> ExtractionSchema.Number { .integer(Int(clamping: bound)) }
}

extension Int: RangeLimited {}
extension Int8: RangeLimited {}
extension Int16: RangeLimited {}
extension Int32: RangeLimited {}
extension Int64: RangeLimited {}
extension UInt: RangeLimited {}
extension UInt8: RangeLimited {}
extension UInt16: RangeLimited {}
extension UInt32: RangeLimited {}
extension UInt64: RangeLimited {}

extension Double: RangeLimited {
    /// Any number.
    public static var schema: ExtractionSchema { .number }
    /// The number itself.
    public static func number(_ bound: Double) -> ExtractionSchema.Number { .real(bound) }
}

extension Float: RangeLimited {
    /// Any number.
    public static var schema: ExtractionSchema { .number }
    /// The number as a double.
    public static func number(_ bound: Float) -> ExtractionSchema.Number { .real(Double(bound)) }
}

// MARK: Containers

extension Optional: Extractable where Wrapped: Extractable {
    /// What is known of the value, or nil.
    public typealias Partial = Wrapped.Partial?
    /// A value, or `null`.
    public static var schema: ExtractionSchema { .optional(Wrapped.schema) }
}

extension Optional: RangeLimited where Wrapped: RangeLimited {
    /// A bound as the schema keeps it.
    public static func number(_ bound: Wrapped.Bound) -> ExtractionSchema.Number { Wrapped.number(bound) }
}

extension Optional: CountLimited where Wrapped: CountLimited {}
extension Optional: PatternLimited where Wrapped: PatternLimited {}

extension Array: Extractable where Element: Extractable {
    /// The elements so far; the last may be incomplete.
    public typealias Partial = [Element.Partial]
    /// A list.
    public static var schema: ExtractionSchema { .list(of: Element.schema) }
}

extension Array: RangeLimited where Element: RangeLimited {
    /// A bound as the schema keeps it.
    public static func number(_ bound: Element.Bound) -> ExtractionSchema.Number { Element.number(bound) }
}

extension Array: CountLimited where Element: Extractable {}
extension Array: PatternLimited where Element: PatternLimited {}

extension Dictionary: Extractable where Key == String, Value: Extractable {
    /// The values so far; the last may be incomplete.
    public typealias Partial = [String: Value.Partial]
    /// Values under names that the model chooses.
    public static var schema: ExtractionSchema { .dictionary(of: Value.schema) }
}

extension Dictionary: RangeLimited where Key == String, Value: RangeLimited {
    /// A bound as the schema keeps it.
    public static func number(_ bound: Value.Bound) -> ExtractionSchema.Number { Value.number(bound) }
}

extension Dictionary: CountLimited where Key == String, Value: Extractable {}
extension Dictionary: PatternLimited where Key == String, Value: PatternLimited {}

// MARK: Enumerations

extension Extractable where Self: CaseIterable & RawRepresentable, RawValue == String {
    /// One of the raw values.
    public static var schema: ExtractionSchema { .choices(allCases.map(\.rawValue)) }
}

extension Extractable where Self: CaseIterable & RawRepresentable, RawValue == Int {
    /// One of the raw values.
    public static var schema: ExtractionSchema { .choices(allCases.map(\.rawValue)) }
}
