import ArgumentParser
import CPUBackend
import Engine
import Foundation
import VLM

/// `vlm doctor`: what this machine has, and whether it computes right.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Show devices, test the kernels and measure bandwidth and arithmetic.")

    @Option(help: "CPU threads.")
    var threads: Int?

    func run() throws {
        let fast = try CPUBackend(threads: threads, mode: .fast)
        let exact = try CPUBackend(threads: threads, mode: .exact)
        print(
            "cpu: \(fast.instructionSet.rawValue) kernels, \(fast.pool.threadCount) threads of \(CPUFeatures.usableCores) usable cores"
        )
        print("memory: \(MemoryPlan.format(HostMemory.availableBytes)) available")
        let demo = (try? PipelineSetup.folder(of: "demo")) ?? "not found"
        print("demo model: \(demo)")

        let reference = try CPUBackend(threads: 1, mode: .exact, instructionSet: .scalar)
        var failed = 0
        for (name, backend, bound) in [("float32", exact, 2e-5), ("bfloat16", fast, 1.5e-2)] {
            let outcomes = try KernelSelfTest(reference: reference, candidate: backend, bound: bound).run()
            for outcome in outcomes where !outcome.passed {
                print("FAILED \(name) \(outcome.operation): relative error \(outcome.relativeError) exceeds \(outcome.bound)")
                failed += 1
            }
            let worst = outcomes.map(\.relativeError).max() ?? 0
            print(
                "kernels, \(name): \(outcomes.count - outcomes.count { !$0.passed }) of \(outcomes.count) agree with the scalar reference, worst relative error \(String(format: "%.1e", worst))"
            )
        }

        for ceilings in [try fast.ceilings(threads: 1), try fast.ceilings()] {
            print(
                "\(ceilings.threads) thread\(ceilings.threads == 1 ? "" : "s"): read \(format(ceilings.readBandwidth)) GB/s, "
                    + "float32 \(format(ceilings.float32)) GFLOP/s, bfloat16 \(format(ceilings.bfloat16)) GFLOP/s"
            )
        }
        if failed > 0 { throw ExitCode(1) }
    }

    private func format(_ value: Double) -> String { String(format: "%.1f", value / 1e9) }
}
