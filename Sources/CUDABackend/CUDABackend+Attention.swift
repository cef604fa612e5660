import CCUDAKernels
package import Tensors

/// Attention. Scores, the softmax and sums are float32; with 16-bit activations, softmax weights are rounded to their type for the
/// product with the values.
///
/// Kernels for one new token per sequence and for Hopper are asked first; what they leave is computed by the kernels here, on tensor
/// cores where rows are aligned for them, otherwise in float32.
extension CUDABackend {
    package func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {
        let operation = "pagedAttention"
        try checkHeads(q, kvHeads: cache.kvHeads, headSize: cache.headSize, options, into: out, operation)
        let (keys, values, blockSize) = (cache.keys, cache.values, cache.blockSize)
        guard keys.dtype == activationType, values.dtype == activationType, values.shape == keys.shape, keys.shape.rank == 4,
            keys.isContiguous, values.isContiguous, blockSize > 0, blockSize & (blockSize - 1) == 0
        else {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "keys \(keys.shape) of \(keys.dtype) and values \(values.shape) of \(values.dtype) must be contiguous "
                    + "\(activationType) [blocks, G, blockSize, E], blockSize a power of two")
        }
        let (starts, contexts, tables) = (batch.hostQueryStarts, batch.hostContextLengths, batch.blockTables)
        guard starts.count == contexts.count + 1, starts.first == 0, Int(starts[contexts.count]) == q.rows,
            batch.queryStarts.dtype == .int32, batch.queryStarts.count == starts.count,
            batch.contextLengths.dtype == .int32, batch.contextLengths.count == contexts.count,
            tables.dtype == .int32, tables.rows >= contexts.count, tables.shape.rank == 2 || contexts.isEmpty
        else {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "\(starts.count) query starts, \(contexts.count) context lengths and block tables \(tables.shape) of "
                    + "\(tables.dtype) do not describe the \(q.rows) rows of q")
        }
        try batch.checkEnds(operation)
        guard q.rows > 0 else { return }
        if batch.ends == nil {
            if try decodeAttention(q, cache: cache, batch: batch, options: options, into: out) { return }
            if try hopperPagedAttention(q, cache: cache, batch: batch, options: options, into: out) { return }
        }

        var work = AttentionWork(rowsPerToken: q.shape[1] / cache.kvHeads)
        for s in contexts.indices {
            let new = Int(starts[s + 1] - starts[s])
            work.add(tokens: new, keys: min(Int(contexts[s]), options.window.map { $0 + new } ?? .max))
        }
        var parameters = attention(q, kvHeads: cache.kvHeads, starts: batch.queryStarts, options, into: out)
        parameters.k = UnsafeRawPointer(keys.pointer)
        parameters.v = UnsafeRawPointer(values.pointer)
        parameters.contexts = UnsafeRawPointer(batch.contextLengths.pointer)
        parameters.tables = UnsafeRawPointer(tables.pointer)
        parameters.ends = batch.ends.map { UnsafeRawPointer($0.pointer) }
        parameters.table_stride = Int32(tables.rowStride)
        parameters.block_shift = Int32(blockSize.trailingZeroBitCount)
        parameters.window = Int32(clamping: options.window ?? 0)
        try launch(
            &parameters, .paged, work, headSize: cache.headSize,
            aligned: q.isAligned(pieces: cache.headSize) && out.isAligned(pieces: cache.headSize)
                && keys.isAligned(pieces: cache.headSize) && values.isAligned(pieces: cache.headSize))
    }

    package func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws {
        let operation = "segmentedAttention"
        guard k.shape.rank == 3, v.shape == k.shape, k.rows == q.rows, k.dtype == activationType, v.dtype == activationType
        else {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "keys \(k.shape) of \(k.dtype) and values \(v.shape) of \(v.dtype) must be \(activationType) [T, G, E] "
                    + "for queries \(q.shape)")
        }
        try checkHeads(q, kvHeads: k.shape[1], headSize: k.shape[2], options, into: out, operation)
        guard options.window == nil else {
            throw TensorError(.unsupported, operation: operation, detail: "segments have no sliding window; cut them smaller")
        }
        let count = hostSegments.count - 1
        var work = AttentionWork(rowsPerToken: q.shape[1] / k.shape[1])
        var ascending = count >= 0 && hostSegments[0] == 0 && Int(hostSegments[count]) == q.rows
        for s in 0..<max(count, 0) {
            let length = Int(hostSegments[s + 1]) - Int(hostSegments[s])
            ascending = ascending && length >= 0
            work.add(tokens: length, keys: length)
        }
        guard ascending, segments.dtype == .int32, segments.count == hostSegments.count else {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "\(hostSegments.count) segment starts (\(segments.shape) of \(segments.dtype) on the device) must ascend "
                    + "from 0 to the \(q.rows) rows of q")
        }
        guard q.rows > 0 else { return }
        if try hopperSegmentedAttention(q, k, v, segments: segments, hostSegments: hostSegments, options: options, into: out) {
            return
        }
        var parameters = attention(q, kvHeads: k.shape[1], starts: segments, options, into: out)
        parameters.k = UnsafeRawPointer(k.pointer)
        parameters.v = UnsafeRawPointer(v.pointer)
        parameters.k_stride = Int64(k.rowStride)
        parameters.v_stride = Int64(v.rowStride)
        try launch(
            &parameters, .segmented, work, headSize: k.shape[2],
            aligned: q.isAligned(pieces: k.shape[2]) && out.isAligned(pieces: k.shape[2]) && k.isAligned(pieces: k.shape[2])
                && v.isAligned(pieces: k.shape[2]))
    }

    private func checkHeads(
        _ q: Tensor, kvHeads: Int, headSize: Int, _ options: AttentionOptions, into out: Tensor, _ operation: String
    ) throws {
        guard q.dtype == activationType, out.dtype == activationType, q.shape.rank == 3, out.shape == q.shape,
            q.shape[2] == headSize, kvHeads > 0, headSize > 0, q.shape[1] % kvHeads == 0
        else {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "q \(q.shape) of \(q.dtype) and out \(out.shape) of \(out.dtype) must be \(activationType) "
                    + "[T, H, \(headSize)], H a multiple of the \(kvHeads) key-value heads")
        }
        guard options.scale > 0, options.scale.isFinite, options.softcap.map({ $0 > 0 }) ?? true,
            options.window.map({ $0 > 0 }) ?? true
        else {
            throw TensorError(
                .unsupported, operation: operation,
                detail:
                    "scale \(options.scale), window \(options.window ?? 0) and softcap \(options.softcap ?? 0) must be positive")
        }
    }

    /// What both kinds share.
    private func attention(
        _ q: Tensor, kvHeads: Int, starts: Tensor, _ options: AttentionOptions, into out: Tensor
    ) -> vlm_cuda_attention {
        var parameters = vlm_cuda_attention()
        parameters.q = UnsafeRawPointer(q.pointer)
        parameters.out = out.pointer
        parameters.starts = UnsafeRawPointer(starts.pointer)
        parameters.q_stride = Int64(q.rowStride)
        parameters.out_stride = Int64(out.rowStride)
        parameters.rows = Int32(q.rows)
        parameters.sequences = Int32(starts.count - 1)
        parameters.heads = Int32(q.shape[1])
        parameters.kv_heads = Int32(kvHeads)
        parameters.splits = 1
        parameters.scale = options.scale
        parameters.softcap = options.softcap ?? 0
        return parameters
    }

    /// Launches what the plan says. `aligned`: rows can be copied 16 bytes at a time.
    private func launch(
        _ parameters: inout vlm_cuda_attention, _ kind: AttentionKind, _ work: AttentionWork, headSize: Int, aligned: Bool
    ) throws {
        let (rows, heads, kvHeads) = (Int(parameters.rows), Int(parameters.heads), Int(parameters.kv_heads))
        guard activationType != .float32, aligned, headSize % 8 == 0, headSize <= 256 else {
            let plan = ScalarAttentionPlan(headSize: headSize)
            guard plan.sharedBytes <= properties.sharedBytesPerBlock else {
                throw TensorError(
                    .unsupported, operation: kind == .paged ? "pagedAttention" : "segmentedAttention",
                    detail: "heads of \(headSize) elements need \(plan.sharedBytes) bytes of shared memory; this GPU has "
                        + "\(properties.sharedBytesPerBlock) per block")
            }
            let tiles = AttentionTiles(work, tileRows: plan.tileRows)
            parameters.sequence_tiles = Int32(tiles.perSequence)
            return try launch(
                try kernel(.attentionScalar, "attention_scalar", headSize: headSize, option: kind.rawValue),
                Grid(tiles.count * kvHeads), block: 256, sharedBytes: plan.sharedBytes, overlaps: true, parameters)
        }
        let partials = scratch(.partials)
        let plan = AttentionPlan(
            work, rows: rows, heads: heads, kvHeads: kvHeads, headSize: headSize, multiprocessors: properties.multiprocessors,
            partialBytes: partials.byteCount)
        let tiles = AttentionTiles(work, tileRows: plan.tileRows)
        parameters.sequence_tiles = Int32(tiles.perSequence)
        parameters.splits = Int32(plan.parts)
        parameters.split_keys = Int32(plan.partKeys)
        parameters.split_rows = Int32(clamping: plan.dividedRows)
        parameters.weights = partials.pointer
        parameters.sums = partials.pointer + plan.parts * rows * heads * AttentionPlan.weightBytes
        let name = plan.isWide ? "attention_wide" : "attention_narrow"
        try launch(
            try kernel(.attention, name, headSize: headSize, option: kind.rawValue),
            Grid(tiles.count * kvHeads, plan.parts), block: 128, sharedBytes: plan.sharedBytes, overlaps: true,
            parameters)
        if plan.parts > 1 {
            try launch(
                try kernel(.attention, "attention_combine", headSize: headSize, option: kind.rawValue),
                Grid((rows * heads + 3) / 4), block: 128, overlaps: true, parameters)
        }
    }
}

/// `-DVLM_OPTION` of the attention programs.
private enum AttentionKind: Int { case paged, segmented }
