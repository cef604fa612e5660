import CPUBackend
import CUDABackend
import Engine
import Foundation
import JSON
import Tensors
import VLM

/// What the device of a benchmark was measured to do right after it.
struct BenchLimits {
    /// Bytes per second.
    let readBandwidth: Double
    /// Floating-point operations per second in the type the model was computed in.
    let operations: Double
    /// The device in words.
    let device: String
    let threads: Int?

    /// - Throws: errors of the device.
    init(_ setup: PipelineSetup) throws {
        let placement = setup.placement
        if case .cuda(let index) = placement.device {
            let backend = try CUDABackend(index: index, activationType: placement.activationType, options: setup.options.cuda)
            let ceilings = try backend.ceilings()
            readBandwidth = ceilings.readBandwidth
            operations = ceilings.operations
            device = "\(backend.properties.name), \(placement.activationType.rawValue)"
            threads = nil
        } else {
            let mode = placement.cpuMode
            let ceilings = try CPUBackend(threads: setup.engineConfig.threads, mode: mode).ceilings()
            readBandwidth = ceilings.readBandwidth
            operations = mode == .exact ? ceilings.float32 : ceilings.bfloat16
            device = "\(ceilings.threads) threads"
            threads = ceilings.threads
        }
    }

    /// Seconds that a row's work takes at least, its arithmetic and its reading one after the other; nil when neither was counted.
    func floor(_ row: Benchmark.Row) -> Double? {
        guard row.operations != nil || row.bytes != nil else { return nil }
        return (row.operations ?? 0) / operations + (row.bytes ?? 0) / readBandwidth
    }
}

/// Shows rows as they are measured, and at the end what the device allows beside them.
///
/// What the device allows is measured last, so that its memory is not counted as the model's.
struct BenchReport {
    let model: String
    let runs: Int
    let output: RunCommand.Output
    private(set) var rows: [Benchmark.Row] = []

    init(model: String, runs: Int, output: RunCommand.Output) {
        self.model = model
        self.runs = runs
        self.output = output
    }

    /// Takes a row, and prints it at once unless one JSON object is wanted.
    mutating func add(_ row: Benchmark.Row) {
        defer { rows.append(row) }
        guard output == .text else { return }
        Terminal.status("\r\u{1B}[2K")
        if rows.isEmpty { line("stage", "median", "min", "rate") }
        line(
            row.label, time(row.median), time(row.seconds[0]),
            "\(rounded(row.amount / row.median)) \(row.unit)/s" + (row.note.map { ", \($0.text)" } ?? ""))
    }

    /// What is known of the whole process.
    struct Totals {
        /// Seconds from the start of loading to readiness.
        let loading: Double
        /// Peak resident memory of the process.
        let memory: Int
        /// Memory on the device, total first; empty on the CPU.
        let deviceMemory: [MemoryUse]
        let limits: BenchLimits
    }

    func finish(_ totals: Totals) {
        switch output {
        case .text: printText(totals)
        case .json: printJSON(totals)
        }
    }

    private func printText(_ totals: Totals) {
        let shares = rows.compactMap { row in share(row, totals.limits).map { (row.label, $0) } }
        if !shares.isEmpty { print("\nof the ceiling") }
        for (label, share) in shares { print(column(label, 44) + share) }
        print(
            "\nload \(time(totals.loading)), peak resident memory \(MemoryPlan.format(totals.memory)), \(totals.limits.device), "
                + "medians of \(runs) runs")
        if let total = totals.deviceMemory.first {
            let parts = totals.deviceMemory.dropFirst().filter { $0.peak >= 1 << 20 }.map {
                "\($0.purpose) \(MemoryPlan.format($0.peak))"
            }
            print("peak device memory \(MemoryPlan.format(total.peak)): \(parts.joined(separator: ", "))")
        }
    }

    private func share(_ row: Benchmark.Row, _ limits: BenchLimits) -> String? {
        guard let floor = limits.floor(row) else { return nil }
        var of: [String] = []
        if row.operations != nil {
            let isLarge = limits.operations >= 1e13
            of.append("\(rounded(limits.operations / (isLarge ? 1e12 : 1e9))) \(isLarge ? "T" : "G")FLOP/s")
        }
        if row.bytes != nil { of.append("\(rounded(limits.readBandwidth / 1e9)) GB/s") }
        return "\(Int((floor / row.median * 100).rounded())) % of \(of.joined(separator: " and "))"
    }

    private func printJSON(_ totals: Totals) {
        let limits = totals.limits
        var object = JSONObject([
            ("model", .string(model)), ("device", .string(limits.device)), ("runs", .integer(runs)),
            ("load_seconds", .number(totals.loading)), ("peak_memory_bytes", .integer(totals.memory)),
            (
                "peak_device_memory_bytes",
                .object(JSONObject(totals.deviceMemory.map { ($0.purpose, .integer($0.peak)) }))
            ),
            ("read_bandwidth", .number(limits.readBandwidth)), ("peak_operations", .number(limits.operations)),
        ])
        if let threads = limits.threads { object["threads"] = .integer(threads) }
        for row in rows {
            var entry = JSONObject([
                ("median_seconds", .number(row.median)), ("seconds", .array(row.seconds.map { .number($0) })),
                ("\(row.unit)_per_second", .number(row.amount / row.median)),
            ])
            if let floor = limits.floor(row) { entry["ceiling_share"] = .number(floor / row.median) }
            if let note = row.note { entry[note.key] = .number(note.value) }
            object[row.key] = .object(entry)
        }
        print(JSONValue.object(object).serialized(indent: 2))
    }

    private func line(_ name: String, _ median: String, _ least: String, _ rate: String) {
        Terminal.write(column(name, 44) + column(median, 12) + column(least, 12) + rate + "\n")
    }

    private func column(_ text: String, _ width: Int) -> String {
        text.padding(toLength: max(width, text.count + 1), withPad: " ", startingAt: 0)
    }

    private func time(_ seconds: Double) -> String { seconds < 1 ? "\(rounded(seconds * 1000)) ms" : "\(rounded(seconds)) s" }
    private func rounded(_ value: Double) -> String { String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value) }
}
