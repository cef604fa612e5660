import Engine
import Imaging
import Layers
import Models
import Tensors
import Text
import VLM

/// Times whole requests, from decoded pictures and texts in the caller's hand to tokens in the caller's hand: preprocessing, template
/// and tokenizer included. Every request has its own picture and its own words, decoding is greedy and goes past end tokens.
struct RequestBenchmark {
    let pipeline: Pipeline
    let runs: Int
    /// How many requests run at once, one row for each.
    let counts: [Int]
    /// Width and height of the pictures.
    let imageSize: (width: Int, height: Int)
    /// Tokens of the long text.
    let promptTokens: Int
    let newTokens: Int

    private let textTokens = 64
    /// No request is like another, so that nothing remembered helps.
    private let seeds: FreshSeeds
    private let requests: SyntheticRequests
    private let textRequests: SyntheticRequests
    private let model: LoadedModel
    private let work: WorkEstimate
    private let clock = ContinuousClock()

    init(
        pipeline: Pipeline, runs: Int, counts: [Int], imageSize: (width: Int, height: Int), promptTokens: Int, newTokens: Int,
        seeds: FreshSeeds
    ) throws {
        self.pipeline = pipeline
        self.runs = runs
        self.counts = counts
        self.imageSize = imageSize
        self.promptTokens = promptTokens
        self.newTokens = newTokens
        self.seeds = seeds
        requests = SyntheticRequests(setup: pipeline.setup, imageSize: imageSize, textTokens: textTokens)
        textRequests = SyntheticRequests(setup: pipeline.setup, imageSize: nil, textTokens: textTokens)
        model = try pipeline.setup.outline()
        let placement = pipeline.setup.placement
        work = WorkEstimate(model: model, weightType: placement.weightType, cacheType: placement.cacheType)
    }

    /// - Parameter measured: gets each row as soon as it is there.
    func run(progress: (String) -> Void, measured: (Benchmark.Row) -> Void) async throws {
        // A text model is asked without pictures.
        let hasVision = model.vision != nil
        progress("one request")
        try await single(hasVision).forEach(measured)
        progress("long prompt")
        measured(try await text(tokens: promptTokens, key: "long_prompt"))
        if hasVision {
            for count in [1, 64] {
                progress("vision encoder, \(count) pictures")
                measured(try await vision(count))
            }
        }
        for count in counts {
            progress("\(count) requests")
            if hasVision { measured(try await together(count, new: 1, isStreamed: false)) }
            measured(try await together(count, new: newTokens, isStreamed: false))
            measured(try await together(count, new: newTokens, isStreamed: true))
        }
    }

    // MARK: Rows

    /// Time to the first token and the speed of the others, of one request at a time; then a text of as many tokens.
    private func single(_ hasVision: Bool) async throws -> [Benchmark.Row] {
        var first: [Double] = []
        var decode: [Double] = []
        var length = 0
        _ = try await Benchmark.measure(runs: runs) { _ in
            let prompt = try prompt(withPicture: hasVision)
            let times = try await timed(prompt, new: newTokens)
            first.append(times.first)
            decode.append(times.rest)
            length = times.inputTokens
        }
        let prefill = try requestOperations(tokens: length, withPicture: hasVision)
        let step = try work.language(tokens: 1, cached: length + newTokens / 2)
        let what = hasVision ? "picture + \(textTokens) tokens (\(length))" : "\(length) tokens"
        return [
            Benchmark.Row(
                key: "request_first_token", label: "first token, \(what)", seconds: Self.counted(first), amount: 1,
                unit: "requests", operations: prefill, bytes: nil),
            Benchmark.Row(
                key: "request_decode", label: "decode \(newTokens) tokens, one request", seconds: Self.counted(decode),
                amount: Double(newTokens - 1), unit: "tokens", operations: nil,
                bytes: (step.weightBytes + step.cacheBytes) * Double(newTokens - 1)),
            try await text(tokens: length, key: "text_first_token"),
        ]
    }

    private func text(tokens: Int, key: String) async throws -> Benchmark.Row {
        // What the template adds is not known before it has been asked.
        let sample = requests.words(16, seed: 1)
        let around =
            try await pipeline.prepare(Prompt(sample)).tokenIDs.count
            - pipeline.setup.tokenizer.encode(sample, addSpecialTokens: false).count
        var first: [Double] = []
        var length = 0
        _ = try await Benchmark.measure(runs: runs) { _ in
            let prompt = Prompt(try requests.text(tokens: max(tokens - around, 1), seed: seeds.next()))
            let times = try await timed(prompt, new: 1)
            first.append(times.first)
            length = times.inputTokens
        }
        return Benchmark.Row(
            key: key, label: "first token, \(length) tokens of text", seconds: Self.counted(first), amount: Double(length),
            unit: "tokens", operations: try work.language(tokens: length, cached: 0).operations, bytes: nil)
    }

