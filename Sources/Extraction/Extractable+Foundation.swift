public import Foundation

// Forms of Foundation's types. The patterns use nothing but what every engine of JSON Schema knows.

extension Date: Extractable {
    /// A day, or a point in time, in the form of ISO 8601. A day is its first moment in UTC; so is a time without a zone.
    public static var schema: ExtractionSchema {
        .text(named: "date like 2026-03-31", pattern: "^\(day)(T\(time)(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$")
    }

    private static var day: String {
        "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))"
    }

    private static var time: String { "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]" }
}

extension URL: Extractable {
    /// An absolute address of the web.
    public static var schema: ExtractionSchema {
        .text(named: "web address", pattern: "^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?$")
    }
}

extension UUID: Extractable {
    /// 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    public static var schema: ExtractionSchema {
        .text(named: "UUID", pattern: "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")
    }
}

extension Decimal: RangeLimited {
    /// Any number, read to about 15 digits.
    public static var schema: ExtractionSchema { .number }
    /// The nearest double.
    public static func number(_ bound: Decimal) -> ExtractionSchema.Number { .real(NSDecimalNumber(decimal: bound).doubleValue) }
}
