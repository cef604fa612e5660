package import Tensors

/// A causal language model whose keys and values live in a paged cache.
///
/// One instance serves one backend and is used from the engine's executor only.
package protocol LanguageModel: AnyObject {
    /// V, rows of the embedding and of the head; at least the tokenizer's size.
    var vocabularySize: Int { get }
    /// D, the model's width.
    var hiddenSize: Int { get }
    /// The most positions the checkpoint was made for.
    var maxPositions: Int { get }
    /// The longest session that may be asked for: ``maxPositions``, or more where rotary positions stretch while the sequence grows.
    var longestSession: Int { get }
    /// What one token costs in the cache.
    var cacheLayout: KVCacheLayout { get }
    /// Axes of ``ForwardBatch/positions``: 1, or 3 for M-RoPE.
    var positionAxes: Int { get }
    /// Scalars in the weights.
    var parameterCount: Int { get }
    /// Whether a pass over a placed batch depends on its device arrays alone, so that it can be recorded and replayed.
    var canBeRecorded: Bool { get }

    /// Runs the batch, writes its keys and values to `cache` and returns `[outputRows, D]` after the final norm, in workspace
    /// memory.
    ///
    /// - Throws: ``TensorError`` when the workspace is too small or the device fails.
    func forward(_ batch: ForwardBatch, cache: KVCache, context: ForwardContext) throws -> Tensor
    /// The head: `hidden [n, D]` to `[n, V]` float32, in workspace memory.
    func logits(_ hidden: Tensor, context: ForwardContext) throws -> Tensor
}

extension LanguageModel {
    package var longestSession: Int { maxPositions }
    package var canBeRecorded: Bool { false }
}
