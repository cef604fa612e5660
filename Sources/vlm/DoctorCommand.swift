import ArgumentParser
import CPUBackend
import CUDABackend
import Engine
import Foundation
import Tensors
import VLM

/// `vlm doctor`: what this machine has, and whether it computes right.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Show devices, test the kernels and measure bandwidth and arithmetic.")

    @Option(help: "cpu, or cuda[:i] for one GPU; left out, the CPU is tested and GPUs are listed.")
    var device: EngineConfig.DeviceChoice?
    @Option(help: "Types to test a GPU in: float32, bfloat16, float16; all if left out.")
    var dtype: [EngineConfig.Precision] = []
    @Flag(
        help:
            "Few shapes and no measurements, for tools that watch every access to memory; with --compile-kernels few head sizes.")
    var quick = false
    @Option(help: "Test only operations whose names contain this.")
    var only: String?
    @Option(help: "CPU threads.")
    var threads: Int?
    @Option(
        help: ArgumentHelp(
            "Compile every GPU kernel and do nothing else; needs NVRTC and no GPU.", valueName: "sm_80,sm_90a,…"))
    var compileKernels: String?

    func validate() throws {
        if dtype.contains(.auto) { throw ValidationError("--dtype auto is no type to test; use float32, bfloat16 or float16") }
        if case .cuda = device { return }
        if !dtype.isEmpty {
            throw ValidationError("--dtype needs --device cuda; the CPU is always tested in both of its types")
        }
    }

    func run() throws {
        let options = CUDAOptions(environment: ProcessInfo.processInfo.environment)
        if let compileKernels { return try compile(compileKernels, options) }
        let failed =
            switch device {
            case nil, .auto: try describeMachine(options)
            case .cpu: try testCPU()
            case .cuda(let index):
                try DeviceDoctor(index: index, threads: threads, extent: quick ? .quick : .full, only: only, options: options)
                    .run(dtype.isEmpty ? [.float32, .bfloat16, .float16] : dtype.compactMap { DType(rawValue: $0.rawValue) })
            }
        if failed > 0 { throw ExitCode(1) }
    }

    /// Memory, GPUs and what is missing to use them; then the CPU's test.
    private func describeMachine(_ options: CUDAOptions) throws -> Int {
        print("memory: \(MemoryPlan.format(HostMemory.availableBytes)) available")
        let libraries = CUDALibraries(options)
        do {
            for each in try CUDABackend.devices(libraries) {
                let free =
                    (try? CUDABackend.freeBytes(libraries, index: each.index)).map { ", \(MemoryPlan.format($0)) free" } ?? ""
                print(
                    "cuda:\(each.index): \(each.name), compute capability \(each.major).\(each.minor), "
                        + "\(MemoryPlan.format(each.totalBytes))\(free)")
            }
        } catch {
            let isDrivers = [.noDriver, .driverTooOld].contains((error as? CUDAError)?.kind)
            print(isDrivers ? "cuda: not usable for want of a driver" : "cuda: not usable: \(error)")
        }
        for entry in libraries.report { print("\(entry.library): \(entry.finding)") }
        let demo = (try? PipelineSetup.folder(of: "demo")) ?? "not found"
        print("demo model: \(demo)")
        return try testCPU()
    }

    private func testCPU() throws -> Int {
        let fast = try CPUBackend(threads: threads, mode: .fast)
        let exact = try CPUBackend(threads: threads, mode: .exact)
        print(
            "cpu: \(fast.instructionSet.rawValue) kernels, \(fast.pool.threadCount) threads of \(CPUFeatures.usableCores) usable cores"
        )
        let reference = try CPUBackend(threads: 1, mode: .exact, instructionSet: .scalar)
        var failed = 0
        for (name, backend) in [("float32", exact), ("bfloat16", fast)] {
            let outcomes = try KernelSelfTest(reference: reference, candidate: backend).run(matching: only)
            for outcome in outcomes where !outcome.passed {
                print("FAILED \(name) \(outcome.described)")
                failed += 1
            }
            print("kernels, \(name): \(outcomes.summary) with the scalar reference")
        }
        guard !quick else { return failed }
        for ceilings in [try fast.ceilings(threads: 1), try fast.ceilings()] {
            print(
                "\(ceilings.threads) thread\(ceilings.threads == 1 ? "" : "s"): read \(format(ceilings.readBandwidth)) GB/s, "
                    + "float32 \(format(ceilings.float32)) GFLOP/s, bfloat16 \(format(ceilings.bfloat16)) GFLOP/s"
            )
        }
        return failed
    }

    private func compile(_ names: String, _ options: CUDAOptions) throws {
        let targets = try names.split(separator: ",").map { name in
            guard let target = KernelTarget(String(name)) else {
                throw ValidationError("\(name) is no architecture; give some such as sm_80,sm_89,sm_90a,sm_100")
            }
            return target
        }
        let libraries = CUDALibraries(options)
        let tally = KernelTally()
        for target in targets { try KernelReport.compileAll(target, isSelection: quick, libraries: libraries) { tally.add($0) } }
        let (programs, failures) = tally.counts
        print("\(programs) programs compiled for \(targets.map(\.description).joined(separator: ", ")), \(failures) refused")
        if failures > 0 { throw ExitCode(1) }
    }

    private func format(_ value: Double) -> String { String(format: "%.1f", value / 1e9) }
}

extension KernelSelfTest.Outcome {
    /// One line: what, how far off, how much is allowed or what went wrong.
    var described: String {
        error.map { "\(operation): \($0)" }
            ?? "\(operation): relative error \(String(format: "%.1e", relativeError)), at most \(String(format: "%.1e", bound)) is allowed"
    }
}

extension [KernelSelfTest.Outcome] {
    var summary: String {
        let worst = map(\.relativeError).filter(\.isFinite).max() ?? 0
        return "\(count(where: \.passed)) of \(count) agree, worst relative error \(String(format: "%.1e", worst)),"
    }
}
