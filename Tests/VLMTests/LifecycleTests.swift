import CPUBackend
import Foundation
import TestKit
import Testing
import VLM

struct LifecycleTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32, cacheMaxEntryCount: 300)
    private let short = GenerationConfig(maxNewTokens: 8, ignoreEOS: true)
    private let long = GenerationConfig(maxNewTokens: 300, ignoreEOS: true)

    private func look(at name: String) -> Prompt {
        Prompt("What is this?", images: [.path(Fixtures.path("models/images/\(name).png"))])
    }

    private func kind(_ body: () async throws -> Void) async -> EngineError.Kind? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? EngineError)?.kind
        }
    }

    @Test func closingGivesAllMemoryBackAndFailsWhatIsPending() async throws {
        let pipeline = try await Pipeline(model: model, engineConfig: exact)
        let memory = pipeline.setup.memory
        _ = try await pipeline(look(at: "square"), generation: short)
        #expect(memory.liveBytes > 0)
        // One that runs, and more that wait.
        var stream = pipeline.stream("hello", generation: long).makeAsyncIterator()
        _ = try await stream.next()
        async let others = pipeline(Array(repeating: look(at: "square"), count: 40), generation: long)
        try await pipeline.close()
        var last: ResponsePiece?
        while let piece = try await stream.next() { last = piece }
        #expect((last?.response?.error as? EngineError)?.kind == .closed)
        let rest = try await others
        #expect(rest.allSatisfy { ($0.error as? EngineError)?.kind == .closed })
        #expect(memory.liveBytes == 0)

        try await pipeline.close()
        #expect(await kind { _ = try await pipeline("hello") } == .closed)
        #expect(await kind { try await pipeline.sleep() } == .closed)
        #expect(await kind { try await pipeline.wake() } == .closed)
        #expect(await kind { _ = try await pipeline.statistics() } == .closed)
        #expect(await kind { _ = try await pipeline.perplexity(of: ["hello"]) } == .closed)
        let chat = pipeline.chat()
        #expect(await kind { _ = try await chat("hello") } == .closed)
        // What needs no weights still works.
        let tokens = try pipeline.tokenize("hello")
        #expect(pipeline.detokenize(tokens) == "hello")
    }

    @Test func sleepingGivesMemoryBackAndWakingGoesOn() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let memory = pipeline.setup.memory
            let chat = pipeline.chat(generation: short)
            _ = try await chat("What is this?", images: [.path(Fixtures.path("models/images/square.png"))])
            let second = try await chat("Sure?")
            try await chat.rewind()
            let expected = try await pipeline("hello", generation: long)

            var stream = pipeline.stream("hello", generation: long).makeAsyncIterator()
            var text = try await stream.next()?.text ?? ""
            try await pipeline.sleep()
            try await pipeline.sleep()
            #expect(memory.liveBytes == 0)
            #expect(await kind { _ = try await pipeline("hello") } == .asleep)
            #expect(await kind { _ = try await chat("Sure?") } == .asleep)
            try await pipeline.wake()
            try await pipeline.wake()
            #expect(memory.liveBytes > 0)
            while let piece = try await stream.next() { text += piece.text }
            #expect(text == expected.text)
            #expect(try await chat("Sure?").tokenIDs == second.tokenIDs)

            try await pipeline.sleep()
            try await pipeline.close()
            #expect(memory.liveBytes == 0)
        }
    }

    @Test func reloadingReplacesTheModel() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let chat = pipeline.chat(generation: short)
            _ = try await chat("What is this?", images: [.path(Fixtures.path("models/images/square.png"))])
            let second = try await chat("Sure?")
            try await chat.rewind()
            try await pipeline.reload()
            #expect(try await chat("Sure?").tokenIDs == second.tokenIDs)

            // What cannot be loaded is found out before the model that runs goes.
            await #expect(throws: (any Error).self) { try await pipeline.reload(model: "/no/such/model") }
            #expect(try await pipeline("hello", generation: short).generatedTokenCount == 8)

            let old = pipeline.setup.memory
            try await pipeline.reload(model: Fixtures.path("models/qwen3/checkpoint"))
            #expect(old.liveBytes == 0)
            #expect(pipeline.model.hasSuffix("qwen3/checkpoint"))
            #expect(await kind { _ = try await pipeline(look(at: "square")) } == .unsupportedFeature)
            #expect(try await pipeline("hello", generation: short).generatedTokenCount == 8)

            // Pictures are looked at again by a model that can.
            try await pipeline.close()
            try await pipeline.reload(model: model)
            try await chat.rewind()
            #expect(try await chat("Sure?").tokenIDs == second.tokenIDs)
        }
    }
}
