import ArgumentParser
import Engine
import Imaging
import Models
import Tensors
import VLM

/// `vlm bench`: how fast a model is here, and how close to what the machine allows.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure first token, vision, prefill, decode and batch speed against the machine's ceilings.")

    @OptionGroup var model: ModelOptions
    @Option(help: "Size of the picture, as WIDTHxHEIGHT.")
    var imageSize = "448x448"
    @Option(help: "A picture file; times reading, decoding and preprocessing it.")
    var image: String?
    @Option(help: "A text file; times encoding it.")
    var textFile: String?
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Stages to measure: \(Benchmark.Stage.allCases.map(\.rawValue).joined(separator: ", ")).",
            discussion: """
                Left out: all but \(Benchmark.Stage.allCases.filter(Benchmark.Stage.ofServing.contains).map(\.rawValue).joined(separator: ", ")). \
                With none but file and tokenize no weights are loaded.
                """, valueName: "stage"))
    var stages: [Benchmark.Stage] = []
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Measure whole requests instead: one alone, and so many at once. With --concurrency: how many requests in all.",
            discussion: "Each has a picture, 64 tokens of text and --new-tokens to generate.", valueName: "count"))
    var requests: [Int] = []
    @OptionGroup(title: "Load") var load: LoadOptions
    @Option(help: "Tokens of the prefill.")
    var promptTokens = 512
    @Option(help: "Tokens of the decode.")
    var newTokens = 64
    @Option(help: "Counted runs of each stage, after one that warms up.")
    var runs = 5
    @Option(help: "text or json.")
    var output = RunCommand.Output.text

    func validate() throws {
        guard runs > 0, promptTokens > 0, requests.allSatisfy({ $0 > 0 }) else {
            throw ValidationError("--runs, --prompt-tokens and --requests must be positive")
        }
        try load.validate(requests: requests)
        if load.concurrency != nil {
            guard stages.isEmpty, image == nil, textFile == nil else {
                throw ValidationError("--concurrency measures whole requests; leave --stages, --image and --text-file out")
            }
            guard newTokens > 0 else { throw ValidationError("--new-tokens must be positive") }
        } else if newTokens < 2 {
            throw ValidationError("--new-tokens must be at least 2, to time what follows the first")
        }
    }

    func run() async throws {
        if let concurrency = load.concurrency {
            try await runLoad(concurrency)
        } else {
            try await runStages()
        }
    }

    private func runLoad(_ concurrency: Int) async throws {
        if let plot = load.plot { try LoadOptions.checkWritable(plot) }
        let pipeline = try await model.load()
        let hasVision = try pipeline.setup.outline().vision != nil
        let size = hasVision ? try pictureSize() : nil
        let plan = LoadBenchmark.Plan(
            concurrency: concurrency, requestCount: requests.first ?? 4 * concurrency, rate: load.rate, newTokens: newTokens,
            repeatsImages: load.repeatImages, isGuided: load.guided)
        let benchmark = LoadBenchmark(
            pipeline: pipeline, requests: SyntheticRequests(setup: pipeline.setup, imageSize: size, textTokens: 64), plan: plan)
        Terminal.status("\r\u{1B}[2KMeasuring \(plan.requestCount) requests")
        let result = try await benchmark.run()
        Terminal.status("\r\u{1B}[2K")
        let report = LoadReport(
            model: model.model, device: pipeline.setup.placement.description, result: result, imageSize: size,
            hostMemory: HostMemory.residentBytes.peak,
            deviceMemory: try await pipeline.engine.withCore { $0.memoryUses.first?.peak ?? 0 })
        try await pipeline.close()
        if let plot = load.plot { try LoadOptions.write(LoadPlot(result: result, title: report.title).svg, to: plot) }
        switch output {
        case .json: report.printJSON()
        case .text: report.printText()
        }
    }

    private func runStages() async throws {
        let stages = self.stages.isEmpty && requests.isEmpty ? Benchmark.Stage.usual : Set(self.stages)
        let host = try HostBenchmark(setup: model.setup(), runs: runs)
        var report = BenchReport(model: model.model, runs: runs, output: output)
        if let image, stages.contains(.file) { report.add(try await host.file(image)) }
        if let textFile, stages.contains(.tokenize) { report.add(try await host.tokenize(readText(textFile))) }
        var loading = 0.0
        var deviceMemory: [MemoryUse] = []
        if !stages.isSubset(of: [.file, .tokenize]) || !requests.isEmpty {
            let started = ContinuousClock().now
            let pipeline = try await model.load()
            loading = (ContinuousClock().now - started) / .seconds(1)
            let show: (String) -> Void = { Terminal.status("\r\u{1B}[2KMeasuring \($0)") }
            let seeds = FreshSeeds()
            let benchmark = try Benchmark(
                pipeline: pipeline, runs: runs, imageSize: try pictureSize(), promptTokens: promptTokens, newTokens: newTokens,
                seeds: seeds)
            try await benchmark.run(stages, progress: show) { report.add($0) }
            let serving = ServingBenchmark(
                pipeline: pipeline, runs: runs, imageSize: benchmark.hasVision ? try pictureSize() : nil, newTokens: newTokens,
                seeds: seeds)
            try await serving.run(stages, progress: show) { report.add($0) }
            if !requests.isEmpty {
                let benchmark = try RequestBenchmark(
                    pipeline: pipeline, runs: runs, counts: requests, imageSize: try pictureSize(), promptTokens: promptTokens,
                    newTokens: newTokens, seeds: seeds)
                try await benchmark.run(progress: show) { report.add($0) }
            }
            if let report = try await pipeline.engine.withCore({ $0.timeReport }) { Terminal.lines(report) }
            deviceMemory = try await pipeline.engine.withCore { $0.memoryUses }
            try await pipeline.close()
        }
        let memory = HostMemory.residentBytes.peak
        Terminal.status("\r\u{1B}[2KMeasuring ceilings")
        let limits = try BenchLimits(host.setup)
        Terminal.status("\r\u{1B}[2K")
        report.finish(BenchReport.Totals(loading: loading, memory: memory, deviceMemory: deviceMemory, limits: limits))
    }

    private func pictureSize() throws -> (width: Int, height: Int) {
        let parts = imageSize.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 2, parts.allSatisfy({ (1...16384).contains($0) }) else {
            throw ValidationError("--image-size \(imageSize) is not WIDTHxHEIGHT, such as 448x448")
        }
        return (parts[0], parts[1])
    }
}
