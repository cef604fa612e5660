import ArgumentParser
import CPUBackend
import Engine
import Imaging
import JSON
import Layers
import Models
import Tensors
import Text
import VLM

/// Times the stages of a model as a user meets them, and counts their work.
struct Benchmark {
    /// One measured stage.
    struct Row {
        let key: String
        let label: String
        /// Seconds of each run, sorted.
        let seconds: [Double]
        /// Tokens, pictures or requests that one run handles, and what they are called.
        let amount: Double
        let unit: String
        /// Floating-point operations and bytes one run cannot avoid; nil where that is not the measure.
        let operations: Double?
        let bytes: Double?
        /// What the row says beside its time, such as a share of another row's.
        var note: (key: String, value: Double, text: String)?

        var median: Double { seconds[seconds.count / 2] }
    }

    /// What can be asked for with `--stages`; `file` and `tokenize` are ``HostBenchmark``'s, the last ones ``ServingBenchmark``'s.
    enum Stage: String, CaseIterable, ExpressibleByArgument {
        case file, tokenize, preprocess, vision, prefill, decode, firstToken = "first-token", batch
        case secondQuestion = "second-question", many, scheduler

        static let ofServing: Set<Stage> = [.secondQuestion, .many, .scheduler]
        /// What is measured unless said otherwise.
        static let usual = Set(allCases).subtracting(ofServing)
    }

    let pipeline: Pipeline
    let runs: Int
    /// Width and height of the pictures.
    let imageSize: (width: Int, height: Int)
    let promptTokens: Int
    let newTokens: Int

    /// Each run has a prompt of its own, so that nothing remembered helps.
    private let seeds: FreshSeeds
    private let model: LoadedModel
    private let work: WorkEstimate
    private let weightType: DType

    init(
        pipeline: Pipeline, runs: Int, imageSize: (width: Int, height: Int), promptTokens: Int, newTokens: Int,
        seeds: FreshSeeds
    ) throws {
        self.pipeline = pipeline
        self.runs = runs
        self.imageSize = imageSize
        self.seeds = seeds
        self.promptTokens = promptTokens
        self.newTokens = newTokens
        model = try pipeline.setup.outline()
        weightType = pipeline.setup.placement.weightType
        work = WorkEstimate(model: model, weightType: weightType, cacheType: weightType)
    }

    /// Whether the model looks at pictures.
    var hasVision: Bool { model.vision != nil }

    // MARK: Stages

    /// - Parameter measured: gets each row as soon as it is there.
    func run(_ stages: Set<Stage>, progress: (String) -> Void, measured: (Row) -> Void) async throws {
        if hasVision, stages.contains(.preprocess) {
            progress("preprocessing")
            measured(try await preprocess())
        }
        if hasVision, stages.contains(.vision) {
            progress("vision encoder")
            measured(try await vision())
        }
        if stages.contains(.prefill) {
            progress("prefill")
            measured(try await prefill())
        }
        if stages.contains(.decode) {
            progress("decode")
            measured(try await decode())
        }
        if hasVision, stages.contains(.firstToken) {
            progress("first token")
            measured(try await firstToken())
        }
        if stages.contains(.batch) {
            progress("batch")
            measured(try await batch())
        }
    }

    private func preprocess() async throws -> Row {
        let image = try picture()
        let seconds = try await Benchmark.measure(runs: runs) { _ in _ = try process(image) }
        return Row(
            key: "preprocess", label: "preprocess picture", seconds: seconds, amount: 1, unit: "pictures", operations: nil,
            bytes: nil)
    }

    private func vision() async throws -> Row {
        var taken: [Double] = []
        let processed = try process(picture())
        _ = try await Benchmark.measure(runs: runs) { _ in
            let processed = try process(picture())
            let response = try await generate(tokens(around: processed, count: 32), [processed], new: 1)
            taken.append(response.timings.vision)
        }
        let cost = try work.vision(processed)
        return Row(
            key: "vision", label: "vision, one picture (\(processed.tokenCount) tokens)", seconds: Benchmark.counted(taken),
            amount: 1,
            unit: "pictures", operations: cost.operations, bytes: nil)
    }

    private func prefill() async throws -> Row {
        var taken: [Double] = []
        _ = try await Benchmark.measure(runs: runs) { _ in
            taken.append(try await generate(tokens(count: promptTokens), new: 1).timings.prefill)
        }
        let cost = try work.language(tokens: promptTokens, cached: 0)
        return Row(
            key: "prefill", label: "prefill \(promptTokens) tokens", seconds: Benchmark.counted(taken),
            amount: Double(promptTokens),
            unit: "tokens", operations: cost.operations, bytes: nil)
    }

