import Engine
import Imaging
import Text
import VLM

/// Measures what a service gains: from pictures that were seen before, and from requests that run together.
struct ServingBenchmark {
    let pipeline: Pipeline
    let runs: Int
    /// Width and height of the pictures; nil for text models.
    let imageSize: (width: Int, height: Int)?
    let newTokens: Int
    let seeds: FreshSeeds

    /// - Parameter measured: gets each row as soon as it is there.
    func run(
        _ stages: Set<Benchmark.Stage>, progress: (String) -> Void, measured: (Benchmark.Row) -> Void
    ) async throws {
        if stages.contains(.secondQuestion), let imageSize {
            progress("second questions")
            try await secondQuestion(imageSize).forEach(measured)
        }
        if stages.contains(.scheduler) {
            progress("scheduler")
            try scheduler().forEach(measured)
        }
        if stages.contains(.many) {
            progress("many requests")
            try await many("text", "text", nil, repeatsImages: false).forEach(measured)
            if imageSize != nil {
                try await many("repeated", "pictures seen before", imageSize, repeatsImages: true).forEach(measured)
                try await many("pictures", "new pictures", imageSize, repeatsImages: false).forEach(measured)
            }
        }
    }

    // MARK: Rows

    /// What the host does in a decoding step of 256 requests, on a device that computes nothing: scheduling alone, and with this model's
    /// tokenizer making the text.
    private func scheduler() throws -> [Benchmark.Row] {
        let benchmark = SchedulerBenchmark()
        func measure(_ key: String, _ label: String, _ tokenizer: (any Tokenizer)?) throws -> Benchmark.Row {
            let results = try (0..<runs).map { _ in try benchmark.run(tokenizer: tokenizer) }
            let p95 = results.map(\.p95).min() ?? 0
            return row(
                key, label, results.map { $0.median / 1e6 }, unit: "steps",
                note: ("p95_microseconds", p95, "95 % in \(Int(p95.rounded())) us"))
        }
        return [
            try measure("scheduler", "scheduling a step of \(benchmark.requests) requests", nil),
            try measure("scheduler_text", "the same, with the model's text", pipeline.setup.tokenizer),
        ]
    }

    /// The first token of a question about a new picture, and of another question about the same.
    private func secondQuestion(_ size: (width: Int, height: Int)) async throws -> [Benchmark.Row] {
        let requests = SyntheticRequests(setup: pipeline.setup, imageSize: size, textTokens: 32)
        var first: [Double] = []
        var second: [Double] = []
        for _ in 0...runs {
            let picture = seeds.next()
            first.append(try await firstToken(requests.prompt(seeds.next(), pictureSeed: picture)))
            second.append(try await firstToken(requests.prompt(seeds.next(), pictureSeed: picture)))
        }
        // The first pair warms up.
        let ratios = Percentiles(zip(second, first).dropFirst().map { $0 / $1 })
        return [
            row("first_question", "first token, picture + 32 tokens", Array(first.dropFirst())),
            row(
                "second_question", "first token, another question about it", Array(second.dropFirst()),
                note: ratios(0.5).map { ("share_of_first", $0, "\(Int(($0 * 100).rounded())) % of the first") }),
        ]
    }

    /// Requests one after the other, and as many at once as the engine runs on a CPU; by turns, because machines have better and worse
    /// moments.
    private func many(
        _ key: String, _ what: String, _ size: (width: Int, height: Int)?, repeatsImages: Bool
    ) async throws -> [Benchmark.Row] {
        let count = min(16, try await pipeline.engine.withCore { $0.plan.maxBatchSize })
        let requests = SyntheticRequests(setup: pipeline.setup, imageSize: size, textTokens: 32)
        let one = LoadBenchmark.Plan(
            concurrency: 1, requestCount: max(1, count / 4), newTokens: newTokens, repeatsImages: repeatsImages)
        var together = one
        together.concurrency = count
        together.requestCount = 2 * count
        let load = LoadBenchmark(pipeline: pipeline, requests: requests, plan: one)
        let pictures = seeds.next() << 24
        func rate(_ plan: LoadBenchmark.Plan) async throws -> Double {
            try await load.measure(plan, firstSeed: seeds.next() << 24, firstPicture: pictures).outputTokensPerSecond
        }
        var alone: [Double] = []
        var all: [Double] = []
        for _ in 0...runs {
            alone.append(try await rate(one))
            all.append(try await rate(together))
        }
        let ratios = Percentiles(zip(all, alone).dropFirst().map { $0 / $1 })
        func row(_ key: String, _ label: String, _ rates: [Double]) -> Benchmark.Row {
            Benchmark.Row(
                key: key, label: label, seconds: rates.dropFirst().map { Double(newTokens) / $0 }.sorted(),
                amount: Double(newTokens), unit: "tokens", operations: nil, bytes: nil)
        }
        var combined = row("together_\(key)", "\(count) at once, \(what)", all)
        combined.note = ratios(0.5).map { ("times_of_one", $0, "\(($0 * 100).rounded() / 100) times one") }
        return [row("alone_\(key)", "one at a time, \(what)", alone), combined]
    }

    // MARK: Requests

    private func row(
        _ key: String, _ label: String, _ seconds: [Double], unit: String = "requests",
        note: (key: String, value: Double, text: String)? = nil
    ) -> Benchmark.Row {
        var row = Benchmark.Row(
            key: key, label: label, seconds: seconds.sorted(), amount: 1, unit: unit, operations: nil, bytes: nil)
        row.note = note
        return row
    }

    /// Seconds from the call to the first token.
    private func firstToken(_ prompt: Prompt) async throws -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        for try await piece in pipeline.stream(prompt, generation: GenerationConfig(maxNewTokens: 1, ignoreEOS: true)) {
            let seconds = (clock.now - start) / .seconds(1)
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            return seconds
        }
        throw CancellationError()
    }
}
