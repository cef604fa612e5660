import Engine
import Layers
import Models
import Tensors
import TestKit
import Testing

/// What is particular to a backend that runs behind its host.
struct DeviceRunnerTests {
    private let language = EchoModel()

    private func core(_ backend: any Backend, batch: Int = 4, blocks: Double = 64) throws -> EngineCore {
        let model = LoadedModel(
            family: "Echo", language: language, vision: nil, imageProcessor: nil, promptRule: nil, eosTokenIDs: [])
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        let config = EngineConfig(
            sessionLen: 128, maxBatchSize: batch, cacheMaxEntryCount: blocks, cacheBlockSeqLen: 4, maxPrefillTokenNum: 16)
        let plan = try MemoryPlan(model: model, planner: planner, config: config, vision: VisionConfig(), freeBytes: 1 << 30)
        return try EngineCore(
            model: model, plan: plan, backend: backend, tokenizer: LetterTokenizer(), stopTokens: [], vision: VisionConfig())
    }

    private func responses(_ core: EngineCore, _ requests: [EngineRequest]) throws -> [Int: Response] {
        var responses: [Int: Response] = [:]
        for (index, request) in requests.enumerated() {
            var request = request
            request.index = index
            try core.submit(request) { if let response = $0.response { responses[response.index] = response } }
        }
        for _ in 0..<10_000 where core.hasWork { core.step() }
        try #require(!core.hasWork, "the engine does not come to an end")
        return responses
    }

    private func requests(_ configs: [GenerationConfig]) -> [EngineRequest] {
        configs.enumerated().map { index, config in
            EngineRequest(tokenIDs: (0..<5 + index).map { Int32(($0 * 7 + index) % 96 + 1) }, generation: config)
        }
    }

    private var variety: [GenerationConfig] {
        var penalised = GenerationConfig(maxNewTokens: 12)
        penalised.repetitionPenalty = 1.8
        var both = GenerationConfig(maxNewTokens: 9, temperature: 1.3, topK: 0, randomSeed: 5)
        both.repetitionPenalty = 1.4
        return [
            GenerationConfig(maxNewTokens: 6), GenerationConfig(maxNewTokens: 11, temperature: 2, topK: 20, randomSeed: 1),
            penalised,
            GenerationConfig(maxNewTokens: 7, temperature: 0.9, topP: 0.7, topK: 0, minP: 0.05, randomSeed: 2), both,
        ]
    }

    @Test func choosingOnTheDeviceAnswersAsTheHostDoes() throws {
        let expected = try responses(try core(ReferenceBackend()), requests(variety))
        let late = LateBackend()
        let answers = try responses(try core(late), requests(variety))
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs, "request \(index)") }
        #expect(late.replayCount > 0)
    }

    /// A request that wants logprobs makes the host choose for as long as it runs; the others change over and back, penalties included.
    @Test func requestsThatNeedTheHostMixWithOthers() throws {
        let scored = GenerationConfig(maxNewTokens: 4, logprobs: 2)
        let configs = variety + [scored] + variety
        let expected = try responses(try core(ReferenceBackend()), requests(configs))
        let answers = try responses(try core(LateBackend()), requests(configs))
        for index in configs.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs, "request \(index)") }
        #expect(answers[variety.count]?.logprobs == expected[variety.count]?.logprobs)
    }

    @Test func aStepIsRecordedOnceForEachSize() throws {
        let late = LateBackend()
        let core = try core(late, batch: 6)
        _ = try responses(core, requests([GenerationConfig](repeating: GenerationConfig(maxNewTokens: 40), count: 6)))
        let recorded = late.recordedCount
        #expect(recorded >= 1 && recorded <= 6)
        _ = try responses(core, requests([GenerationConfig](repeating: GenerationConfig(maxNewTokens: 40), count: 6)))
        #expect(late.recordedCount == recorded)
        #expect(late.replayCount > 60)
    }

    @Test func passesThatCannotBeRecordedRunAsTheyAre() throws {
        language.canBeRecorded = false
        let late = LateBackend()
        let answers = try responses(try core(late), requests(variety))
        let expected = try responses(try core(ReferenceBackend()), requests(variety))
        #expect(late.recordedCount == 0)
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs) }
    }

    @Test func warmingUpChangesNothing() throws {
        let core = try core(LateBackend())
        try core.warmUp()
        let expected = try responses(try self.core(ReferenceBackend()), requests(variety))
        let answers = try responses(core, requests(variety))
        for index in variety.indices { #expect(answers[index]?.tokenIDs == expected[index]?.tokenIDs) }
        #expect(core.freeBlocks == 64)
    }

    @Test(arguments: 1...300) func recordedSizesHoldTheirBatch(count: Int) {
        let size = DeviceRunner.recordedSize(count, limit: 256)
        #expect(size >= count)
        #expect(size <= max(256, count))
        #expect(Double(size) <= Double(count) * 1.5 + 3)
    }

    @Test func paddingAddsSequencesThatWriteNothing() {
        var batch = ForwardBatch()
        batch.tokenIDs = [7, -2]
        batch.positions = [[4, 9]]
        batch.slots = [12, 33]
        batch.queryStarts = [0, 1, 2]
        batch.contextLengths = [5, 10]
        batch.maxBlocks = 2
        batch.blockTables = [3, 0, 8, 1]
        batch.outputRows = [0, 1]
        let layout = PassInputs.Layout(tokens: 4, axes: 1, sequences: 4, maxBlocks: 3, outputs: 4)
        batch.pad(to: layout)
        #expect(batch.layout() == layout)
        #expect(batch.tokenIDs == [7, -2, 0, 0] && batch.positions == [[4, 9, 0, 0]])
        #expect(batch.slots == [12, 33, -1, -1] && batch.contextLengths == [5, 10, 0, 0])
        #expect(batch.queryStarts == [0, 1, 2, 3, 4] && batch.outputRows == [0, 1, 2, 3])
        #expect(batch.blockTables == [3, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0])
        var words: [Int32] = []
        batch.pack(into: &words)
        #expect(words.count == layout.wordCount)
    }
}