    /// The vision encoder alone: pictures that are preprocessed, features that stay on the device.
    private func vision(_ count: Int) async throws -> Benchmark.Row {
        guard let processor = model.imageProcessor else { throw CancellationError() }
        let options = pipeline.setup.imageOptions
        let images = try (0..<count).map { _ in try processor.process(picture(), options: options) }
        let seconds = try await Benchmark.measure(runs: runs) { _ in
            try await pipeline.engine.withCore { try $0.encodeImages(images) }
        }
        let operations = try work.vision(images[0]).operations * Double(count)
        return Benchmark.Row(
            key: "vision_\(count)", label: "vision encoder, \(count) picture\(count == 1 ? "" : "s")", seconds: seconds,
            amount: Double(count), unit: "pictures", operations: operations, bytes: nil)
    }

    /// Many requests at once, from the first submission to the last token.
    private func together(_ count: Int, new: Int, isStreamed: Bool) async throws -> Benchmark.Row {
        let generation = GenerationConfig(maxNewTokens: new, ignoreEOS: true)
        let hasVision = model.vision != nil
        var seconds: [Double] = []
        var length = 0
        for run in 0...min(runs, 3) {
            let prompts = try (0..<count).map { _ in try prompt(withPicture: hasVision) }
            let start = clock.now
            if isStreamed {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for prompt in prompts {
                        group.addTask { [pipeline] in
                            for try await piece in pipeline.stream(prompt, generation: generation) {
                                if let error = piece.response?.error { throw error }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            } else {
                for response in try await pipeline(prompts, generation: generation) {
                    if let error = response.error { throw error }
                    length = response.inputTokenCount
                }
            }
            if run > 0 { seconds.append((clock.now - start) / .seconds(1)) }
        }
        if length == 0 { length = try await pipeline.prepare(prompt(withPicture: hasVision)).tokenIDs.count }
        let step = try work.language(tokens: 1, cached: length + new / 2)
        let bytes = Double(new - 1) * (step.weightBytes + Double(count) * step.cacheBytes)
        return Benchmark.Row(
            key: new == 1 ? "first_tokens_\(count)" : "requests_\(count)\(isStreamed ? "_streamed" : "")",
            label: new == 1
                ? "\(count) requests, 1 new token"
                : "\(count) requests of \(length) + \(new) tokens\(isStreamed ? ", streamed" : "")",
            seconds: seconds.sorted(), amount: Double(count * new), unit: "tokens",
            operations: Double(count) * (try requestOperations(tokens: length, withPicture: hasVision)),
            bytes: new == 1 ? nil : bytes)
    }

    // MARK: Requests

    private func requestOperations(tokens: Int, withPicture: Bool) throws -> Double {
        var operations = try work.language(tokens: tokens, cached: 0).operations
        if withPicture, let processor = model.imageProcessor {
            operations += try work.vision(processor.process(picture(), options: pipeline.setup.imageOptions)).operations
        }
        return operations
    }

    /// Seconds to the first token and from it to the last.
    private func timed(_ prompt: Prompt, new: Int) async throws -> (first: Double, rest: Double, inputTokens: Int) {
        let generation = GenerationConfig(maxNewTokens: new, ignoreEOS: true)
        let start = clock.now
        var first: ContinuousClock.Instant?
        for try await piece in pipeline.stream(prompt, generation: generation) {
            if first == nil, !piece.tokenIDs.isEmpty { first = clock.now }
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            let end = clock.now
            return (
                ((first ?? end) - start) / .seconds(1), (end - (first ?? end)) / .seconds(1),
                response.inputTokenCount
            )
        }
        throw CancellationError()
    }

    /// Without the first, which warms up.
    private static func counted(_ taken: [Double]) -> [Double] { taken.dropFirst().sorted() }

    private func prompt(withPicture: Bool) throws -> Prompt {
        try (withPicture ? requests : textRequests).prompt(seeds.next())
    }

    private func picture() throws -> RGBImage { try SyntheticRequests.picture(seeds.next(), imageSize) }
}
