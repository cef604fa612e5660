import Dispatch

/// The one thread of control that touches tensors: jobs of the engine's actor run here in order, off the cooperative pool, since a
/// step computes for a long time without suspending.
final class EngineExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "vlm.engine", qos: .userInitiated)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
