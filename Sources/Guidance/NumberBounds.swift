/// A decimal number as its digits, to compare and to bound spellings exactly.
struct DecimalNumber: Sendable, Equatable {
    let isNegative: Bool
    /// Without leading zeros; empty for 0.
    let whole: [UInt8]
    /// Without trailing zeros.
    let fraction: [UInt8]

    var isZero: Bool { whole.isEmpty && fraction.isEmpty }

    /// The number that a plain or scientific spelling names; nil where it is none, or longer than 400 digits.
    init?(_ text: String) {
        var rest = Array(text.utf8)[...]
        let negative = rest.first == UInt8(ascii: "-")
        if negative { rest = rest.dropFirst() }
        var exponent = 0
        if let mark = rest.firstIndex(where: { $0 | 0x20 == UInt8(ascii: "e") }) {
            guard let value = Int(String(decoding: rest[(mark + 1)...], as: UTF8.self)), abs(value) <= 400 else { return nil }
            exponent = value
            rest = rest[..<mark]
        }
        let parts = rest.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, !first.isEmpty else { return nil }
        var whole = first.map { $0 &- 0x30 }
        var fraction = parts.count > 1 ? parts[1].map { $0 &- 0x30 } : []
        guard (whole + fraction).allSatisfy({ $0 < 10 }), whole.count + fraction.count <= 400 else { return nil }
        while exponent > 0 {
            whole.append(fraction.isEmpty ? 0 : fraction.removeFirst())
            exponent -= 1
        }
        while exponent < 0 {
            fraction.insert(whole.popLast() ?? 0, at: 0)
            exponent += 1
        }
        self.whole = Array(whole.drop { $0 == 0 })
        while fraction.last == 0 { fraction.removeLast() }
        self.fraction = fraction
        isNegative = negative && !(self.whole.isEmpty && fraction.isEmpty)
    }

    /// Whether the magnitude is below another's.
    private func isSmaller(than other: DecimalNumber) -> Bool {
        if whole.count != other.whole.count { return whole.count < other.whole.count }
        return (whole + fraction).lexicographicallyPrecedes(other.whole + other.fraction)
    }

    static func < (a: DecimalNumber, b: DecimalNumber) -> Bool {
        if a.isNegative != b.isNegative { return a.isNegative }
        return a.isNegative ? b.isSmaller(than: a) : a.isSmaller(than: b)
    }
}

/// A side of a range of numbers.
struct NumberBound {
    let value: DecimalNumber
    let isExclusive: Bool
}

/// Expressions of the numbers within bounds, exact to the last digit.
///
/// Bounded numbers are written without exponent. A comparison with a bound is a comparison of digits from the left, which an automaton
/// does with one state for each digit of the bound.
enum BoundedNumbers {
    /// Numbers `≥` (or `>`) the bound.
    static func above(_ bound: NumberBound, isInteger: Bool) -> Expression {
        let magnitude = bound.value
        if !magnitude.isNegative {
            // Negative numbers are below, except that -0 is 0.
            let sign: [Expression] = magnitude.isZero && !bound.isExclusive ? [minus(zero(isInteger))] : []
            return .choice([atLeast(magnitude, isExclusive: bound.isExclusive, isInteger: isInteger)] + sign)
        }
        return .choice([any(isInteger), minus(atMost(magnitude, isExclusive: bound.isExclusive, isInteger: isInteger))])
    }

    /// Numbers `≤` (or `<`) the bound.
    static func below(_ bound: NumberBound, isInteger: Bool) -> Expression {
        let magnitude = bound.value
        if magnitude.isNegative { return minus(atLeast(magnitude, isExclusive: bound.isExclusive, isInteger: isInteger)) }
        if magnitude.isZero, bound.isExclusive {
            return minus(atLeast(magnitude, isExclusive: true, isInteger: isInteger))
        }
        return .choice([atMost(magnitude, isExclusive: bound.isExclusive, isInteger: isInteger), minus(any(isInteger))])
    }

    private static func minus(_ expression: Expression) -> Expression { .sequence([.text("-"), expression]) }

    private static let digit = Expression.scalars(.digits)
    private static let someDigits = Expression.repeated(digit, min: 1, max: nil)
    private static func zeros(min: Int) -> Expression { .repeated(.text("0"), min: min, max: nil) }

    private static func digits(_ range: ClosedRange<UInt8>) -> Expression {
        .scalars(ScalarSet([UInt32(range.lowerBound) + 0x30...UInt32(range.upperBound) + 0x30]))
    }

    private static func digit(_ value: UInt8) -> Expression { digits(value...value) }

    /// Any number without sign.
    private static func any(_ isInteger: Bool) -> Expression { withFraction(whole, isInteger) }

