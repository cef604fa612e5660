/// The random numbers of one request: the value of a step depends on the seed and the step alone, so a request gives the same text
/// whatever runs beside it.
package struct RandomSource: Sendable {
    package let seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// Uniform in [0, 1) with 53 random bits (SplitMix64's finaliser, Steele, Lea and Flood 2014, over seed and step).
    package func uniform(step: Int) -> Double {
        var z = seed &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(truncatingIfNeeded: step) &+ 1)
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        z ^= z >> 31
        return Double(z >> 11) * 0x1p-53
    }

    /// The seed of one of several streams of random numbers that follow from one seed (SplitMix64's finaliser over seed and stream).
    package static func seed(_ seed: UInt64, of stream: Int) -> UInt64 {
        var z = seed ^ (0xD134_2543_DE82_EF95 &* (UInt64(truncatingIfNeeded: stream) &+ 1))
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
