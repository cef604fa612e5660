import Layers
import Tensors

/// Runs passes whose rows come to the host, where they are recorded and tokens are chosen.
final class HostRunner {
    private let model: any LanguageModel
    private let cache: KVCache
    private let context: ForwardContext
    /// Most rows of logits at once, which the memory plan counts on.
    private let maxRows: Int
    private let rows: HostRows

    init(model: any LanguageModel, cache: KVCache, context: ForwardContext, maxRows: Int) {
        self.model = model
        self.cache = cache
        self.context = context
        self.maxRows = maxRows
        rows = HostRows(context: context)
    }

    /// Runs `batch` and lets its sequences choose their next tokens.
    ///
    /// - Parameters:
    ///   - submitted: called when the pass is under way and its positions count as cached.
    ///   - finished: called with each sequence that has ended.
    func run(
        _ batch: ForwardBatch, _ entries: [PassEntry], submitted: () -> Void, finished: (SequenceState) -> Void,
        failed: (SequenceState, any Error) -> Void
    ) throws {
        try context.workspace.scope {
            let hidden = try model.forward(batch, cache: cache, context: context)
            submitted()
            for first in stride(from: 0, to: batch.outputRows.count, by: maxRows) {
                let slice = first..<min(first + maxRows, batch.outputRows.count)
                let concerned = entries.filter { $0.outputs.overlaps(slice) }
                try context.workspace.scope {
                    let states = hidden.rows(slice)
                    let logits = HostRows.needLogits(concerned, in: slice) ? try model.logits(states, context: context) : nil
                    for entry in concerned {
                        try rows.take(entry, slice, hidden: states, logits: logits, finished: finished, failed: failed)
                    }
                }
            }
        }
    }

    /// The rows of a tensor on the host.
    func matrix(_ tensor: Tensor) throws -> OutputMatrix { try rows.matrix(tensor) }
}
