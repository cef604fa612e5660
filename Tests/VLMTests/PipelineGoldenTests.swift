import Foundation
import JSON
import TestKit
import Testing
import VLM

/// The whole way of a request against transformers: messages and picture files in, token ids, logits and answers out.
struct PipelineGoldenTests {
    private func open(_ golden: Golden, dtype: EngineConfig.Precision = .float32) async throws -> Pipeline {
        try await Pipeline(model: golden.checkpoint, engineConfig: EngineConfig(device: .cpu, dtype: dtype, maxBatchSize: 4))
    }

    private func prompt(_ item: GoldenCase, of golden: Golden) throws -> Prompt {
        let json = JSONValue.array(item.messages).serialized()
        return try #require(try Prompt.conversations(openAI: json, relativeTo: Fixtures.path("models/\(golden.name)")).first)
    }

    /// Tokens before the first step that rounding could decide.
    private func certain(_ item: GoldenCase) -> [Int32] {
        Array(zip(item.greedyTokens, item.margins).prefix { $0.1 > 1e-3 }.map(\.0))
    }

    @Test(arguments: Golden.all) func tokensLogitsAndAnswersAreTheReferences(fixture: String) async throws {
        let golden = try Golden(fixture)
        let pipeline = try await open(golden)
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

    @Test(arguments: Golden.all) func bfloat16IsAsCloseAsTheReferencesOwn(fixture: String) async throws {
        let golden = try Golden(fixture)
        let pipeline = try await open(golden, dtype: .bfloat16)
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
