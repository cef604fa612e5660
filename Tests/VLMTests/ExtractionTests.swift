import TestKit
import Testing
import VLM

/// Values read out of a model's answers. The models are tiny or random, but their answers are held to the schema.
struct ExtractionTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32)

    @Test func theSchemaIsTheTypes() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let error = try await #require(throws: EngineError.self) {
                try await pipeline.extract(Int.self, "How many?", generation: GenerationConfig(responseFormat: .jsonObject))
            }
            #expect(error.kind == .invalidRequest && error.description.contains("responseFormat"))
            let several = try await #require(throws: EngineError.self) {
                try await pipeline.extract(Int.self, "How many?", generation: GenerationConfig(n: 2))
            }
            #expect(several.kind == .invalidRequest && several.description.contains("n must be 1"))
        }
    }
}
