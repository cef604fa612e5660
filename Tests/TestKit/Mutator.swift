/// A small seeded generator (SplitMix64), so that every random test runs the same each time.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Damages byte strings for fuzz tests: flips, insertions, deletions, truncation, duplicated and swapped pieces, and
/// pieces that are often interesting to the format (`dictionary`).
package struct Mutator {
    private var random: SeededGenerator
    private let dictionary: [[UInt8]]

    package init(seed: UInt64, dictionary: [String] = []) {
        random = SeededGenerator(seed: seed)
        self.dictionary = dictionary.map { Array($0.utf8) }
    }

    /// For binary formats: `pieces` are often extreme numbers for length fields, and the format's own marks.
    package init(seed: UInt64, pieces: [[UInt8]]) {
        random = SeededGenerator(seed: seed)
        dictionary = pieces
    }

    /// One to four random edits of `input`.
    package mutating func mutate(_ input: [UInt8]) -> [UInt8] {
        var bytes = input
        for _ in 0..<Int.random(in: 1...4, using: &random) { edit(&bytes) }
        return bytes
    }

    private mutating func edit(_ bytes: inout [UInt8]) {
        let at = Int.random(in: 0...bytes.count, using: &random)
        let length = min(Int.random(in: 1...16, using: &random), bytes.count - at)
        switch Int.random(in: 0..<8, using: &random) {
        case 0 where at < bytes.count: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        case 3: bytes.removeSubrange(at..<at + length)
        case 4: bytes.insert(contentsOf: bytes[at..<at + length], at: Int.random(in: 0...bytes.count, using: &random))
        case 5 where Int.random(in: 0..<4, using: &random) == 0: bytes.removeSubrange(at...)
        case 6 where !bytes.isEmpty: bytes.swapAt(Int.random(in: 0..<bytes.count, using: &random), min(at, bytes.count - 1))
        default:
            if let piece = dictionary.randomElement(using: &random) {
                bytes.replaceSubrange(at..<at + length, with: piece)
            }
        }
    }
}
