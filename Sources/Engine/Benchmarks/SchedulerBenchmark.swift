import Layers
import Models
import Tensors
package import Text

/// What a step costs the host: an engine over a device that computes nothing, in steady decoding.
///
/// Everything the host does for a step is in it: admission, blocks, the batch's arrays, sampling rows, text and pieces of each token.
package struct SchedulerBenchmark: Sendable {
    /// Requests that run together.
    package var requests = 256
    /// Tokens of each prompt.
    package var promptTokens = 512
    /// Steps that are measured, after as many as it takes for all to decode.
    package var steps = 1000
    /// Axes of rotary positions: 1, or 3 for M-RoPE.
    package var positionAxes = 1

    package init() {}

    /// Microseconds of one step.
    package struct Result: Sendable {
        package let median: Double
        package let p95: Double
        package let worst: Double
        /// Tokens of each step.
        package let tokens: Int
    }

    /// Runs it. Takes about a second.
    ///
    /// - Parameter tokenizer: whose decoder makes the text; nil takes one that costs next to nothing.
    package func run(tokenizer: (any Tokenizer)? = nil) throws -> Result {
        let language = IdleModel(positionAxes: positionAxes)
        let model = LoadedModel(
            family: "idle", language: language, eosTokenIDs: [],
            positionRule: positionAxes == 1 ? .sequential : .multimodal(imageTokenID: -1, mergeSize: 1))
        let planner = PlanningBackend(device: .cuda(0), activationType: .float32, cacheType: .float32, weightType: .float32)
        let length = promptTokens + 2 * steps + 64
        let config = EngineConfig(
            sessionLen: length, maxBatchSize: requests, cacheMaxEntryCount: Double(requests * (length + 63) / 64 + requests),
            maxWaitingRequests: requests)
        let plan = try MemoryPlan(
            model: model, planner: planner, config: config, vision: VisionConfig(), freeBytes: 64 << 30)
        let core = try EngineCore(
            model: model, plan: plan, backend: IdleDevice(), tokenizer: tokenizer ?? PlainTokenizer(), stopTokens: [],
            vision: VisionConfig(), config: config)
        // No two prompts alike, so that each is computed.
        for request in 0..<requests {
            let prompt = (0..<promptTokens).map { Int32($0 < 4 ? (request >> (4 * $0)) & 15 : 7) }
            try core.submit(EngineRequest(tokenIDs: prompt, generation: GenerationConfig(maxNewTokens: nil))) { _ in }
        }
        // A few steps past the last prompt, so that arrays have grown and steps are recorded.
        while core.statistics.prefilledTokens < requests * promptTokens { core.step() }
        for _ in 0..<16 { core.step() }

        let clock = ContinuousClock()
        let before = core.statistics.decodedTokens
        var times: [Double] = []
        times.reserveCapacity(steps)
        for _ in 0..<steps { times.append(clock.measure { core.step() } / .microseconds(1)) }
        let tokens = (core.statistics.decodedTokens - before) / steps
        core.failAll(EngineError(.closed, "the benchmark is over"))
        times.sort()
        return Result(
            median: times[steps / 2], p95: times[steps * 95 / 100], worst: times[steps - 1], tokens: tokens)
    }
}

/// One letter for each token.
private struct PlainTokenizer: Tokenizer {
    let vocabularySize = 32
    let bosToken: String? = nil
    let eosToken: String? = nil
    let padToken: String? = nil
    let unkToken: String? = nil

    func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] { text.utf8.map { Int32($0 & 31) } }
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { String(repeating: "a", count: ids.count) }
    func tokenID(_ token: String) -> Int32? { nil }
    func token(_ id: Int32) -> String? { "a" }
    func isSpecial(_ id: Int32) -> Bool { false }
    func makeStreamDecoder(skipSpecialTokens: Bool) -> any TokenStreamDecoder { Decoder() }

    private struct Decoder: TokenStreamDecoder {
        func append(_ id: Int32) -> String { "a" }
        func flush() -> String { "" }
    }
}
