import Engine
import Layers
import Models
import Tensors
import TestKit
import Testing

/// An engine core over ``EchoModel``, and what its requests were answered.
final class SteppedEngine {
    /// When a backend computes: at the call, or when somebody waits.
    enum Timing: CaseIterable { case immediate, late }

    let language = EchoModel()
    let encoder = EchoEncoder()
    let core: EngineCore
    /// Indices of requests in the order they were finished.
    private(set) var finished: [Int] = []
    private(set) var responses: [Int: Response] = [:]
    /// Tokens that each request has been given so far.
    private(set) var tokens: [Int: [Int32]] = [:]
    private let interner = ImageInterner()
    private var nextIndex = 0

    init(
        _ timing: Timing, blocks: Int = 64, blockSize: Int = 4, batch: Int = 4, chunk: Int = 64, besideDecodes: Int? = nil,
        sessionLen: Int = 128, images: Int = 8, cacheBytes: Int? = nil, featureBytes: Int? = nil,
        spanRule: SpanRule = .causal, config change: (inout EngineConfig) -> Void = { _ in }
    ) throws {
        let rule = PromptRule(imagePlaceholder: "<image>", imageToken: "<image>", configuredImageTokenID: 0) { _ in "" }
        let model = LoadedModel(
            family: "Echo", language: language, vision: encoder, imageProcessor: EchoImageProcessor(), promptRule: rule,
            eosTokenIDs: [], spanRule: spanRule)
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        var config = EngineConfig(
            sessionLen: sessionLen, maxBatchSize: batch, cacheMaxEntryCount: Double(blocks), cacheBlockSeqLen: blockSize,
            maxPrefillTokenNum: chunk)
        change(&config)
        let vision = VisionConfig(maxBatchSize: images, cacheBytes: cacheBytes)
        var plan = try MemoryPlan(model: model, planner: planner, config: config, vision: vision, freeBytes: 1 << 30)
        if let besideDecodes { plan.maxPrefillTokensBesideDecodes = besideDecodes }
        if let featureBytes { plan.featureBytes = featureBytes }
        language.passes = []
        core = try EngineCore(
            model: model, plan: plan, backend: timing == .late ? LateBackend() : ReferenceBackend(),
            tokenizer: LetterTokenizer(), stopTokens: [], vision: vision, config: config)
    }

    /// Queues a request under the next index.
    @discardableResult
    func submit(_ request: EngineRequest) throws -> Int {
        var request = request
        request.index = nextIndex
        request.intern(by: interner)
        let id = try core.submit(request) { [unowned self] in take($0) }
        nextIndex += 1
        return id
    }

    private func take(_ piece: ResponsePiece) {
        tokens[piece.index, default: []] += piece.tokenIDs
        guard let response = piece.response else { return }
        finished.append(piece.index)
        responses[piece.index] = response
    }

    func step(_ count: Int) { for _ in 0..<count { core.step() } }

    /// Steps until nothing is left to do.
    func drain() throws {
        for _ in 0..<10_000 where core.hasWork { core.step() }
        try #require(!core.hasWork, "the engine does not come to an end")
    }

    /// Submits a request, runs it to its end and returns its response.
    func answer(_ request: EngineRequest) throws -> Response {
        let index = nextIndex
        try submit(request)
        try drain()
        return try #require(responses[index])
    }

    /// What makes `submit` refuse a request.
    func refusal(_ request: EngineRequest) -> EngineError? {
        do {
            try core.submit(request) { _ in }
            return nil
        } catch {
            return error as? EngineError
        }
    }

    static func prompt(_ count: Int, seed: Int) -> [Int32] { (0..<count).map { Int32(($0 * 31 + seed * 17) % 96 + 1) } }

    static func request(_ count: Int, seed: Int, new: Int = 8, priority: Int = 0) -> EngineRequest {
        EngineRequest(
            tokenIDs: prompt(count, seed: seed), generation: GenerationConfig(maxNewTokens: new), priority: priority)
    }

    /// What the model answers, computed without an engine.
    static func answer(_ request: EngineRequest) -> [Int32] {
        EchoHash.answer(to: request.tokenIDs.map { Float($0) }, count: request.generation.maxNewTokens ?? 0)
    }
}
