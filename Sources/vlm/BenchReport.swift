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

/// Shows measured rows beside what the device allows.
struct BenchReport {
    let model: String
    let rows: [Benchmark.Row]
    let runs: Int
    /// Seconds from the start of loading to readiness.
    let loading: Double
    /// Peak resident memory of the process.
    let memory: Int
    /// Memory on the device, total first; empty on the CPU.
    let deviceMemory: [MemoryUse]
    let limits: BenchLimits

    func printText() {
        func column(_ text: String, _ width: Int) -> String {
            text.padding(toLength: max(width, text.count + 1), withPad: " ", startingAt: 0)
        }
        print(column("stage", 44) + column("median", 12) + column("min", 12) + column("rate", 20) + "of the ceiling")
        for row in rows {
            print(
                column(row.label, 44) + column(time(row.median), 12) + column(time(row.seconds[0]), 12)
                    + column("\(rounded(row.amount / row.median)) \(row.unit)/s", 20) + share(row))
        }
        print(
            "load \(time(loading)), peak resident memory \(MemoryPlan.format(memory)), \(limits.device), medians of \(runs) runs")
        if let total = deviceMemory.first {
            let parts = deviceMemory.dropFirst().filter { $0.peak >= 1 << 20 }.map {
                "\($0.purpose) \(MemoryPlan.format($0.peak))"
            }
            print("peak device memory \(MemoryPlan.format(total.peak)): \(parts.joined(separator: ", "))")
        }
    }

    private func share(_ row: Benchmark.Row) -> String {
        guard let floor = limits.floor(row) else { return "" }
        var of: [String] = []
        if row.operations != nil {
            let isLarge = limits.operations >= 1e13
            of.append("\(rounded(limits.operations / (isLarge ? 1e12 : 1e9))) \(isLarge ? "T" : "G")FLOP/s")
        }
        if row.bytes != nil { of.append("\(rounded(limits.readBandwidth / 1e9)) GB/s") }
        return "\(Int((floor / row.median * 100).rounded())) % of \(of.joined(separator: " and "))"
    }

    func printJSON() {
        var object = JSONObject([
            ("model", .string(model)), ("device", .string(limits.device)), ("runs", .integer(runs)),
            ("load_seconds", .number(loading)), ("peak_memory_bytes", .integer(memory)),
            (
                "peak_device_memory_bytes",
                .object(JSONObject(deviceMemory.map { ($0.purpose, .integer($0.peak)) }))
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
            object[row.key] = .object(entry)
        }
        print(JSONValue.object(object).serialized(indent: 2))
    }

    private func time(_ seconds: Double) -> String { seconds < 1 ? "\(rounded(seconds * 1000)) ms" : "\(rounded(seconds)) s" }
    private func rounded(_ value: Double) -> String { String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value) }
}
