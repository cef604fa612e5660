import Tensors

extension CUDABackend {
    /// ``pagedAttention(_:cache:batch:options:into:)`` with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperPagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws -> Bool {
        false
    }

    /// ``segmentedAttention(_:_:_:segments:hostSegments:options:into:)`` with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperSegmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws -> Bool {
        false
    }
}
