import CCUDAKernels
import Tensors

// Attention with Hopper's asynchronous tensor cores. Operands were checked by the callers, which have other kernels for what is not
// done here.

extension CUDABackend {
    /// ``pagedAttention(_:cache:batch:options:into:)`` with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperPagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws -> Bool {
        let (blockSize, kvHeads) = (cache.blockSize, cache.kvHeads)
        // Single tokens are better split along their context.
        guard q.rows > batch.hostContextLengths.count, blockSize >= 16, blockSize & (blockSize - 1) == 0,
            let plan = hopperPlan(
                q, kvHeads: kvHeads, starts: batch.hostQueryStarts, contexts: batch.hostContextLengths, options, out)
        else { return false }
        let pageRows = min(blockSize, Int(VLM_HOPPER_KEYS.rawValue))
        func pages(_ tensor: Tensor) throws -> vlm_cuda_tensor_map {
            try tensorMap(
                tensor.pointer, dtype: tensor.dtype, sizes: SIMD4(q.shape[2], blockSize, tensor.shape[0] * kvHeads, 1),
                strides: SIMD4(q.shape[2], blockSize * q.shape[2], 0, 0), box: SIMD4(64, pageRows, 1, 1), rank: 3,
                swizzle: .bytes128)
        }
        var parameters = vlm_cuda_attention_hopper()
        parameters.k = try pages(cache.keys)
        parameters.v = try pages(cache.values)
        parameters.starts = UnsafePointer(batch.queryStarts.int32s)
        parameters.contexts = UnsafePointer(batch.contextLengths.int32s)
        parameters.tables = UnsafePointer(batch.blockTables.int32s)
        parameters.table_stride = Int64(batch.blockTables.rowStride)
        parameters.page_rows = Int32(pageRows)
        parameters.block_shift = Int32(blockSize.trailingZeroBitCount)
        parameters.window = Int32(clamping: options.window ?? Int(Int32.max))
        tell(&parameters, starts: batch.hostQueryStarts, contexts: batch.hostContextLengths)
        try launchHopper(&parameters, plan, q, kvHeads: kvHeads, options, into: out)
        return true
    }

    /// ``segmentedAttention(_:_:_:segments:hostSegments:options:into:)`` with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperSegmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws -> Bool {
        let kvHeads = k.shape[1]
        guard isBoxable(k), isBoxable(v), options.window == nil,
            let plan = hopperPlan(q, kvHeads: kvHeads, starts: hostSegments, contexts: nil, options, out)
        else { return false }
        func rows(_ tensor: Tensor) throws -> vlm_cuda_tensor_map {
            try tensorMap(
                tensor.pointer, dtype: tensor.dtype, sizes: SIMD4(q.shape[2], tensor.rows, kvHeads, 1),
                strides: SIMD4(tensor.rowStride, q.shape[2], 0, 0), box: SIMD4(64, Int(VLM_HOPPER_KEYS.rawValue), 1, 1), rank: 3,
                swizzle: .bytes128)
        }
        var parameters = vlm_cuda_attention_hopper()
        parameters.k = try rows(k)
        parameters.v = try rows(v)
        parameters.starts = UnsafePointer(segments.int32s)
        parameters.page_rows = Int32(VLM_HOPPER_KEYS.rawValue)
        parameters.window = .max
        tell(&parameters, starts: hostSegments, contexts: nil)
        try launchHopper(&parameters, plan, q, kvHeads: kvHeads, options, into: out)
        return true
    }

    /// nil when there is no kernel for these operands or it would take longer than others.
    private func hopperPlan(
        _ q: Tensor, kvHeads: Int, starts: [Int32], contexts: [Int32]?, _ options: AttentionOptions, _ out: Tensor
    ) -> HopperAttentionPlan? {
        let (heads, headSize) = (q.shape[1], q.shape[2])
        guard properties.isHopper, activationType != .float32, HopperAttentionPlan.headSizes.contains(headSize),
            options.softcap == nil, isBoxable(q), out.isAligned(pieces: headSize),
            let plan = HopperAttentionPlan(
                starts: starts, contexts: contexts, window: options.window, heads: heads, kvHeads: kvHeads, headSize: headSize,
                multiprocessors: properties.multiprocessors)
        else { return nil }
        return plan.isWorthIt ? plan : nil
    }

    /// Puts the lengths of few sequences beside the parameters; those of cached contexts change from replay to replay of a
    /// recorded step.
    private func tell(_ parameters: inout vlm_cuda_attention_hopper, starts: [Int32], contexts: [Int32]?) {
        parameters.sequences = Int32(starts.count - 1)
        guard contexts == nil || !isRecording, starts.count - 1 <= Int(VLM_HOPPER_KNOWN.rawValue) else { return }
        parameters.known = 1
        withUnsafeMutableBytes(of: &parameters.known_starts) { known in
            starts.withUnsafeBytes { known.copyMemory(from: $0) }
        }
        guard let contexts else { return }
        withUnsafeMutableBytes(of: &parameters.known_contexts) { known in
            contexts.withUnsafeBytes { known.copyMemory(from: $0) }
        }
    }

    /// Whether the copy engine can address the rows of a tensor.
    private func isBoxable(_ tensor: Tensor) -> Bool { tensor.rows > 0 && tensor.isAligned(pieces: tensor.shape[2]) }

    private func launchHopper(
        _ parameters: inout vlm_cuda_attention_hopper, _ plan: HopperAttentionPlan, _ q: Tensor, kvHeads: Int,
        _ options: AttentionOptions, into out: Tensor
    ) throws {
        let (heads, headSize) = (q.shape[1], q.shape[2])
        let group = heads / kvHeads
        parameters.q = try tensorMap(
            q.pointer, dtype: q.dtype, sizes: SIMD4(headSize, heads, q.rows, 1), strides: SIMD4(headSize, q.rowStride, 0, 0),
            box: SIMD4(64, group, plan.lastTokens, 1), rank: 3, swizzle: .bytes128)
        parameters.out = out.pointer
        parameters.out_stride = Int64(out.rowStride)
        parameters.tiles = Int32(plan.tiles)
        parameters.kv_heads = Int32(kvHeads)
        parameters.group = Int32(group)
        parameters.tile_tokens = Int32(plan.tileTokens)
        parameters.last_tokens = Int32(plan.lastTokens)
        // log2(e): the kernel's exponentials are powers of two.
        parameters.scale_log2 = options.scale * 1.442_695_04
        try launch(
            try kernel(.attentionHopper, "hopper_attention", headSize: headSize), Grid(plan.blocks),
            block: 128 + 128 * plan.groups, sharedBytes: plan.sharedBytes, overlaps: true, parameters)
    }
}
