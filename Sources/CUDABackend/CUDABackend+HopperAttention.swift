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
        let (sequences, blockSize, kvHeads) = (batch.hostContextLengths.count, cache.blockSize, cache.kvHeads)
        // Single tokens are better split along their context.
        guard q.rows > sequences, blockSize >= 16, blockSize & (blockSize - 1) == 0,
            let shape = hopperShape(q, kvHeads: kvHeads, options, out)
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
        try launchHopper(&parameters, shape, q, starts: batch.hostQueryStarts, kvHeads: kvHeads, options, into: out)
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
        // Short segments would leave most of a tile of rows and of keys empty.
        guard q.rows >= 128 * (hostSegments.count - 1), isBoxable(k), isBoxable(v), options.window == nil,
            let shape = hopperShape(q, kvHeads: kvHeads, options, out)
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
        try launchHopper(&parameters, shape, q, starts: hostSegments, kvHeads: kvHeads, options, into: out)
        return true
    }

    /// How the kernel cuts heads of one size.
    private struct HopperShape {
        /// Warpgroups that compute, 64 rows each.
        let groups: Int
        let tileTokens: Int
        let sharedBytes: Int
    }

    /// nil when there is no kernel for these operands.
    private func hopperShape(_ q: Tensor, kvHeads: Int, _ options: AttentionOptions, _ out: Tensor) -> HopperShape? {
        let (heads, headSize) = (q.shape[1], q.shape[2])
        guard properties.isHopper, activationType != .float32, KernelFile.attentionHopper.headSizes.contains(headSize),
            options.softcap == nil, isBoxable(q), out.isAligned(pieces: headSize)
        else { return nil }
        let groups = Int((headSize <= 64 ? VLM_HOPPER_GROUPS_NARROW : VLM_HOPPER_GROUPS_WIDE).rawValue)
        let tileTokens = groups * 64 / (heads / kvHeads)
        guard tileTokens > 0 else { return nil }
        let boxes = (headSize + 63) / 64
        let keyBytes = 2 * Int(VLM_HOPPER_STAGES.rawValue) * boxes * Int(VLM_HOPPER_KEYS.rawValue) * 128
        return HopperShape(groups: groups, tileTokens: tileTokens, sharedBytes: 1024 + boxes * groups * 64 * 128 + keyBytes)
    }

    /// Whether the copy engine can address the rows of a tensor.
    private func isBoxable(_ tensor: Tensor) -> Bool { tensor.rows > 0 && tensor.isAligned(pieces: tensor.shape[2]) }

    private func launchHopper(
        _ parameters: inout vlm_cuda_attention_hopper, _ shape: HopperShape, _ q: Tensor, starts: [Int32], kvHeads: Int,
        _ options: AttentionOptions, into out: Tensor
    ) throws {
        let (heads, headSize) = (q.shape[1], q.shape[2])
        let group = heads / kvHeads
        var tiles = 0
        for s in 0..<starts.count - 1 {
            tiles += (Int(starts[s + 1] - starts[s]) + shape.tileTokens - 1) / shape.tileTokens
        }
        parameters.q = try tensorMap(
            q.pointer, dtype: q.dtype, sizes: SIMD4(headSize, heads, q.rows, 1), strides: SIMD4(headSize, q.rowStride, 0, 0),
            box: SIMD4(64, group, shape.tileTokens, 1), rank: 3, swizzle: .bytes128)
        parameters.out = out.pointer
        parameters.out_stride = Int64(out.rowStride)
        parameters.sequences = Int32(starts.count - 1)
        parameters.tiles = Int32(tiles)
        parameters.kv_heads = Int32(kvHeads)
        parameters.group = Int32(group)
        parameters.tile_tokens = Int32(shape.tileTokens)
        parameters.last_tokens = Int32(shape.tileTokens)
        // log2(e): the kernel's exponentials are powers of two.
        parameters.scale_log2 = options.scale * 1.442_695_04
        try launch(
            try kernel(.attentionHopper, "hopper_attention", headSize: headSize),
            Grid(min(tiles * kvHeads, properties.multiprocessors)), block: 128 + 128 * shape.groups,
            sharedBytes: shape.sharedBytes, overlaps: true, parameters)
    }
}
