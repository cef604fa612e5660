import Foundation
import TestKit
import Testing
import VLM

#if canImport(Glibc)
import Glibc
#endif

/// What can be asked of a request, and what is refused.
struct RequestTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32, cacheMaxEntryCount: 300)
    private let short = GenerationConfig(maxNewTokens: 8, ignoreEOS: true)
    private let square = ImageSource.path(Fixtures.path("models/images/square.png"))

    private func kind(_ body: () async throws -> Void) async -> EngineError.Kind? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? EngineError)?.kind
        }
    }

    // MARK: Several responses

    @Test func severalResponsesFollowFromOneSeed() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            var generation = GenerationConfig(maxNewTokens: 12, temperature: 1, topK: 0, randomSeed: 5, ignoreEOS: true)
            let alone = try await pipeline("hello", generation: generation)
            generation.n = 3
            let several = try await pipeline.responses(to: "hello", generation: generation)
            #expect(several.map(\.choice) == [0, 1, 2])
            #expect(several[0].tokenIDs == alone.tokenIDs)
            #expect(Set(several.map(\.tokenIDs)).count == 3)
            let again = try await pipeline.responses(to: "hello", generation: generation)
            #expect(again.map(\.tokenIDs) == several.map(\.tokenIDs))
            #expect(await kind { _ = try await pipeline("hello", generation: generation) } == .invalidRequest)
            generation.n = 0
            #expect(await kind { _ = try await pipeline.responses(to: "hello", generation: generation) } == .invalidRequest)
        }
    }

    @Test func batchesOfSeveralResponsesAreInOrder() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let configs = [GenerationConfig(n: 2, maxNewTokens: 2, ignoreEOS: true), short]
            let bad = Prompt("?", images: [.path("/no/such.png")])
            let responses = try await pipeline(["a", "b"], generation: configs)
            #expect(responses.map { [$0.index, $0.choice, $0.generatedTokenCount] } == [[0, 0, 2], [0, 1, 2], [1, 0, 8]])
            let failed = try await pipeline([bad, "b"], generation: configs)
            #expect(failed.map { [$0.index, $0.choice] } == [[0, 0], [0, 1], [1, 0]])
            #expect(failed.map(\.finishReason) == [.error, .error, .length])
        }
    }

    @Test func oneConfigurationForEachPromptOrNone() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            for count in [0, 1, 3] {
                let configs = Array(repeating: short, count: count)
                await #expect { _ = try await pipeline(["a", "b"], generation: configs) } throws: { error in
                    (error as? EngineError)?.kind == .invalidRequest && "\(error)".contains("2 prompts and \(count)")
                }
            }
            #expect(try await pipeline([], generation: [GenerationConfig]()).isEmpty)
            var bad = short
            bad.topP = 2
            let responses = try await pipeline(["a", "b", "c"], generation: [short, bad, short])
            #expect(responses.map(\.finishReason) == [.length, .error, .length])
        }
    }

    @Test func batchesMayBeLargerThanTheQueue() async throws {
        var config = exact
        config.maxBatchSize = 2
        config.maxWaitingRequests = 1
        try await withPipeline(model: model, engineConfig: config) { pipeline in
            let prompts = (0..<40).map { Prompt("number \($0)") }
            let responses = try await pipeline(prompts, generation: GenerationConfig(maxNewTokens: 2, ignoreEOS: true))
            #expect(responses.map(\.index) == Array(0..<40))
            #expect(responses.allSatisfy { $0.error == nil })
        }
    }

    // MARK: Time

    /// A port that takes connections and never says anything.
    private func withSilentServer(_ body: (String) async throws -> Void) async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(listener >= 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        try #require(isBound)
        try await body("http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/picture.png")
    }

    @Test func aSlowPictureDelaysNobody() async throws {
        var options = PipelineOptions()
        options.imageLimits.allowPrivateAddresses = true
        options.imageLimits.timeoutSeconds = 60
        try await withSilentServer { address in
            try await withPipeline(model: model, engineConfig: exact, options: options) { pipeline in
                let ended = Shared(0)
                // More than there are cores.
                let slow = (0..<12).map { _ in
                    Task {
                        defer { ended.change { $0 += 1 } }
                        _ = try await pipeline(Prompt("?", images: [.url(address)]))
                    }
                }
                let quick = try await pipeline(Prompt("What is this?", images: [square]), generation: short)
                #expect(quick.generatedTokenCount == 8)
                #expect(ended.value == 0)
                for task in slow { task.cancel() }
                for task in slow { await #expect(throws: CancellationError.self) { try await task.value } }
            }
        }
    }

    @Test func aPictureThatDoesNotComeEndsInTime() async throws {
        var options = PipelineOptions()
        options.imageLimits.allowPrivateAddresses = true
        options.imageLimits.timeoutSeconds = 600
        try await withSilentServer { address in
            try await withPipeline(model: model, engineConfig: exact, options: options) { pipeline in
                #expect(
                    await kind {
                        _ = try await pipeline(
                            Prompt("?", images: [.url(address)]), options: RequestOptions(timeout: .milliseconds(200)))
                    } == .deadlineExceeded)
            }
        }
    }

    @Test func theTimeOfAnAnswerIsBounded() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let endless = GenerationConfig(maxNewTokens: nil, ignoreEOS: true)
            #expect(
                await kind {
                    _ = try await pipeline("hello", generation: endless, options: RequestOptions(timeout: .milliseconds(30)))
                } == .deadlineExceeded)
            #expect(await kind { _ = try await pipeline("a", options: RequestOptions(timeout: .zero)) } == .invalidRequest)
            #expect(await kind { _ = try await pipeline("a", options: RequestOptions(priority: 5000)) } == .invalidRequest)
        }
    }

    // MARK: Templates

    @Test func templatesAreToldArgumentsAndTools() async throws {
        let template = """
            {{ greeting }}{% if deep is defined and deep.list[1] %} yes{% endif %} {{ tools[0].function.name if tools else 'no tools' }} \
            {{ messages[0].content }}
            """
        try await withPipeline(
            model: model, engineConfig: exact, options: PipelineOptions(chatTemplate: template)
        ) { pipeline in
            func text(_ options: RequestOptions) async throws -> String {
                let prepared = try await pipeline.prepare("hello", options: options)
                return pipeline.detokenize(prepared.tokenIDs)
            }
            let plain = try await text(RequestOptions())
            #expect(plain == " no tools hello")
            let tools = #"[{"type": "function", "function": {"name": "look"}}]"#
            let options = RequestOptions(
                templateArguments: ["greeting": "Hi", "deep": .dictionary(["list": .list([false, true])])], tools: tools)
            let told = try await text(options)
            #expect(told == "Hi yes look hello")
            for bad in ["{", "{}", "[1]"] {
                await #expect(throws: PromptError.self) { try await pipeline("hello", options: RequestOptions(tools: bad)) }
            }
        }
    }

    // MARK: Scoring

    @Test func perplexityIsThatOfTheLogits() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let tokens = try pipeline.tokenize("The quick brown fox jumps over the lazy dog")
            let perplexities = try await pipeline.perplexity(of: [tokens, Array(tokens.prefix(2))])
            #expect(try await pipeline.perplexity(of: ["The quick brown fox jumps over the lazy dog"]) == [perplexities[0]])
            let request = EngineRequest(tokenIDs: tokens, generation: GenerationConfig(maxNewTokens: 0, outputLogits: .all))
            var logits: OutputMatrix?
            for try await piece in pipeline.engine.stream(request) { logits = piece.response?.logits ?? logits }
            let matrix = try #require(logits)
            func likelihood(_ row: Int) -> Double {
                let values = matrix.values[row * matrix.columns..<(row + 1) * matrix.columns].map(Double.init)
                let peak = values.max() ?? 0
                return peak + log(values.reduce(0) { $0 + exp($1 - peak) }) - values[Int(tokens[row + 1])]
            }
            let mean = (0..<tokens.count - 1).reduce(0) { $0 + likelihood($1) } / Double(tokens.count - 1)
            #expect(abs(perplexities[0] / exp(mean) - 1) < 1e-4)
            #expect(abs(perplexities[1] / exp(likelihood(0)) - 1) < 1e-4)
            #expect(await kind { _ = try await pipeline.perplexity(of: [tokens, [1]]) } == .invalidRequest)
            let endless = Array(repeating: Int32(5), count: 1 << 20)
            #expect(await kind { _ = try await pipeline.perplexity(of: [endless]) } == .contextLengthExceeded)
        }
    }

    @Test func embeddingsAreTheLastHiddenStates() async throws {
        try await withPipeline(model: model, engineConfig: exact) { pipeline in
            let prompts = [Prompt("hello"), Prompt("What is this?", images: [square])]
            let last = try await pipeline.embed(prompts)
            let mean = try await pipeline.embed(prompts, pooling: .mean)
            for (index, prompt) in prompts.enumerated() {
                let states = try #require(
                    try await pipeline(
                        prompt, generation: GenerationConfig(maxNewTokens: 0, outputLastHiddenState: .all)
                    ).lastHiddenState)
                let row = Array(states.values.suffix(states.columns))
                #expect(relativeL2(last[index], row) < 1e-5)
                var sum = [Float](repeating: 0, count: states.columns)
                for (position, value) in states.values.enumerated() { sum[position % states.columns] += value }
                #expect(relativeL2(mean[index], sum.map { $0 / Float(states.rows) }) < 1e-4)
            }
            await #expect(throws: ImageError.self) {
                _ = try await pipeline.embed([Prompt("?", images: [.path("/no/such.png")])])
            }
        }
    }
}
