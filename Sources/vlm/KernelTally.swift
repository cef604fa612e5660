import CUDABackend
import Synchronization

/// Prints compiled programs as they come from several threads, and counts them.
final class KernelTally: Sendable {
    private let state = Mutex((programs: 0, failures: 0))

    var counts: (programs: Int, failures: Int) { state.withLock { $0 } }

    func add(_ report: KernelReport) {
        state.withLock { state in
            state.programs += 1
            if let failure = report.failure {
                state.failures += 1
                print("FAILED \(report.target) \(report.program): \(failure)")
                return
            }
            let registers = report.functions.map(\.registers).max() ?? 0
            let spilled = report.functions.filter { $0.spilledBytes > 0 }.map { "\($0.name) spills \($0.spilledBytes) bytes" }
            print(
                "\(report.target) \(report.program): \(report.functions.count) kernels, at most \(registers) registers, "
                    + "\(report.codeBytes / 1024) KB" + (spilled.isEmpty ? "" : ", " + spilled.joined(separator: ", ")))
        }
    }
}
