import Engine
import Layers
import Models
import Tensors
import TestKit
import Testing
import Text

/// An engine over ``EchoModel`` that runs requests to their end.
struct EchoEngine {
    let language = EchoModel()
    let core: EngineCore

    init(
        late: Bool = false, batch: Int = 4, chunk: Int = 64, blocks: Double = 256, sessionLen: Int = 128, stop: Set<Int32> = [],
        tokenizer: any Tokenizer = LetterTokenizer()
    ) throws {
        let model = LoadedModel(
            family: "Echo", language: language, vision: nil, imageProcessor: nil, promptRule: nil, eosTokenIDs: [])
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        let config = EngineConfig(
            sessionLen: sessionLen, maxBatchSize: batch, cacheMaxEntryCount: blocks, cacheBlockSeqLen: 4,
            maxPrefillTokenNum: chunk)
        let plan = try MemoryPlan(model: model, planner: planner, config: config, vision: VisionConfig(), freeBytes: 1 << 30)
        core = try EngineCore(
            model: model, plan: plan, backend: late ? LateBackend() : ReferenceBackend(), tokenizer: tokenizer, stopTokens: stop,
            vision: VisionConfig())
    }

    /// The responses, in the order of the requests.
    func responses(_ requests: [EngineRequest]) throws -> [Response] {
        var responses = [Response?](repeating: nil, count: requests.count)
        for (index, request) in requests.enumerated() {
            var request = request
            request.index = index
            try core.submit(request) { if let response = $0.response { responses[response.index] = response } }
        }
        for _ in 0..<20_000 where core.hasWork { core.step() }
        try #require(!core.hasWork, "the engine does not come to an end")
        return responses.compactMap { $0 }
    }

    func response(_ tokens: [Int32], _ generation: GenerationConfig, pooling: Pooling? = nil) throws -> Response {
        try #require(
            try responses([EngineRequest(tokenIDs: tokens, generation: generation, pooling: pooling)]).first)
    }

    /// What ``EchoModel`` gives after `tokens`: logits `[97]`.
    static func logits(after tokens: [Int32]) -> [Float] {
        var hash = EchoHash()
        for (position, token) in tokens.enumerated() { hash.add(Float(token), position: Float(position)) }
        let next = hash.token(of: 97)
        return (0..<97).map { $0 == next ? 4 : Float($0 % 7) / 7 }
    }

    /// Greedy decoding of the model under a rule of the caller's, computed without an engine.
    static func greedy(_ prompt: [Int32], count: Int, _ change: (inout [Float], _ tokens: [Int32]) -> Void) -> [Int32] {
        var tokens = prompt
        for _ in 0..<count {
            var logits = logits(after: tokens)
            change(&logits, tokens)
            let best = logits.indices.max { logits[$0] < logits[$1] || (logits[$0] == logits[$1] && $0 > $1) } ?? 0
            tokens.append(Int32(best))
        }
        return Array(tokens.dropFirst(prompt.count))
    }
}
