/// A set of Unicode scalars, as sorted ranges that neither touch nor overlap. Surrogates are never in it.
package struct ScalarSet: Sendable, Hashable {
    package private(set) var ranges: [ClosedRange<UInt32>]

    private static let last: UInt32 = 0x10_FFFF
    private static let surrogates: ClosedRange<UInt32> = 0xD800...0xDFFF

    package init() { ranges = [] }

    package init(_ ranges: some Sequence<ClosedRange<UInt32>>) {
        var kept: [ClosedRange<UInt32>] = []
        for range in ranges {
            // The hole of the surrogates is cut out here, so that no operation makes one.
            if range.lowerBound < Self.surrogates.lowerBound {
                kept.append(range.lowerBound...min(range.upperBound, Self.surrogates.lowerBound - 1))
            }
            if range.upperBound > Self.surrogates.upperBound, range.lowerBound <= Self.last {
                kept.append(max(range.lowerBound, Self.surrogates.upperBound + 1)...min(range.upperBound, Self.last))
            }
        }
        kept.sort { $0.lowerBound < $1.lowerBound }
        self.ranges = []
        for range in kept {
            if let end = self.ranges.last, range.lowerBound <= end.upperBound + 1 {
                self.ranges[self.ranges.count - 1] = end.lowerBound...max(end.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
    }

    package init(_ scalar: Unicode.Scalar) { self.init([scalar.value...scalar.value]) }

    /// The scalars of a text.
    package init(of text: String) { self.init(text.unicodeScalars.map { $0.value...$0.value }) }

    package init(_ range: ClosedRange<Unicode.Scalar>) { self.init([range.lowerBound.value...range.upperBound.value]) }

    package static let all = ScalarSet([0...last])
    package static let digits = ScalarSet("0"..."9")
    package static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    package static let space = ScalarSet(of: " \t\n\r\u{B}\u{C}")
    /// What ends a line in ECMAScript.
    package static let lineEnds = ScalarSet(of: "\n\r\u{2028}\u{2029}")
    package static let controls = ScalarSet([0...0x1F])

    package var isEmpty: Bool { ranges.isEmpty }

    package func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    package var inverted: ScalarSet {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= Self.last { result.append(next...Self.last) }
        return ScalarSet(result)
    }

    package func intersection(_ other: ScalarSet) -> ScalarSet { inverted.union(other.inverted).inverted }
    package func subtracting(_ other: ScalarSet) -> ScalarSet { inverted.union(other).inverted }

    package func contains(_ scalar: Unicode.Scalar) -> Bool { ranges.contains { $0.contains(scalar.value) } }

    /// The UTF-8 forms of the set: each a sequence of one to four byte ranges.
    package func utf8Sequences() -> [[ClosedRange<UInt8>]] {
        var result: [[ClosedRange<UInt8>]] = []
        for range in ranges { Self.split(range.lowerBound, range.upperBound, into: &result) }
        return result
    }

    /// Cuts a range until the encodings of its ends differ only in bytes that run through their whole range.
    private static func split(_ start: UInt32, _ end: UInt32, into result: inout [[ClosedRange<UInt8>]]) {
        for last: UInt32 in [0x7F, 0x7FF, 0xFFFF] where start <= last && last < end {
            split(start, last, into: &result)
            split(last + 1, end, into: &result)
            return
        }
        if end > 0x7F {
            for shift in 1..<4 {
                let low: UInt32 = (1 << (6 * UInt32(shift))) - 1
                guard start & ~low != end & ~low else { continue }
                if start & low != 0 {
                    split(start, start | low, into: &result)
                    split((start | low) + 1, end, into: &result)
                    return
                }
                if end & low != low {
                    split(start, (end & ~low) - 1, into: &result)
                    split(end & ~low, end, into: &result)
                    return
                }
            }
        }
        result.append(zip(encode(start), encode(end)).map { $0...$1 })
    }

    private static func encode(_ scalar: UInt32) -> [UInt8] {
        Unicode.Scalar(scalar).flatMap { UTF8.encode($0) }.map(Array.init) ?? []
    }
}
