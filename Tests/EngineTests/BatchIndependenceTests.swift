import CPUBackend
import Checkpoints
import Engine
import Foundation
import Models
import Tensors
import TestKit
import Testing

private struct Setting: CustomTestStringConvertible {
    var model: String
    var mode: CPUBackend.Mode
    var testDescription: String { "\(model), \(mode)" }

    static let all = ["qwen3", "llama3"].flatMap { [Setting(model: $0, mode: .exact), Setting(model: $0, mode: .fast)] }
}

/// On the CPU nothing but a request's own tokens decides about its logits, to the last bit.
@Suite(.serialized) struct BatchIndependenceTests {
    private func core(
        _ setting: Setting, batch: Int = 16, chunk: Int = 512, blocks: Double = 400, threads: Int = 2
    ) throws -> EngineCore {
        let backend = try CPUBackend(threads: threads, mode: setting.mode)
        let checkpoint = try Checkpoint(folder: Fixtures.path("models/\(setting.model)/checkpoint"))
        let planner = PlanningBackend(
            device: .cpu, activationType: backend.activationType, cacheType: backend.cacheType,
            weightType: setting.mode == .exact ? .float32 : .bfloat16)
        let config = EngineConfig(
            sessionLen: 400, maxBatchSize: batch, cacheMaxEntryCount: blocks, cacheBlockSeqLen: 16, maxPrefillTokenNum: chunk)
        let plan = try MemoryPlan(
            model: try ModelRegistry.plan(checkpoint, backend: planner), planner: planner, config: config,
            vision: VisionConfig(), freeBytes: 1 << 30)
        return try EngineCore(
            model: try ModelRegistry.load(checkpoint, backend: backend), plan: plan, backend: backend,
            tokenizer: LetterTokenizer(), stopTokens: [], vision: VisionConfig(), config: config)
    }

    private func run(_ core: EngineCore, _ requests: [EngineRequest]) throws -> [Response] {
        var responses = [Response?](repeating: nil, count: requests.count)
        for (index, request) in requests.enumerated() {
            var request = request
            request.index = index
            try core.submit(request) { if let response = $0.response { responses[response.index] = response } }
        }
        for _ in 0..<20_000 where core.hasWork { core.step() }
        try #require(!core.hasWork, "the engine does not come to an end")
        for response in responses { if let error = response?.error { throw error } }
        return responses.compactMap { $0 }
    }

    private func prompt(_ count: Int, seed: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 131 + seed * 61 + $0 * $0 * 7) % 300) }
    }

    /// Sequences long enough for several tiles and parts of the context.
    private func request(temperature: Float = 0) -> EngineRequest {
        var generation = GenerationConfig(maxNewTokens: 24, temperature: temperature, topK: 0, randomSeed: 5)
        generation.outputLogits = .generation
        return EngineRequest(tokenIDs: prompt(270, seed: 1), generation: generation)
    }

    private func others(_ count: Int) -> [EngineRequest] {
        (0..<count).map {
            EngineRequest(
                tokenIDs: prompt(3 + $0 * 37 % 290, seed: 2 + $0),
                generation: GenerationConfig(maxNewTokens: 4 + $0 * 5 % 40, temperature: $0 % 2 == 0 ? 0 : 1.2, topK: 0))
        }
    }

    /// Alone, on one thread, in a batch of 16, with prompts in chunks of any size, before and after others, preempted and computed again.
    @Test(arguments: Setting.all) fileprivate func logitsDependOnNothingElse(setting: Setting) throws {
        for temperature: Float in [0, 0.9] {
            let request = request(temperature: temperature)
            let alone = try run(try core(setting), [request])[0]
            let logits = try #require(alone.logits)
            #expect(logits.rows == 24)
            func expectSame(_ response: Response, _ what: String) {
                #expect(response.tokenIDs == alone.tokenIDs, "\(what)")
                #expect(response.logits == logits, "\(what)")
            }
            expectSame(try run(try core(setting, threads: 1), [request])[0], "one thread")
            for chunk in [16, 23, 100] {
                expectSame(try run(try core(setting, batch: 8, chunk: chunk), [request])[0], "chunks of \(chunk)")
            }
            for place in [0, 7, 15] {
                var requests = others(15)
                requests.insert(request, at: place)
                expectSame(try run(try core(setting), requests)[place], "place \(place) of 16")
            }
            // 17 blocks for the prompt and 7 for another's leave one, and both responses grow: the newer gives way.
            let crowded = try core(setting, batch: 4, blocks: 25)
            let rival = EngineRequest(tokenIDs: prompt(100, seed: 3), generation: GenerationConfig(maxNewTokens: 60))
            expectSame(try run(crowded, [rival, request])[1], "few blocks")
            #expect(crowded.statistics.preemptions > 0)
            let warm = try core(setting)
            _ = try run(warm, [request])
            expectSame(try run(warm, [request])[0], "the second time")
        }
    }

    /// A response's tokens read as a prompt have the logits that they were chosen by: what makes prefix caching exact.
    @Test(arguments: Setting.all) fileprivate func decodingIsReading(setting: Setting) throws {
        let request = request()
        let response = try run(try core(setting), [request])[0]
        var generation = GenerationConfig(maxNewTokens: 0)
        generation.outputLogits = .all
        let read = try run(
            try core(setting), [EngineRequest(tokenIDs: request.tokenIDs + response.tokenIDs.dropLast(), generation: generation)])[
                0]
        #expect(try #require(read.logits).values.suffix(24 * 384) == #require(response.logits).values[...])
    }

    /// Log-probabilities of a prompt are those of its tokens as a response.
    @Test(arguments: Setting.all) fileprivate func promptLogprobsAreTheResponses(setting: Setting) throws {
        var generation = GenerationConfig(maxNewTokens: 20, logprobs: 3)
        let response = try run(try core(setting), [EngineRequest(tokenIDs: prompt(40, seed: 9), generation: generation)])[0]
        generation = GenerationConfig(maxNewTokens: 0, promptLogprobs: 3)
        let read = try run(
            try core(setting), [EngineRequest(tokenIDs: prompt(40, seed: 9) + response.tokenIDs, generation: generation)])[0]
        #expect(try Array(#require(read.promptLogprobs).suffix(20)) == #require(response.logprobs))
    }
}
