import Engine
import Foundation
import Testing

struct SamplerTests {
    private func sample(
        _ logits: [Float], _ config: GenerationConfig, prompt: [Int32] = [], response: [Int32] = [], seed: UInt64 = 1,
        step: Int = 0
    ) -> Int32 {
        var sampler = Sampler(config: config, seed: seed)
        let changed = penalized(logits, config, prompt: prompt, response: response)
        return changed.withUnsafeBufferPointer { sampler.choose($0, step: step) }
    }

    private func penalized(
        _ logits: [Float], _ config: GenerationConfig, prompt: [Int32] = [], response: [Int32] = []
    ) -> [Float] {
        var history = TokenHistory()
        prompt.forEach { history.read($0) }
        response.forEach { history.generated($0) }
        var copy = logits
        copy.withUnsafeMutableBufferPointer { Sampler(config: config, seed: 0).penalize($0, history) }
        return copy
    }

    /// How often each token comes in `count` steps.
    private func frequencies(_ logits: [Float], _ config: GenerationConfig, count: Int = 20_000) -> [Double] {
        var sampler = Sampler(config: config, seed: 42)
        var counts = [Double](repeating: 0, count: logits.count)
        for step in 0..<count {
            let id = logits.withUnsafeBufferPointer { sampler.choose($0, step: step) }
            counts[Int(id)] += 1
        }
        return counts.map { $0 / Double(count) }
    }

    private func softmax(_ logits: [Float], temperature: Double = 1) -> [Double] {
        let scaled = logits.map { exp(Double($0) / temperature) }
        let sum = scaled.reduce(0, +)
        return scaled.map { $0 / sum }
    }

    @Test(arguments: [1, 15, 16, 17, 31, 32, 33, 1000]) func greedyTakesTheFirstGreatest(count: Int) {
        var logits = (0..<count).map { Float(($0 * 37) % 101) - 200 }
        let place = count / 2
        logits[place] = 7
        if count > 2 { logits[count - 1] = place == count - 1 ? 7 : 7 }
        #expect(sample(logits, GenerationConfig()) == Int32(place))
    }

    @Test func greedyIgnoresNaN() {
        var logits = [Float](repeating: .nan, count: 40)
        logits[33] = -5
        #expect(sample(logits, GenerationConfig()) == 33)
    }

    @Test func drawsFollowTheSoftmax() {
        let logits: [Float] = [0, 1, 2, -1, 0.5]
        for temperature in [0.5, 1, 2] {
            let expected = softmax(logits, temperature: temperature)
            let drawn = frequencies(logits, GenerationConfig(temperature: Float(temperature), topK: 0))
            for (a, b) in zip(drawn, expected) { #expect(abs(a - b) < 0.015) }
        }
    }

    @Test func topKKeepsTheLikeliest() {
        let drawn = frequencies([0, 3, 2, 3, 1], GenerationConfig(temperature: 1, topK: 2))
        #expect(drawn[0] == 0 && drawn[2] == 0 && drawn[4] == 0)
        #expect(abs(drawn[1] - 0.5) < 0.015)
    }

    @Test func topPKeepsTheSmallestSetThatReachesIt() {
        // 0.6, 0.3, 0.1: what lies before the second is 0.6, below 0.7, so the second stays; 0.9 before the third is not.
        let logits = [0.6, 0.3, 0.1].map { Float(log($0)) }
        let drawn = frequencies(logits, GenerationConfig(temperature: 1, topP: 0.7, topK: 0))
        #expect(drawn[2] == 0)
        #expect(abs(drawn[0] - 2.0 / 3) < 0.015)
        #expect(frequencies(logits, GenerationConfig(temperature: 1, topP: 0.5, topK: 0)) == [1, 0, 0])
    }

    @Test func minPDropsTheUnlikely() {
        let logits = [0.6, 0.3, 0.1].map { Float(log($0)) }
        let drawn = frequencies(logits, GenerationConfig(temperature: 1, topK: 0, minP: 0.4))
        #expect(drawn[2] == 0 && drawn[1] > 0.3)
    }

    @Test func repetitionPenaltyDividesPositiveAndMultipliesNegativeLogits() {
        let config = GenerationConfig(repetitionPenalty: 2)
        #expect(penalized([3, -2, -1], config, prompt: [0], response: [1, 1]) == [1.5, -4, -1])
        #expect(sample([3, 2, -1], config, prompt: [0]) == 1)
        #expect(sample([-1, -1.5, -9], config, response: [0]) == 1)
        #expect(sample([3, 1, -1], config, prompt: [0]) == 0)
    }

    @Test func presenceAndFrequencyPenaltiesLookAtTheResponseAlone() {
        // mu[j] - c[j] * frequency - (c[j] > 0) * presence, c over the generated tokens: OpenAI's API reference, "Frequency and presence penalties".
        let config = GenerationConfig(presencePenalty: 0.5, frequencyPenalty: 0.25)
        #expect(penalized([1, 1, 1, 1], config, prompt: [0, 1], response: [1, 2, 2, 2]) == [1, 0.25, -0.25, 1])
        let generous = GenerationConfig(presencePenalty: -1)
        #expect(penalized([1, 1, -3], generous, response: [2, 2]) == [1, 1, -2])
        // After the repetition penalty.
        let both = GenerationConfig(repetitionPenalty: 2, presencePenalty: 1)
        #expect(penalized([4, 4, 4], both, prompt: [0], response: [1]) == [2, 1, 4])
    }

    @Test func theSameSeedAndStepGiveTheSameToken() {
        let logits = (0..<200).map { Float(sin(Double($0))) }
        let config = GenerationConfig(temperature: 1, topK: 0)
        let first = (0..<50).map { sample(logits, config, seed: 9, step: $0) }
        #expect(first == (0..<50).map { sample(logits, config, seed: 9, step: $0) })
        #expect(first != (0..<50).map { sample(logits, config, seed: 10, step: $0) })
    }

    @Test func logprobsAreTheModelsOwnDistribution() {
        let logits: [Float] = [0, 1, 2, -1, 0.5]
        let expected = softmax(logits)
        let entry = logits.withUnsafeBufferPointer { Sampler.logprobs($0, chosen: 3, top: 2) }
        #expect(abs(Double(entry.chosen.logprob) - log(expected[3])) < 1e-6)
        #expect(entry.top.map(\.tokenID) == [2, 1])
        #expect(abs(Double(entry.top[0].logprob) - log(expected[2])) < 1e-6)
    }
}
