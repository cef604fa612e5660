import CPUBackend
import CUDABackend
import Engine
import Foundation
import Tensors

/// Tests one GPU's kernels against the CPU and holds their speed against what the GPU was measured to do.
struct DeviceDoctor {
    let index: Int
    let threads: Int?
    let extent: KernelSelfTest.Extent
    /// Part of the names of the operations to test; with it nothing is measured.
    let only: String?
    let options: CUDAOptions

    /// - Returns: operations that failed.
    func run(_ types: [DType]) throws -> Int {
        let libraries = CUDALibraries(options)
        for entry in libraries.report { print("\(entry.library): \(entry.finding)") }
        let reference = try CPUBackend(threads: threads, mode: .exact)
        var failed = 0
        for type in types {
            let backend = try CUDABackend(index: index, activationType: type, options: options, libraries: libraries)
            if type == types.first {
                let properties = backend.properties
                print(
                    "\(backend.device): \(properties.name), compute capability \(properties.major).\(properties.minor), "
                        + "\(properties.multiprocessors) multiprocessors, \(MemoryPlan.format(try backend.freeBytes())) free")
            }
            failed += try test(backend, against: reference)
            if extent == .full, only == nil { try measure(backend) }
        }
        return failed
    }

    private func test(_ backend: CUDABackend, against reference: CPUBackend) throws -> Int {
        let type = backend.activationType.rawValue
        var failures = 0
        // A fault leaves the device unusable for the process: what comes after says nothing new.
        var isLost = false
        let outcomes = try KernelSelfTest(reference: reference, candidate: backend).run(extent, matching: only) { outcome in
            print("\(outcome.passed ? "ok    " : "FAILED") \(type) \(outcome.described)")
            failures += outcome.passed ? 0 : 1
            isLost = (outcome.error as? CUDAError)?.kind == .deviceLost
            return !isLost
        }
        print("kernels, \(type): \(outcomes.summary) with the CPU in float32")
        if isLost { print("the device is lost; run the rest with --only") }
        return failures
    }

    // MARK: Speed

    /// One line of the table.
    private struct Measurement {
        let name: String
        let seconds: Double
        var bytes: Int?
        var operations: Int?
    }

    private func measure(_ backend: CUDABackend) throws {
        let ceilings = try backend.ceilings()
        let type = backend.activationType.rawValue
        print(
            "\(type) ceilings: read \(format(ceilings.readBandwidth, 1e9)) GB/s, copy \(format(ceilings.copyBandwidth, 1e9)) GB/s, "
                + "product of 8192x8192 matrices \(format(ceilings.operations, 1e12)) TFLOP/s, "
                + "kernel \(format(ceilings.launch, 1e-6)) µs launched, \(format(ceilings.recordedLaunch, 1e-6)) µs recorded")
        for kind in [linears, attentions] {
            for measure in kind(backend) {
                do {
                    show(try measure(), ceilings, type)
                } catch {
                    print("FAILED \(type) measurement: \(error)")
                }
            }
        }
    }

    /// The products of a language model of 8 billion parameters (InternVL3-8B) for one to 4096 tokens, and of its vision encoder.
    private func linears(_ backend: CUDABackend) -> [() throws -> Measurement] {
        let decoder: [(String, Int, Int, LinearWeight.Combine)] = [
            ("qkv", 3584, 4608, .concatenated), ("output", 3584, 3584, .concatenated), ("gate, up", 3584, 37888, .gateUp),
            ("down", 18944, 3584, .concatenated), ("head", 3584, 151_680, .concatenated),
        ]
        let vision: [(String, Int, Int, LinearWeight.Combine)] = [
            ("vision qkv", 1024, 3072, .concatenated), ("vision mlp", 1024, 4096, .concatenated),
            ("vision mlp", 4096, 1024, .concatenated),
        ]
        let rows = [1, 4, 16, 64, 256, 331, 4096]
        return
            (decoder.flatMap { each in rows.filter { each.0 != "head" || $0 <= 256 }.map { (each, $0) } }
            + vision.flatMap { each in [1025, 8200].map { (each, $0) } })
            .map { each, rows in
                {
                    let (name, input, output, combine) = each
                    let (seconds, bytes, operations) = try backend.measureLinear(
                        rows: rows, inFeatures: input, outFeatures: output, combine: combine)
                    return Measurement(
                        name: "linear \(name) \(rows)x\(input)x\(output)", seconds: seconds, bytes: bytes, operations: operations)
                }
            }
    }

    private func attentions(_ backend: CUDABackend) -> [() throws -> Measurement] {
        let prefills: [() throws -> Measurement] = [331, 1024, 4096].map { tokens in
            {
                let (seconds, operations) = try backend.measurePagedAttention(
                    tokens: tokens, context: tokens, heads: 28, kvHeads: 4, headSize: 128)
                return Measurement(name: "prefill attention of \(tokens) tokens", seconds: seconds, operations: operations)
            }
        }
        let visions: [() throws -> Measurement] = [1, 8, 64].map { segments in
            {
                let (seconds, operations) = try backend.measureSegmentedAttention(
                    segments: segments, length: 1025, heads: 16, headSize: 64)
                return Measurement(name: "vision attention of \(segments) pictures", seconds: seconds, operations: operations)
            }
        }
        let decodes: [() throws -> Measurement] = [(1, 459), (1, 4096), (64, 459), (256, 459)].map { sequences, context in
            {
                let (seconds, bytes) = try backend.measureDecodeAttention(
                    sequences: sequences, context: context, heads: 28, kvHeads: 4, headSize: 128)
                return Measurement(
                    name: "decode attention of \(sequences) x \(context) tokens", seconds: seconds, bytes: bytes)
            }
        }
        return prefills + decodes + visions
    }

    private func show(_ measurement: Measurement, _ ceilings: DeviceCeilings, _ type: String) {
        let seconds = measurement.seconds
        var line = "\(type) \(measurement.name): \(format(seconds, 1e-6)) µs"
        var shares: [Double] = []
        if let bytes = measurement.bytes {
            let rate = Double(bytes) / seconds
            line += ", \(format(rate, 1e9)) GB/s"
            shares.append(rate / ceilings.readBandwidth)
        }
        if let operations = measurement.operations {
            let rate = Double(operations) / seconds
            line += ", \(format(rate, 1e12)) TFLOP/s"
            shares.append(rate / ceilings.operations)
        }
        if let share = shares.max() { line += ", \(Int((share * 100).rounded())) % of the ceiling" }
        print(line)
    }

    private func format(_ value: Double, _ unit: Double) -> String {
        let scaled = value / unit
        return String(format: scaled < 10 ? "%.2f" : scaled < 100 ? "%.1f" : "%.0f", scaled)
    }
}
