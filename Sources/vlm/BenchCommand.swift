import ArgumentParser
import Engine
import Imaging
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
            discussion: "All if left out. With none but file and tokenize no weights are loaded.", valueName: "stage"))
    var stages: [Benchmark.Stage] = []
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Measure whole requests instead: one alone, and so many at once.",
            discussion: "Each has a picture, 64 tokens of text and --new-tokens to generate.", valueName: "count"))
    var requests: [Int] = []
    @Option(help: "Tokens of the prefill.")
    var promptTokens = 512
    @Option(help: "Tokens of the decode.")
    var newTokens = 64
    @Option(help: "Counted runs of each stage, after one that warms up.")
    var runs = 5
    @Option(help: "text or json.")
    var output = RunCommand.Output.text

    func validate() throws {
        guard runs > 0, promptTokens > 0, newTokens > 1, requests.allSatisfy({ $0 > 0 }) else {
            throw ValidationError("--runs, --prompt-tokens and --requests must be positive, --new-tokens at least 2")
        }
    }

    func run() async throws {
        let stages = Set(self.stages.isEmpty && requests.isEmpty ? Benchmark.Stage.allCases : self.stages)
        let host = try HostBenchmark(setup: model.setup(), runs: runs)
        var rows: [Benchmark.Row] = []
        if let image, stages.contains(.file) { rows.append(try await host.file(image)) }
        if let textFile, stages.contains(.tokenize) { rows.append(try await host.tokenize(readText(textFile))) }
        var loading = 0.0
        var deviceMemory: [MemoryUse] = []
        if !stages.isSubset(of: [.file, .tokenize]) || !requests.isEmpty {
            let started = ContinuousClock().now
            let pipeline = try await model.load()
            loading = (ContinuousClock().now - started) / .seconds(1)
            let show: (String) -> Void = { Terminal.status("\r\u{1B}[2KMeasuring \($0)") }
            let benchmark = try Benchmark(
                pipeline: pipeline, runs: runs, image: try picture(), promptTokens: promptTokens, newTokens: newTokens)
            rows += try await benchmark.run(stages, progress: show)
            if !requests.isEmpty {
                let benchmark = try RequestBenchmark(
                    pipeline: pipeline, runs: runs, counts: requests, imageSize: try pictureSize(), promptTokens: promptTokens,
                    newTokens: newTokens)
                rows += try await benchmark.run(progress: show)
            }
            if let report = try await pipeline.engine.withCore({ $0.timeReport }) { Terminal.lines(report) }
            deviceMemory = try await pipeline.engine.withCore { $0.memoryUses }
            try await pipeline.close()
        }
        let memory = HostMemory.residentBytes.peak
        Terminal.status("\r\u{1B}[2KMeasuring ceilings")
        let limits = try BenchLimits(host.setup)
        Terminal.status("\r\u{1B}[2K")
        let report = BenchReport(
            model: model.model, rows: rows, runs: runs, loading: loading, memory: memory, deviceMemory: deviceMemory,
            limits: limits)
        switch output {
        case .json: report.printJSON()
        case .text: report.printText()
        }
    }

    /// A picture of smooth colours with some texture, the same every time.
    private func picture() throws -> RGBImage {
        let (width, height) = try pictureSize()
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        for y in 0..<height {
            for x in 0..<width {
                let at = (y * width + x) * 3
                pixels[at] = UInt8(255 * x / width)
                pixels[at + 1] = UInt8(255 * y / height)
                pixels[at + 2] = UInt8(truncatingIfNeeded: x &* y)
            }
        }
        return try RGBImage(width: width, height: height, pixels: pixels)
    }

    private func pictureSize() throws -> (width: Int, height: Int) {
        let parts = imageSize.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 2, parts.allSatisfy({ (1...16384).contains($0) }) else {
            throw ValidationError("--image-size \(imageSize) is not WIDTHxHEIGHT, such as 448x448")
        }
        return (parts[0], parts[1])
    }
}
