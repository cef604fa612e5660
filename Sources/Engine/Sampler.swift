import Foundation

/// Chooses the next token from a row of logits, as transformers 5.17.0's logits processors do
/// (`generation/logits_process.py`): repetition penalty, temperature, top-k, top-p, min-p, in that order; presence and frequency penalties,
/// which transformers does not have, follow the repetition penalty and OpenAI's formula.
package struct Sampler {
    private let config: GenerationConfig
    private let random: RandomSource
    /// Candidates of the current step, kept to reuse their memory.
    private var candidates: [Candidate] = []

    private struct Candidate {
        var id: Int32
        /// Logit, later probability.
        var value: Float
    }

    package init(config: GenerationConfig, seed: UInt64) {
        self.config = config
        random = RandomSource(seed: seed)
    }

    /// Applies the penalties to `logits` `[V]`: repetition, then presence and frequency.
    package func penalize(_ logits: UnsafeMutableBufferPointer<Float>, _ history: TokenHistory) {
        if config.repetitionPenalty != 1 {
            for id in history.seen {
                let logit = logits[Int(id)]
                logits[Int(id)] = logit < 0 ? logit * config.repetitionPenalty : logit / config.repetitionPenalty
            }
        }
        if config.countsTokens {
            for (id, count) in history.counts {
                logits[Int(id)] -= config.presencePenalty + config.frequencyPenalty * Float(count)
            }
        }
    }

    /// The token of step `step`, from `logits` `[V]` after penalties and bans.
    package mutating func choose(_ logits: UnsafeBufferPointer<Float>, step: Int) -> Int32 {
        config.temperature == 0 ? Sampler.argmax(logits) : draw(logits, at: random.uniform(step: step))
    }

    /// The first index of the greatest value; NaN never wins.
    package static func argmax(_ values: UnsafeBufferPointer<Float>) -> Int32 {
        var lanes = SIMD16<Float>(repeating: -.infinity)
        var index = 0
        while index + 16 <= values.count {
            let block = UnsafeRawPointer(values.baseAddress.unsafelyUnwrapped + index).loadUnaligned(as: SIMD16<Float>.self)
            lanes.replace(with: block, where: block .> lanes)
            index += 16
        }
        var best = lanes.max()
        while index < values.count {
            if values[index] > best { best = values[index] }
            index += 1
        }
        return Int32(values.firstIndex(of: best) ?? 0)
    }

    // MARK: Sampling

    private mutating func draw(_ logits: UnsafeBufferPointer<Float>, at point: Double) -> Int32 {
        let limit = config.topK == 0 ? logits.count : min(config.topK, logits.count)
        collect(logits, count: limit)
        guard let likeliest = candidates.first, likeliest.value > -.infinity else { return Sampler.argmax(logits) }

        // Softmax at the temperature over what top-k left, likeliest first.
        let peak = likeliest.value
        var total = 0.0
        for index in candidates.indices {
            candidates[index].value = expf((candidates[index].value - peak) / config.temperature)
            total += Double(candidates[index].value)
        }
        var kept = candidates.count
        if config.topP < 1 {
            // A token stays when the probability before it is below topP, so the first always stays.
            var sum = 0.0
            kept = 0
            for candidate in candidates {
                if kept > 0 && sum >= Double(config.topP) * total { break }
                sum += Double(candidate.value)
                kept += 1
            }
        }
        if config.minP > 0 {
            // The likeliest has value 1, so the bound needs no division.
            kept = candidates[..<kept].firstIndex { $0.value < config.minP } ?? kept
        }
        let mass = candidates[..<kept].reduce(0.0) { $0 + Double($1.value) }
        var left = point * mass
        for candidate in candidates[..<kept] {
            left -= Double(candidate.value)
            if left < 0 { return candidate.id }
        }
        return candidates[kept - 1].id
    }

    /// The `count` greatest logits, greatest first, equal ones by index.
    private mutating func collect(_ logits: UnsafeBufferPointer<Float>, count: Int) {
        candidates.removeAll(keepingCapacity: true)
        func before(_ a: Candidate, _ b: Candidate) -> Bool { a.value > b.value || (a.value == b.value && a.id < b.id) }
        guard count < logits.count else {
            for (id, value) in logits.enumerated() where value > -.infinity {
                candidates.append(Candidate(id: Int32(id), value: value))
            }
            candidates.sort(by: before)
            return
        }
        // A heap whose root is the least of the kept; most logits fall below it and cost one comparison.
        for (id, value) in logits.enumerated() where value > -.infinity {
            let candidate = Candidate(id: Int32(id), value: value)
            if candidates.count < count {
                candidates.append(candidate)
                siftUp(candidates.count - 1, before)
            } else if before(candidate, candidates[0]) {
                candidates[0] = candidate
                siftDown(0, before)
            }
        }
        candidates.sort(by: before)
    }

    private mutating func siftUp(_ start: Int, _ before: (Candidate, Candidate) -> Bool) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard before(candidates[parent], candidates[child]) else { return }
            candidates.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int, _ before: (Candidate, Candidate) -> Bool) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < candidates.count && before(candidates[least], candidates[child]) {
                least = child
            }
            guard least != parent else { return }
            candidates.swapAt(parent, least)
            parent = least
        }
    }

    // MARK: Log-probabilities

    /// Natural log-probabilities of the chosen token and the `top` likeliest under the untouched logits `[V]`.
    package static func logprobs(_ logits: UnsafeBufferPointer<Float>, chosen: Int32, top: Int) -> TokenLogprobs {
        let normalizer = logSumExp(logits)
        func entry(_ id: Int32) -> TokenLogprobs.Entry {
            TokenLogprobs.Entry(tokenID: id, logprob: Float(Double(logits[Int(id)]) - normalizer))
        }
        guard top > 0 else { return TokenLogprobs(chosen: entry(chosen), top: []) }
        var picker = Sampler(config: GenerationConfig(), seed: 0)
        picker.collect(logits, count: min(top, logits.count))
        return TokenLogprobs(chosen: entry(chosen), top: picker.candidates.map { entry($0.id) })
    }

    /// The logarithm of the sum of exponentials.
    private static func logSumExp(_ logits: UnsafeBufferPointer<Float>) -> Double {
        let peak = logits[Int(argmax(logits))]
        guard peak.isFinite else { return Double(peak) }
        return Double(peak) + log(logits.reduce(0.0) { $0 + Double(expf($1 - peak)) })
    }
}
