import Foundation
import TestKit
import Testing
import VLM

/// The public API as a user writes it: nothing here is `package`.
struct PipelineTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32)
    private let short = GenerationConfig(maxNewTokens: 8, ignoreEOS: true)

    private var picture: String {
        get throws {
            let folder = Fixtures.path("models/images")
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".png") }.sorted()
            return "\(folder)/\(try #require(names.first))"
        }
    }

    @Test func streamedTextIsTheWholeText() async throws {
        let image = try await loadImage(try picture)
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let whole = try await pipeline("What is this?", image, generation: short)
            var pieces = ""
            for try await piece in pipeline.stream("What is this?", image, generation: short) { pieces += piece.text }
            #expect(pieces == whole.text)
            #expect(whole.finishReason == .length)
            #expect(whole.generatedTokenCount == 8)
        }
    }

    @Test func placedImagesAreTheSameAsMessages() async throws {
        let image = try await loadImage(try picture)
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let placed = try await pipeline(Prompt("Is \(imageToken) like this?", images: [image]), generation: short)
            let messages = try await pipeline(
                [.user([.text("Is "), .image(.image(image)), .text(" like this?")])], generation: short)
            #expect(placed.tokenIDs == messages.tokenIDs)
            #expect(placed.inputTokenCount == messages.inputTokenCount)
            let before = try await pipeline("Is  like this?", image, generation: short)
            #expect(before.inputTokenCount > 0)
        }
    }

    @Test func aBadPromptInABatchFailsAlone() async throws {
        let path = try picture
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let responses = try await pipeline(
                ["one", Prompt("two", images: [.path("/no/such/picture.png")]), Prompt("three", images: [.path(path)])],
                generation: short)
            #expect(responses.map(\.finishReason) == [.length, .error, .length])
            #expect(responses[1].error is ImageError)
            #expect("\(responses[1].error.map { "\($0)" } ?? "")".contains("/no/such/picture.png"))
        }
    }

    @Test func marksAndImagesMustMatch() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            await #expect(throws: PromptError.self) {
                try await pipeline(Prompt("\(imageToken) and \(imageToken)", images: [.path("a.png")]))
            }
            await #expect(throws: PromptError.self) { try await pipeline([ChatMessage]()) }
            await #expect(throws: PromptError.self) { try await pipeline([ChatMessage(role: "nobody", content: [.text("x")])]) }
            // A placeholder of the template in the text would be taken for an image.
            await #expect(throws: PromptError.self) { try await pipeline("<|image_pad|>") }
        }
    }

    @Test func textModelsRefuseImages() async throws {
        let path = try picture
        try await withPipeline(model: Fixtures.path("models/qwen3/checkpoint"), engineConfig: exact) { pipeline in
            await #expect { try await pipeline(Prompt("look", images: [.path(path)])) } throws: { error in
                (error as? EngineError)?.kind == .unsupportedFeature
            }
        }
    }

    @Test func afterCloseRequestsAreRefused() async throws {
        let pipeline = try await Pipeline(model: model, engineConfig: exact)
        try await pipeline.close()
        try await pipeline.close()
        await #expect { try await pipeline("hello") } throws: { ($0 as? EngineError)?.kind == .closed }
    }

    @Test func droppedStreamsCancel() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            for try await _ in pipeline.stream("hello", generation: GenerationConfig(maxNewTokens: 400, ignoreEOS: true)) {
                break
            }
            // The engine goes on to serve others.
            #expect(try await pipeline("hello", generation: short).generatedTokenCount == 8)
        }
    }

    @Test func chatRemembersAndFailedTurnsLeaveNoTrace() async throws {
        let path = try picture
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let session = pipeline.chat(system: "Be brief.", generation: short)
            let first = try await session("What is this?", images: [.path(path)])
            await #expect(throws: ImageError.self) { try await session("And this?", images: [.path("/no/such.png")]) }
            #expect(await session.messages.count == 3)
            let second = try await session("Are you sure?")
            #expect(second.inputTokenCount > first.inputTokenCount + first.generatedTokenCount)
            #expect(await session.messages.map(\.role) == ["system", "user", "assistant", "user", "assistant"])
        }
    }

    @Test func sampledTextDependsOnItsSeedAlone() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let config = GenerationConfig(maxNewTokens: 12, temperature: 1, topK: 0, randomSeed: 5, ignoreEOS: true)
            let alone = try await pipeline("hello", generation: config)
            let together = try await pipeline(["first", "hello", "third one"], generation: config)
            #expect(together[1].text == alone.text)
            var other = config
            other.randomSeed = 6
            #expect(try await pipeline("hello", generation: other).tokenIDs != alone.tokenIDs)
        }
    }

    @Test func logitsAndLogprobsAgree() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            var config = short
            config.logprobs = 3
            config.outputLogits = .generation
            let response = try await pipeline("hello", generation: config)
            let logits = try #require(response.logits)
            let logprobs = try #require(response.logprobs)
            #expect(logits.rows == 8 && logprobs.count == 8)
            for (row, entry) in logprobs.enumerated() {
                let values = logits.values[row * logits.columns..<(row + 1) * logits.columns]
                let peak = values.max() ?? 0
                let normalizer = log(values.reduce(0.0) { $0 + exp(Double($1 - peak)) }) + Double(peak)
                let chosen = Double(values[values.startIndex + Int(entry.chosen.tokenID)]) - normalizer
                #expect(abs(chosen - Double(entry.chosen.logprob)) < 1e-4)
                #expect(entry.top.first?.tokenID == entry.chosen.tokenID)
                #expect(entry.top.count == 3)
            }
        }
    }
}
