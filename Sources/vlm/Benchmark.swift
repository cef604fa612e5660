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

        var median: Double { seconds[seconds.count / 2] }
    }

    /// What can be asked for with `--stages`; `file` and `tokenize` are ``HostBenchmark``'s.
    enum Stage: String, CaseIterable, ExpressibleByArgument {
        case file, tokenize, preprocess, vision, prefill, decode, firstToken = "first-token", batch
    }

    let pipeline: Pipeline
    let runs: Int
    let image: RGBImage?
    let promptTokens: Int
    let newTokens: Int

    private let model: LoadedModel
    private let work: WorkEstimate
    private let weightType: DType

    init(pipeline: Pipeline, runs: Int, image: RGBImage?, promptTokens: Int, newTokens: Int) throws {
        self.pipeline = pipeline
        self.runs = runs
        self.image = image
        self.promptTokens = promptTokens
        self.newTokens = newTokens
        model = try pipeline.setup.outline()
        weightType = pipeline.setup.placement.weightType
        work = WorkEstimate(model: model, weightType: weightType, cacheType: weightType)
    }

    // MARK: Stages

    func run(_ stages: Set<Stage>, progress: (String) -> Void) async throws -> [Row] {
        var rows: [Row] = []
        let image = model.vision == nil ? nil : image
        if let image, stages.contains(.preprocess) {
            progress("preprocessing")
            rows.append(try await preprocess(image))
        }
        if let image, stages.contains(.vision) {
            progress("vision encoder")
            rows.append(try await vision(image))
        }
        if stages.contains(.prefill) {
            progress("prefill")
            rows.append(try await prefill())
        }
        if stages.contains(.decode) {
            progress("decode")
            rows.append(try await decode())
        }
        if let image, stages.contains(.firstToken) {
            progress("first token")
            rows.append(try await firstToken(image))
        }
        if stages.contains(.batch) {
            progress("batch")
            rows.append(try await batch())
        }
        return rows
    }

    private func preprocess(_ image: RGBImage) async throws -> Row {
        let seconds = try await Benchmark.measure(runs: runs) { _ in _ = try process(image) }
        return Row(
            key: "preprocess", label: "preprocess picture", seconds: seconds, amount: 1, unit: "pictures", operations: nil,
            bytes: nil)
    }

    private func vision(_ image: RGBImage) async throws -> Row {
        let processed = try process(image)
        var taken: [Double] = []
        _ = try await Benchmark.measure(runs: runs) { run in
            let response = try await generate(tokens(around: processed, count: 32, run: run), [processed], new: 1)
            taken.append(response.timings.vision)
        }
        let cost = try work.vision(processed)
        return Row(
            key: "vision", label: "vision, one picture (\(processed.tokenCount) tokens)", seconds: measured(taken), amount: 1,
            unit: "pictures", operations: cost.operations, bytes: nil)
    }

    private func prefill() async throws -> Row {
        var taken: [Double] = []
        _ = try await Benchmark.measure(runs: runs) { run in
            taken.append(try await generate(tokens(count: promptTokens, run: run), new: 1).timings.prefill)
        }
        let cost = try work.language(tokens: promptTokens, cached: 0)
        return Row(
            key: "prefill", label: "prefill \(promptTokens) tokens", seconds: measured(taken), amount: Double(promptTokens),
            unit: "tokens", operations: cost.operations, bytes: nil)
    }

    private func decode() async throws -> Row {
        let prompt = 32
        var taken: [Double] = []
        _ = try await Benchmark.measure(runs: runs) { run in
            taken.append(try await generate(tokens(count: prompt, run: run), new: newTokens).timings.decode)
        }
        let steps = newTokens - 1
        let cost = try work.language(tokens: 1, cached: prompt + newTokens / 2)
        return Row(
            key: "decode", label: "decode, batch 1", seconds: measured(taken), amount: Double(steps), unit: "tokens",
            operations: nil, bytes: (cost.weightBytes + cost.cacheBytes) * Double(steps))
    }

    private func firstToken(_ image: RGBImage) async throws -> Row {
        let seconds = try await Benchmark.measure(runs: runs) { run in
            let processed = try process(image)
            _ = try await generate(tokens(around: processed, count: 32, run: run), [processed], new: 1)
        }
        return Row(
            key: "first_token", label: "first token, picture + 32 tokens", seconds: seconds, amount: 1, unit: "requests",
            operations: nil, bytes: nil)
    }

    /// As many requests as run together, each with its own prompt.
    private func batch() async throws -> Row {
        let size = try await pipeline.engine.withCore { $0.plan.maxBatchSize }
        let seconds = try await Benchmark.measure(runs: runs) { run in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<size {
                    let prompt = tokens(count: 32, run: run * size + index)
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
    private func measured(_ taken: [Double]) -> [Double] { taken.dropFirst().sorted() }

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

    /// Ordinary tokens that differ from run to run, so that nothing remembered helps.
    private func tokens(count: Int, run: Int) -> [Int32] {
        let random = RandomSource(seed: UInt64(run) &+ 1)
        let limit = Double(min(pipeline.setup.tokenizer.vocabularySize, model.language.vocabularySize) * 9 / 10)
        return (0..<count).map { Int32(random.uniform(step: $0) * limit) }
    }

    private func tokens(around image: ProcessedImage, count: Int, run: Int) throws -> [Int32] {
        let text = tokens(count: count, run: run)
        guard let rule = model.promptRule else { return text }
        let id = try rule.imageTokenID(lookup: pipeline.setup.tokenizer.tokenID)
        let ordinary = text.map { $0 == id ? $0 - 1 : $0 }
        return ordinary[..<(count / 2)] + [Int32](repeating: id, count: image.tokenCount) + ordinary[(count / 2)...]
    }
}
