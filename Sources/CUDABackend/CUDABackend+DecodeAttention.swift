import Tensors

extension CUDABackend {
    /// ``pagedAttention(_:cache:batch:options:into:)`` when every sequence has one new token or is padding.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func decodeAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws -> Bool {
        false
    }
}