    private static let whole = Expression.choice([.text("0"), .sequence([digits(1...9), .many(digit)])])

    private static func withFraction(_ whole: Expression, _ isInteger: Bool) -> Expression {
        isInteger ? whole : .sequence([whole, .optional(.sequence([.text("."), someDigits]))])
    }

    private static func zero(_ isInteger: Bool) -> Expression {
        isInteger ? .never : .sequence([.text("0"), .optional(.sequence([.text("."), zeros(min: 1)]))])
    }

    private static func spelled(_ whole: [UInt8]) -> Expression {
        whole.isEmpty ? .text("0") : .sequence(whole.map { digit($0) })
    }

    /// Magnitudes `≥` (`>`) that of the bound.
    private static func atLeast(_ bound: DecimalNumber, isExclusive: Bool, isInteger: Bool) -> Expression {
        let wholes = bound.whole
        var larger: [Expression] = []
        if wholes.isEmpty {
            larger.append(.sequence([digits(1...9), .many(digit)]))
        } else {
            larger.append(.sequence([digits(1...9), .repeated(digit, min: wholes.count, max: nil)]))
            for (place, value) in wholes.enumerated() where value < 9 {
                larger.append(
                    .sequence(
                        wholes[..<place].map { digit($0) }
                            + [
                                digits(value + 1...9),
                                .repeated(digit, min: wholes.count - place - 1, max: wholes.count - place - 1),
                            ]))
            }
        }
        let above = withFraction(.choice(larger), isInteger)
        if isInteger {
            return isExclusive || !bound.fraction.isEmpty ? above : .choice([above, spelled(wholes)])
        }
        return .choice([above, .sequence([spelled(wholes), fractionAtLeast(bound.fraction, isExclusive: isExclusive)])])
    }

    /// Magnitudes `≤` (`<`) that of the bound.
    private static func atMost(_ bound: DecimalNumber, isExclusive: Bool, isInteger: Bool) -> Expression {
        let wholes = bound.whole
        var smaller: [Expression] = []
        if !wholes.isEmpty {
            smaller.append(.text("0"))
            if wholes.count > 1 { smaller.append(.sequence([digits(1...9), .repeated(digit, min: 0, max: wholes.count - 2)])) }
            for (place, value) in wholes.enumerated() where value > (place == 0 ? 1 : 0) {
                smaller.append(
                    .sequence(
                        wholes[..<place].map { digit($0) } + [
                            digits((place == 0 ? 1 : 0)...value - 1),
                            .repeated(digit, min: wholes.count - place - 1, max: wholes.count - place - 1),
                        ]))
            }
        }
        let below = withFraction(.choice(smaller), isInteger)
        if isInteger {
            return isExclusive && bound.fraction.isEmpty ? below : .choice([below, spelled(wholes)])
        }
        return .choice([below, .sequence([spelled(wholes), fractionAtMost(bound.fraction, isExclusive: isExclusive)])])
    }

    /// Nothing or a point and digits, together `≥` (`>`) the digits.
    private static func fractionAtLeast(_ fraction: [UInt8], isExclusive: Bool) -> Expression {
        let any = Expression.sequence([.text("."), someDigits])
        let anyPositive = Expression.sequence([zeros(min: 0), digits(1...9), .many(digit)])
        if fraction.isEmpty { return isExclusive ? .sequence([.text("."), anyPositive]) : .optional(any) }
        var ways: [Expression] = []
        for (place, value) in fraction.enumerated() where value < 9 {
            ways.append(.sequence(fraction[..<place].map { digit($0) } + [digits(value + 1...9), .many(digit)]))
        }
        ways.append(.sequence(fraction.map { digit($0) } + [isExclusive ? anyPositive : .many(digit)]))
        return .sequence([.text("."), .choice(ways)])
    }

    /// Nothing or a point and digits, together `≤` (`<`) the digits.
    private static func fractionAtMost(_ fraction: [UInt8], isExclusive: Bool) -> Expression {
        if fraction.isEmpty {
            return isExclusive ? .never : .optional(.sequence([.text("."), zeros(min: 1)]))
        }
        var ways: [Expression] = []
        for (place, value) in fraction.enumerated() {
            // Ending before the last digit is less, too.
            if place > 0 { ways.append(.sequence(fraction[..<place].map { digit($0) })) }
            if value > 0 {
                ways.append(.sequence(fraction[..<place].map { digit($0) } + [digits(0...value - 1), .many(digit)]))
            }
        }
        if !isExclusive { ways.append(.sequence(fraction.map { digit($0) } + [zeros(min: 0)])) }
        return .optional(.sequence([.text("."), .choice(ways)]))
    }
}
