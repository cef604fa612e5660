import ArgumentParser
import CPUBackend
import Engine
import Foundation
import Imaging
import JSON
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
    @Option(help: "Tokens of the prefill.")
    var promptTokens = 512
    @Option(help: "Tokens of the decode.")
    var newTokens = 64
    @Option(help: "Counted runs of each stage, after one that warms up.")
    var runs = 5
    @Option(help: "text or json.")
    var output = RunCommand.Output.text

    func validate() throws {
        guard runs > 0, promptTokens > 0, newTokens > 1 else {
            throw ValidationError("--runs and --prompt-tokens must be positive, --new-tokens at least 2")
        }
    }

    func run() async throws {
        let stages = Set(self.stages.isEmpty ? Benchmark.Stage.allCases : self.stages)
        let host = try HostBenchmark(setup: model.setup(), runs: runs)
        var rows: [Benchmark.Row] = []
        if let image, stages.contains(.file) { rows.append(try await host.file(image)) }
        if let textFile, stages.contains(.tokenize) { rows.append(try await host.tokenize(readText(textFile))) }
        var loading = 0.0
        if !stages.isSubset(of: [.file, .tokenize]) {
            let started = ContinuousClock().now
            let pipeline = try await model.load()
            loading = (ContinuousClock().now - started) / .seconds(1)
            let benchmark = try Benchmark(
                pipeline: pipeline, runs: runs, image: try picture(), promptTokens: promptTokens, newTokens: newTokens)
            rows += try await benchmark.run(stages) { Terminal.status("\r\u{1B}[2KMeasuring \($0)") }
            try await pipeline.close()
        }
        let memory = HostMemory.residentBytes.peak
        Terminal.status("\r\u{1B}[2KMeasuring ceilings")
        let mode = host.setup.placement.cpuMode
        let ceilings = try CPUBackend(threads: host.setup.engineConfig.threads, mode: mode).ceilings()
        Terminal.status("\r\u{1B}[2K")
        let peak = mode == .exact ? ceilings.float32 : ceilings.bfloat16
        switch output {
        case .json: printJSON(rows, loading, memory, ceilings, peak)
        case .text: printText(rows, loading, memory, ceilings, peak)
        }
    }

    /// A picture of smooth colours with some texture, the same every time.
    private func picture() throws -> RGBImage {
        let parts = imageSize.split(separator: "x").compactMap { Int($0) }
        guard parts.count == 2, parts.allSatisfy({ (1...16384).contains($0) }) else {
            throw ValidationError("--image-size \(imageSize) is not WIDTHxHEIGHT, such as 448x448")
        }
        let (width, height) = (parts[0], parts[1])
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

    private func printText(_ rows: [Benchmark.Row], _ loading: Double, _ memory: Int, _ ceilings: Ceilings, _ peak: Double) {
        func column(_ text: String, _ width: Int) -> String {
            text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
        }
        print(column("stage", 44) + column("median", 12) + column("min", 12) + column("rate", 20) + "of the ceiling")
        for row in rows {
            var share = ""
            if let operations = row.operations {
                share = "\(percent(operations / row.median / peak)) of \(rounded(peak / 1e9)) GFLOP/s"
            } else if let bytes = row.bytes {
                share = "\(percent(bytes / row.median / ceilings.readBandwidth)) of \(rounded(ceilings.readBandwidth / 1e9)) GB/s"
            }
            print(
                column(row.label, 44) + column(time(row.median), 12) + column(time(row.seconds[0]), 12)
                    + column("\(rounded(row.amount / row.median)) \(row.unit)/s", 20) + share)
        }
        print(
            "load \(time(loading)), peak resident memory \(MemoryPlan.format(memory)), \(ceilings.threads) threads, medians of \(runs) runs"
        )
    }

    private func printJSON(_ rows: [Benchmark.Row], _ loading: Double, _ memory: Int, _ ceilings: Ceilings, _ peak: Double) {
        var object = JSONObject([
            ("model", .string(model.model)), ("threads", .integer(ceilings.threads)), ("runs", .integer(runs)),
            ("load_seconds", .number(loading)), ("peak_memory_bytes", .integer(memory)),
            ("read_bandwidth", .number(ceilings.readBandwidth)), ("peak_operations", .number(peak)),
        ])
        for row in rows {
            var entry = JSONObject([
                ("median_seconds", .number(row.median)), ("seconds", .array(row.seconds.map { .number($0) })),
                ("\(row.unit)_per_second", .number(row.amount / row.median)),
            ])
            if let operations = row.operations { entry["ceiling_share"] = .number(operations / row.median / peak) }
            if let bytes = row.bytes { entry["ceiling_share"] = .number(bytes / row.median / ceilings.readBandwidth) }
            object[row.key] = .object(entry)
        }
        print(JSONValue.object(object).serialized(indent: 2))
    }

    private func time(_ seconds: Double) -> String { seconds < 1 ? "\(rounded(seconds * 1000)) ms" : "\(rounded(seconds)) s" }
    private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
    private func rounded(_ value: Double) -> String { String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value) }
}
