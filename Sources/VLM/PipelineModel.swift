import Engine
import Synchronization

/// A model that was loaded, and what answers with it: one is replaced as a whole, so a request never meets another's tokens or pictures.
struct PipelineModel: Sendable {
    let engine: Engine
    let setup: PipelineSetup
    let preparer: RequestPreparer
    /// Sequences that run together.
    let maxBatchSize: Int

    init(_ setup: PipelineSetup, progress: (@Sendable (Double) -> Void)?) async throws {
        engine = Engine()
        self.setup = setup
        let (prompting, maxBatchSize) = try await engine.start {
            let (core, prompting) = try setup.makeCore(progress: progress)
            return (core, (prompting, core.plan.maxBatchSize))
        }
        self.maxBatchSize = maxBatchSize
        do {
            preparer = try RequestPreparer(setup: setup, model: prompting)
        } catch {
            await engine.close()
            throw error
        }
    }
}

/// The model of a pipeline.
final class CurrentModel: Sendable {
    private let model: Mutex<PipelineModel>

    init(_ model: PipelineModel) { self.model = Mutex(model) }

    var now: PipelineModel { model.withLock { $0 } }

    func replace(by new: PipelineModel) { model.withLock { $0 = new } }
}
