/// What the values of a member are held to; see ``ExtractionSchema/Property/property(_:_:_:_:)``.
///
/// A limit that makes no sense for a type, such as a range of texts, does not compile.
public struct ExtractionLimit<Value: Extractable>: Sendable {
    let apply: @Sendable (inout ExtractionSchema) -> Void
}

extension ExtractionLimit where Value: RangeLimited {
    /// Numbers between two, both included; of an array or dictionary, its elements.
    public static func range(_ range: ClosedRange<Value.Bound>) -> Self { limit(range.lowerBound, range.upperBound) }

    /// Numbers from one up.
    public static func range(_ range: PartialRangeFrom<Value.Bound>) -> Self { limit(range.lowerBound, nil) }

    /// Numbers up to one, itself included.
    public static func range(_ range: PartialRangeThrough<Value.Bound>) -> Self { limit(nil, range.upperBound) }

    private static func limit(_ lowest: Value.Bound?, _ highest: Value.Bound?) -> Self {
        let (lowest, highest) = (lowest.map(Value.number), highest.map(Value.number))
        return Self { schema in
            schema.limit(
                .init(lowest: lowest?.integer, highest: highest?.integer), .init(lowest: lowest?.real, highest: highest?.real))
        }
    }
}

extension ExtractionLimit where Value: CountLimited {
    /// How many characters (Unicode code points, as JSON Schema counts) or elements there are.
    public static func count(_ range: ClosedRange<Int>) -> Self { limit(range.lowerBound, range.upperBound) }

    /// At least so many characters or elements.
    public static func count(_ range: PartialRangeFrom<Int>) -> Self { limit(range.lowerBound, nil) }

    /// At most so many characters or elements.
    public static func count(_ range: PartialRangeThrough<Int>) -> Self { limit(nil, range.upperBound) }

    /// Exactly so many characters or elements.
    public static func count(_ count: Int) -> Self { limit(count, count) }

    private static func limit(_ lowest: Int?, _ highest: Int?) -> Self {
        Self { $0.limitCount(.init(lowest: lowest, highest: highest)) }
    }
}

extension ExtractionLimit where Value: PatternLimited {
    /// Texts that contain a match of a regular expression, as JSON Schema has it; anchor it with `^` and `$`. Of an array or
    /// dictionary, its elements.
    public static func pattern(_ pattern: String) -> Self { Self { $0.limit(pattern: pattern) } }
}

extension ExtractionSchema.Number {
    var integer: Int? {
        switch self {
        case .integer(let value): value
        case .real(let value): Int(exactly: value)
        }
    }

    /// Nil for a bound that is none, such as infinity.
    var real: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .real(let value): value.isFinite ? value : nil
        }
    }
}
