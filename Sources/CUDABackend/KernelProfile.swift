import CCUDA
import Foundation

/// The device time of each kind of kernel, measured by events around every launch (`VLM_CUDA_PROFILE=1`).
///
/// Work is then not recorded and launches do not overlap, so a whole step takes longer than usual; what is comparable is each kernel's own time,
/// which includes what the device waits for the host.
final class KernelProfile {
    private struct Sample {
        let name: String
        let start: OpaquePointer
        let end: OpaquePointer
    }

    private struct Total {
        var count = 0
        var seconds = 0.0
        var least = Double.infinity
    }

    private let context: DeviceContext
    private var samples: [Sample] = []
    private var totals: [String: Total] = [:]
    private static let mostSamples = 2048

    init(_ context: DeviceContext) { self.context = context }

    /// Runs `launch` between two events.
    func measure(_ name: @autoclosure () -> String, _ launch: () throws -> Void) throws {
        if samples.count >= KernelProfile.mostSamples { collect() }
        let (start, end) = (try context.takeEvent(), try context.takeEvent())
        let api = context.cuda.api
        _ = api.pointee.cuEventRecord(start, context.stream)
        try launch()
        _ = api.pointee.cuEventRecord(end, context.stream)
        samples.append(Sample(name: name(), start: start, end: end))
    }

    private func collect() {
        let api = context.cuda.api
        _ = api.pointee.cuStreamSynchronize(context.stream)
        for sample in samples {
            var milliseconds: Float = 0
            if api.pointee.cuEventElapsedTime(&milliseconds, sample.start, sample.end) == 0 {
                let seconds = Double(milliseconds) / 1000
                totals[sample.name, default: Total()].count += 1
                totals[sample.name, default: Total()].seconds += seconds
                totals[sample.name, default: Total()].least = min(totals[sample.name]?.least ?? seconds, seconds)
            }
            context.giveBack(event: sample.start)
            context.giveBack(event: sample.end)
        }
        samples.removeAll(keepingCapacity: true)
    }

    /// A line for each kernel, the one that took longest first.
    func report() -> String {
        collect()
        let all = totals.values.reduce(0) { $0 + $1.seconds }
        var text = String(format: "device time %.1f ms\n", all * 1000)
        for (name, total) in totals.sorted(by: { $0.value.seconds > $1.value.seconds }) {
            text += String(
                format: "%8.2f ms %5.1f%% %7d x %8.1f us (least %.1f)  ", total.seconds * 1000, 100 * total.seconds / all,
                total.count,
                total.seconds / Double(total.count) * 1e6, total.least * 1e6)
            text += name + "\n"
        }
        return text
    }
}