    private func decode() async throws -> Row {
        let prompt = 32
        var taken: [Double] = []
        _ = try await Benchmark.measure(runs: runs) { _ in
            taken.append(try await generate(tokens(count: prompt), new: newTokens).timings.decode)
        }
        let steps = newTokens - 1
        let cost = try work.language(tokens: 1, cached: prompt + newTokens / 2)
        return Row(
            key: "decode", label: "decode, batch 1", seconds: Benchmark.counted(taken), amount: Double(steps), unit: "tokens",
            operations: nil, bytes: (cost.weightBytes + cost.cacheBytes) * Double(steps))
    }

    private func firstToken() async throws -> Row {
        let images = try (0...runs).map { _ in try picture() }
        let seconds = try await Benchmark.measure(runs: runs) { run in
            let processed = try process(images[run])
            _ = try await generate(tokens(around: processed, count: 32), [processed], new: 1)
        }
        return Row(
            key: "first_token", label: "first token, picture + 32 tokens", seconds: seconds, amount: 1, unit: "requests",
            operations: nil, bytes: nil)
    }

    /// As many requests as run together, each with its own prompt.
    private func batch() async throws -> Row {
        let size = try await pipeline.engine.withCore { $0.plan.maxBatchSize }
        let seconds = try await Benchmark.measure(runs: runs) { _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<size {
                    let prompt = tokens(count: 32)
                    group.addTask { [engine = pipeline.engine, newTokens] in
                        _ = try await Benchmark.generate(prompt, new: newTokens, on: engine)
                    }
                }
                try await group.waitForAll()
            }
        }
        return Row(
            key: "batch", label: "\(size) requests of 32 + \(newTokens) tokens", seconds: seconds,
            amount: Double(size * newTokens), unit: "tokens", operations: nil, bytes: nil)
    }

    // MARK: Running

    /// Wall-clock seconds of each run, sorted; the first, which warms up, is not counted.
    static func measure(runs: Int, _ body: (Int) async throws -> Void) async throws -> [Double] {
        let clock = ContinuousClock()
        var seconds: [Double] = []
        for run in 0...runs {
            let start = clock.now
            try await body(run)
            if run > 0 { seconds.append((clock.now - start) / .seconds(1)) }
        }
        return seconds.sorted()
    }

    /// Times the engine took itself, without the first run.
    private static func counted(_ taken: [Double]) -> [Double] { taken.dropFirst().sorted() }

    private func process(_ image: RGBImage) throws -> ProcessedImage {
        guard let processor = model.imageProcessor else { throw CancellationError() }
        return try processor.process(image, options: pipeline.setup.imageOptions)
    }

    private func generate(_ tokens: [Int32], _ images: [ProcessedImage] = [], new: Int) async throws -> Response {
        try await Benchmark.generate(tokens, images, new: new, on: pipeline.engine)
    }

    private static func generate(
        _ tokens: [Int32], _ images: [ProcessedImage] = [], new: Int, on engine: Engine
    ) async throws -> Response {
        let generation = GenerationConfig(maxNewTokens: new, ignoreEOS: true)
        for try await piece in engine.stream(EngineRequest(tokenIDs: tokens, images: images, generation: generation)) {
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            return response
        }
        throw CancellationError()
    }

    private func picture() throws -> RGBImage { try SyntheticRequests.picture(seeds.next(), imageSize) }

    /// Ordinary tokens that differ from call to call.
    private func tokens(count: Int) -> [Int32] {
        let random = RandomSource(seed: UInt64(seeds.next()))
        let limit = Double(min(pipeline.setup.tokenizer.vocabularySize, model.language.vocabularySize) * 9 / 10)
        return (0..<count).map { Int32(random.uniform(step: $0) * limit) }
    }

    private func tokens(around image: ProcessedImage, count: Int) throws -> [Int32] {
        let text = tokens(count: count)
        guard let rule = model.promptRule else { return text }
        let id = try rule.imageTokenID(lookup: pipeline.setup.tokenizer.tokenID)
        let ordinary = text.map { $0 == id ? $0 - 1 : $0 }
        return ordinary[..<(count / 2)] + [Int32](repeating: id, count: image.tokenCount) + ordinary[(count / 2)...]
    }
}
