import Engine
import Imaging
import Synchronization
import Text
import VLM

/// Numbers from 1 on, each once: seeds of requests of which no cache may know anything.
final class FreshSeeds: Sendable {
    private let last = Atomic(0)

    func next() -> Int { last.wrappingAdd(1, ordering: .relaxed).newValue }
}

/// Pictures and questions for measurements: the same for the same seed, and different for every other.
struct SyntheticRequests: Sendable {
    let setup: PipelineSetup
    /// Width and height of the pictures; nil asks without.
    let imageSize: (width: Int, height: Int)?
    /// Tokens of a question.
    let textTokens: Int

    /// A question about a picture.
    ///
    /// - Parameter pictureSeed: another picture than the question's own.
    func prompt(_ seed: Int, pictureSeed: Int? = nil) throws -> Prompt {
        let text = try text(tokens: textTokens, seed: seed)
        guard let imageSize else { return Prompt(text) }
        return Prompt(text, images: [try SyntheticRequests.picture(pictureSeed ?? seed, imageSize)])
    }

    /// Noise.
    static func picture(_ seed: Int, _ size: (width: Int, height: Int)) throws -> RGBImage {
        var state = UInt64(truncatingIfNeeded: seed)
        let count = size.width * size.height * 3
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            // SplitMix64, eight bytes at a step.
            for start in stride(from: 0, to: count, by: 8) {
                state &+= 0x9E37_79B9_7F4A_7C15
                var word = state
                word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
                word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
                word ^= word >> 31
                for index in start..<min(start + 8, count) {
                    buffer[index] = UInt8(truncatingIfNeeded: word)
                    word >>= 8
                }
            }
            filled = count
        }
        return try RGBImage(width: size.width, height: size.height, pixels: pixels)
    }

    /// Words that are a token each in most vocabularies, so many that they make `tokens` tokens here or, where words are longer, nearly so.
    func text(tokens: Int, seed: Int) throws -> String {
        func length(_ count: Int) throws -> Int {
            try setup.tokenizer.encode(words(count, seed: seed), addSpecialTokens: false).count
        }
        var count = tokens
        for _ in 0..<4 { count = max(1, count * tokens / max(1, try length(count))) }
        while count > 1, try length(count) > tokens { count -= 1 }
        return words(count, seed: seed)
    }

    func words(_ count: Int, seed: Int) -> String {
        let random = RandomSource(seed: UInt64(truncatingIfNeeded: seed))
        let list = Self.vocabulary
        return (0..<count).map { list[Int(random.uniform(step: $0) * Double(list.count))] }.joined(separator: " ")
    }

    private static let vocabulary = """
        time year people way day man thing woman life child world school state family student group country problem hand part \
        place case week company system program question work government number night point home water room mother area money \
        story fact month lot right study book eye job word business issue side kind head house service friend father power
        """.split(separator: " ").map(String.init)
}
