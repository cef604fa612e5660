import Layers
import Tensors

extension KernelSelfTest {
    /// Choosing tokens on the device against the host's ``Sampler``.
    static func samplingCases(_ extent: Extent) -> [Case] {
        var configs: [(String, GenerationConfig)] = [("greedy", GenerationConfig())]
        func add(_ name: String, _ change: (inout GenerationConfig) -> Void) {
            var config = GenerationConfig()
            config.temperature = 1
            config.topK = 0
            change(&config)
            configs.append((name, config))
        }
        add("temperature 0.7") { $0.temperature = 0.7 }
        add("top-k 40") { $0.topK = 40 }
        add("top-p 0.9") { $0.topP = 0.9 }
        add("min-p 0.05") { $0.minP = 0.05 }
        add("penalty 1.3, greedy") {
            $0.temperature = 0
            $0.repetitionPenalty = 1.3
        }
        add("presence 0.4 and frequency 0.3, greedy") {
            $0.temperature = 0
            $0.presencePenalty = 0.4
            $0.frequencyPenalty = 0.3
        }
        add("masked, greedy") {
            $0.temperature = 0
            $0.badTokenIDs = maskedOut
        }
        add("masked, top-p 0.9") {
            $0.topP = 0.9
            $0.badTokenIDs = maskedOut
        }
        add("everything") {
            $0.temperature = 1.5
            $0.topK = 50
            $0.topP = 0.8
            $0.minP = 0.02
            $0.repetitionPenalty = 1.2
            $0.presencePenalty = 0.2
            $0.frequencyPenalty = -0.1
            $0.badTokenIDs = maskedOut
        }
        return (extent == .full ? [997, 32000, 151_674] : [997]).flatMap { vocabulary in
            configs.map { sampling($0, vocabulary: vocabulary, $1) }
        }
    }

    /// Stands for a mask that is different in each lane and step.
    private static let maskedOut: [Int32] = [0]

    /// Whether a lane may choose a token in a step: about half of them, and no words in a row alike.
    private static func isAllowed(_ token: Int, lane: Int, step: Int) -> Bool {
        (UInt32(truncatingIfNeeded: token &* 31 &+ lane &* 7 &+ step) &* 2_654_435_761) >> 31 == 0
    }

    private static func sampling(_ name: String, vocabulary: Int, _ config: GenerationConfig) -> Case {
        let lanes = 16
        let steps = vocabulary < 2000 ? 12 : 4
        let isGreedy = config.temperature == 0
        let isMasked = !config.badTokenIDs.isEmpty
        var model = SamplingRow(lane: 0, result: 0)
        model.temperature = config.temperature
        model.topK = Int32(config.topK)
        model.topP = config.topP
        model.minP = config.minP
        model.repetitionPenalty = config.repetitionPenalty
        model.presencePenalty = config.presencePenalty
        model.frequencyPenalty = config.frequencyPenalty
        model.mask = isMasked ? 0 : -1
        return Case(name: "sample \(name), vocabulary \(vocabulary)", precision: isGreedy ? .exact : .draws) { [model] operands in
            let kind = model.kind
            let device = (operands.backend as? any AsynchronousBackend)
            let sampler = try device?.makeSampler(lanes: lanes, vocabularySize: vocabulary)
            let seen = (0..<lanes).map { lane in (0..<20).map { Int32(($0 * 31 + lane * 7) % vocabulary) } }
            if let sampler, kind > .greedy {
                for lane in 0..<lanes {
                    // The last few are the response's.
                    try sampler.begin(
                        lane: lane, tokens: seen[lane],
                        counted: config.countsTokens ? seen[lane].suffix(5) + seen[lane].suffix(2) : nil)
                }
            }
            var hosts = (0..<lanes).map { Sampler(config: config, seed: UInt64($0) &* 0x1_0000_0001) }
            var history = seen.map { tokens in
                var history = TokenHistory()
                tokens.forEach { history.read($0) }
                for token in tokens.suffix(5) + tokens.suffix(2) { history.generated(token) }
                return history
            }
            var tokens: [Int32] = []
            for step in 0..<steps {
                var values = SelfTestOperands.numbers(lanes * vocabulary, seed: 50 + step)
                if let device, let sampler {
                    try operands.context.workspace.scope {
                        let logits = try operands.context.upload(values, shape: Shape(lanes, vocabulary))
                        var words: [Int32] = []
                        for lane in 0..<lanes {
                            var row = model
                            row.lane = Int32(lane)
                            row.result = Int32(lanes * (step % 4) + lane)
                            if isMasked { row.mask = Int32((lane * 5 + step) % lanes) }
                            row.seed = UInt64(lane) &* 0x1_0000_0001
                            row.step = Int32(step)
                            row.append(to: &words)
                        }
                        if isMasked {
                            var masks = [UInt32](repeating: 0, count: lanes * sampler.masks.width)
                            for lane in 0..<lanes {
                                let row = (lane * 5 + step) % lanes * sampler.masks.width
                                for token in 0..<vocabulary where isAllowed(token, lane: lane, step: step) {
                                    masks[row + token >> 5] |= 1 << UInt32(token & 31)
                                }
                            }
                            try masks.withUnsafeBytes { try device.upload($0, to: sampler.masks) }
                        }
                        let rows = try operands.context.upload(words).reshaped(Shape(lanes, SamplingRow.words))
                        try sampler.sample(logits, rows: rows, kind: kind)
                        try device.mark().wait()
                        tokens += (0..<lanes).map { sampler.results[lanes * (step % 4) + $0] }
                    }
                } else {
                    for lane in 0..<lanes {
                        let token = values.withUnsafeMutableBufferPointer { all in
                            let row = UnsafeMutableBufferPointer(rebasing: all[lane * vocabulary..<(lane + 1) * vocabulary])
                            hosts[lane].penalize(row, history[lane])
                            if isMasked {
                                for token in 0..<vocabulary where !isAllowed(token, lane: lane, step: step) {
                                    row[token] = -.infinity
                                }
                            }
                            return hosts[lane].choose(UnsafeBufferPointer(row), step: step)
                        }
                        history[lane].generated(token)
                        tokens.append(token)
                    }
                }
            }
            return [try operands.context.upload(tokens)]
        }
    }
}
