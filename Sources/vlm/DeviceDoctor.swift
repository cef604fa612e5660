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
            failed += try test(backend, against: reference, matching: only)
            if hasChoice(backend), only == nil {
                // Few products take the kernels of this GPU when they are free to choose.
                backend.linearPath = .hopper
                failed += try test(backend, against: reference, matching: "linear ")
                backend.linearPath = nil
            }
            if extent == .full, only == nil { try measure(backend) }
        }
        return failed
    }

    /// Whether products of many rows have two ways.
    private func hasChoice(_ backend: CUDABackend) -> Bool {
        backend.properties.isHopper && backend.activationType != .float32
    }

    private func test(_ backend: CUDABackend, against reference: CPUBackend, matching only: String?) throws -> Int {
        let type = backend.activationType.rawValue + (backend.linearPath.map { " by \($0.rawValue)" } ?? "")
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

    private struct Layer {
        let name: String
        let inFeatures, outFeatures: Int
        var combine = LinearWeight.Combine.concatenated
        var epilogue = LinearEpilogue.store
        let rows: [Int]

        var usedEpilogue: LinearEpilogue { combine == .gateUp ? .gated(.silu) : epilogue }
    }

    /// The products of a language model of 8 billion parameters (InternVL3-8B) for one to 4096 tokens, and of its vision encoder: by the
    /// kernels that are chosen for them, and on Hopper, where there is a choice, by the others too.
    private func linears(_ backend: CUDABackend) -> [() throws -> Measurement] {
        let rows = [1, 4, 16, 64, 256, 331, 1024, 4096]
        let tiles = [1025, 8200]
        let layers = [
            Layer(name: "qkv", inFeatures: 3584, outFeatures: 4608, rows: rows),
            Layer(name: "output", inFeatures: 3584, outFeatures: 3584, epilogue: .accumulate, rows: rows),
            Layer(name: "gate, up", inFeatures: 3584, outFeatures: 37888, combine: .gateUp, rows: rows),
            Layer(name: "down", inFeatures: 18944, outFeatures: 3584, epilogue: .accumulate, rows: rows),
            Layer(name: "head", inFeatures: 3584, outFeatures: 151_680, rows: [1, 4, 16, 64, 256]),
            Layer(name: "vision qkv", inFeatures: 1024, outFeatures: 3072, rows: tiles),
            Layer(name: "vision output", inFeatures: 1024, outFeatures: 1024, epilogue: .accumulate, rows: tiles),
            Layer(name: "vision mlp", inFeatures: 1024, outFeatures: 4096, epilogue: .activation(.gelu), rows: tiles),
            Layer(name: "vision mlp", inFeatures: 4096, outFeatures: 1024, epilogue: .accumulate, rows: tiles),
        ]
        return layers.flatMap { layer in
            layer.rows.flatMap { rows in
                var paths: [LinearPath?] = [nil]
                if hasChoice(backend), rows > 16 {
                    let prefersLibrary = LinearCosts.prefersLibrary(
                        rows: rows, features: layer.outFeatures, inFeatures: layer.inFeatures, epilogue: layer.usedEpilogue)
                    paths.append(prefersLibrary ? .hopper : .library)
                }
                return paths.map { path in { try measure(layer, rows: rows, by: path, backend) } }
            }
        }
    }

    private func measure(_ layer: Layer, rows: Int, by wanted: LinearPath?, _ backend: CUDABackend) throws -> Measurement {
        let (seconds, bytes, operations, path) = try backend.measureLinear(
            rows: rows, inFeatures: layer.inFeatures, outFeatures: layer.outFeatures, combine: layer.combine,
            epilogue: layer.usedEpilogue, by: wanted)
        let choice = wanted == nil ? "\(path.rawValue) (chosen)" : path.rawValue
        return Measurement(
            name: "linear \(layer.name) \(rows)x\(layer.inFeatures)x\(layer.outFeatures) by \(choice)", seconds: seconds,
            bytes: bytes, operations: operations)
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
