import Foundation
import JSON
import TestKit
import Testing
import VLM

/// The whole way of a request against transformers: messages and picture files in, token ids, logits and answers out.
struct PipelineGoldenTests {
    /// The CPU, and a GPU where there is one.
    enum Place: CaseIterable {
        case cpu, gpu

        var choice: EngineConfig.DeviceChoice { self == .cpu ? .cpu : .cuda(0) }

        static let here: [Place] = {
            let setup = try? PipelineSetup(
                model: Golden("qwen3").checkpoint, engineConfig: EngineConfig(device: .cuda(0)), visionConfig: VisionConfig(),
                options: PipelineOptions())
            return setup == nil ? [.cpu] : [.cpu, .gpu]
        }()
    }

    private func open(
        _ golden: Golden, on place: Place = .cpu, dtype: EngineConfig.Precision = .float32
    ) async throws -> Pipeline {
        // A count of blocks: tests run side by side, and none may take the device's memory for itself.
        let config = EngineConfig(device: place.choice, dtype: dtype, maxBatchSize: 4, cacheMaxEntryCount: 300)
        return try await Pipeline(model: golden.checkpoint, engineConfig: config)
    }

    private func prompt(_ item: GoldenCase, of golden: Golden) throws -> Prompt {
        let json = JSONValue.array(item.messages).serialized()
        return try #require(try Prompt.conversations(openAI: json, relativeTo: Fixtures.path("models/\(golden.name)")).first)
    }

    /// Tokens before the first step that rounding could decide.
    private func certain(_ item: GoldenCase) -> [Int32] {
        Array(zip(item.greedyTokens, item.margins).prefix { $0.1 > 1e-3 }.map(\.0))
    }

    @Test(arguments: Golden.all, Place.here) func tokensLogitsAndAnswersAreTheReferences(
        fixture: String, on place: Place
    ) async throws {
        let golden = try Golden(fixture)
        let pipeline = try await open(golden, on: place)
        for item in golden.cases {
            let prompt = try prompt(item, of: golden)
            let trace = try await pipeline.trace(prompt)
            #expect(trace.tokenIDs == (try item.inputIDs), "\(item.name)")
            let logits = try item.floats("logits").values
            #expect(relativeL2(trace.logits.values, logits) < 1e-4, "\(item.name)")
            let generation = GenerationConfig(maxNewTokens: item.greedyTokens.count, ignoreEOS: true)
            let response = try await pipeline(prompt, generation: generation)
            let certain = certain(item)
            #expect(Array(response.tokenIDs.prefix(certain.count)) == certain, "\(item.name)")
            #expect(!certain.isEmpty)
        }
        try await pipeline.close()
    }

    @Test(arguments: Golden.all, Place.here) func bfloat16IsAsCloseAsTheReferencesOwn(
        fixture: String, on place: Place
    ) async throws {
        let golden = try Golden(fixture)
        let pipeline = try await open(golden, on: place, dtype: .bfloat16)
        for item in golden.cases {
            let trace = try await pipeline.trace(try prompt(item, of: golden))
            let error = relativeL2(trace.logits.values, try item.floats("logits").values)
            #expect(error < 1.5 * item.bfloat16RelativeL2, "\(item.name)")
        }
        try await pipeline.close()
    }

    @Test(arguments: Golden.all) func togetherAsAlone(fixture: String) async throws {
        let golden = try Golden(fixture)
        let pipeline = try await open(golden)
        let generation = GenerationConfig(maxNewTokens: 12, ignoreEOS: true)
        let prompts = try golden.cases.map { try prompt($0, of: golden) }
        var alone: [Response] = []
        for prompt in prompts { alone.append(try await pipeline(prompt, generation: generation)) }
        let together = try await pipeline(prompts + prompts, generation: generation)
        #expect(together.map(\.text) == (alone + alone).map(\.text))
        #expect(together.map(\.index) == Array(0..<2 * prompts.count))
        try await pipeline.close()
    }
}
