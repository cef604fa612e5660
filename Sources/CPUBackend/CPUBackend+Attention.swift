import CCPUKernels

package import Tensors

/// Attention. In exact mode all arithmetic is float32. In fast mode, where the processor multiplies bfloat16 pairs, queries,
/// keys, values and softmax weights are rounded to bfloat16 for the products; scores, the softmax and all sums are float32.
///
/// A sequence's result depends on nothing but the sequence: not on its neighbours in the batch, not on the number of threads.
extension CPUBackend {
    package func pagedAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws {
        let operation = "pagedAttention"
        try requireHeads(q, kvHeads: cache.kvHeads, headSize: cache.headSize, options: options, into: out, operation)
        let element = try cacheElement(cache, operation)
        let (starts, contexts, tables) = (batch.hostQueryStarts, batch.hostContextLengths, batch.blockTables)
        let count = contexts.count
        try require(
            starts.count == count + 1 && starts.first == 0 && Int(starts[count]) == q.rows, operation,
            "\(starts.count) query starts for \(count) sequences must run from 0 to the \(q.rows) rows of q")
        try require(
            tables.dtype == .int32 && tables.rows >= count && (tables.shape.rank == 2 || count == 0), operation,
            "block tables \(tables.shape) of \(tables.dtype) must be int32 [\(count), maxBlocks]")
        try batch.checkEnds(operation)
        let blockSize = cache.blockSize
        let sequences = scratch.sequences(count)
        for s in 0..<count {
            let (first, new, context) = (Int(starts[s]), Int(starts[s + 1]) - Int(starts[s]), Int(contexts[s]))
            try require(
                new >= 0 && context >= new && context <= tables.width * blockSize, operation,
                "sequence \(s) has \(new) new tokens, a context of \(context) and room for \(tables.width) blocks of \(blockSize)"
            )
            // Blocks behind the window of the first new token may belong to others by now and are not read.
            let visible = options.window.map { max(0, context - new + 1 - $0) } ?? 0
            let table = tables.int32s + s * tables.rowStride
            if new > 0 {
                for block in visible / blockSize..<max((context + blockSize - 1) / blockSize, visible / blockSize)
                where table[block] < 0 || Int(table[block]) >= cache.keys.shape[0] {
                    throw TensorError(
                        .shapeMismatch, operation: operation,
                        detail: "block \(table[block]) of sequence \(s) is outside the cache \(cache.keys.shape)")
                }
            }
            sequences[s] = vlm_attention_sequence(
                query_row: first, tokens: new, context: context, source: s, first_unit: 0, first_partial: 0, splits: 0,
                first_split: 0)
        }
        var attention = vlm_attention()
        attention.causal = true
        attention.type = element
        attention.kv_heads = cache.kvHeads
        attention.window = options.window ?? 0
        attention.k = UnsafeRawPointer(cache.keys.pointer)
        attention.v = UnsafeRawPointer(cache.values.pointer)
        attention.tables = UnsafePointer(tables.int32s)
        attention.table_stride = tables.rowStride
        attention.block_shift = Int32(blockSize.trailingZeroBitCount)
        attention.ends = batch.ends.map { UnsafePointer($0.int32s) }
        attention.sequences = sequences
        attention.sequence_count = count
        run(&attention, q, options, into: out)
    }

    package func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor
    ) throws {
        let operation = "segmentedAttention"
        try requireFloat32(k, v, in: operation)
        try require(
            k.shape.rank == 3 && v.shape == k.shape && k.rows == q.rows, operation,
            "keys \(k.shape) and values \(v.shape) must be [T, G, E] for queries \(q.shape)")
        try requireHeads(q, kvHeads: k.shape[1], headSize: k.shape[2], options: options, into: out, operation)
        guard options.window == nil else {
            throw TensorError(.unsupported, operation: operation, detail: "segments have no sliding window; cut them smaller")
        }
        let count = hostSegments.count - 1
        try require(
            count >= 0 && hostSegments.first == 0 && Int(hostSegments[count]) == q.rows
                && zip(hostSegments, hostSegments.dropFirst()).allSatisfy { $0 <= $1 }, operation,
            "segments must ascend from 0 to the \(q.rows) rows of q")
        let sequences = scratch.sequences(count)
        for s in 0..<count {
            let (first, length) = (Int(hostSegments[s]), Int(hostSegments[s + 1] - hostSegments[s]))
            sequences[s] = vlm_attention_sequence(
                query_row: first, tokens: length, context: length, source: first, first_unit: 0, first_partial: 0, splits: 0,
                first_split: 0)
        }
        var attention = vlm_attention()
        attention.causal = false
        attention.type = VLM_F32
        attention.kv_heads = k.shape[1]
        attention.k = UnsafeRawPointer(k.pointer)
        attention.v = UnsafeRawPointer(v.pointer)
        attention.k_stride = k.rowStride
        attention.v_stride = v.rowStride
        attention.sequences = sequences
        attention.sequence_count = count
        run(&attention, q, options, into: out)
    }

    /// Fills in what both kinds share and runs the units.
    private func run(_ attention: inout vlm_attention, _ q: Tensor, _ options: AttentionOptions, into out: Tensor) {
        attention.isa = instructionSet.isa
        attention.fast = mode == .fast
        attention.heads = q.shape[1]
        attention.head_size = q.shape[2]
        attention.scale = options.scale
        attention.softcap = options.softcap ?? 0
        attention.q = UnsafePointer(q.floats)
        attention.out = out.floats
        attention.q_stride = q.rowStride
        attention.out_stride = out.rowStride
        let plan = vlm_attention_make_plan(&attention)
        guard plan.units > 0 else { return }
        attention.scratch_bytes = plan.scratch_bytes
        attention.scratch = scratch.tiles(byteCount: plan.scratch_bytes * pool.threadCount)
        attention.partials = scratch.partials(plan.partial_count)
        withUnsafeMutablePointer(to: &attention) { context in
            if plan.units == 1 || isSmall(context.pointee) {
                for unit in 0..<plan.units { vlm_attention_unit(context, unit, 0) }
                for unit in 0..<plan.combine_units { vlm_attention_combine(context, unit, 0) }
            } else {
                pool.run(plan.units, context, vlm_attention_unit)
                for unit in 0..<plan.combine_units { vlm_attention_combine(context, unit, 0) }
            }
        }
    }

    /// Whether a call is done sooner than a second thread wakes: below some 64 Ki products of scores, a few µs.
    private func isSmall(_ attention: vlm_attention) -> Bool {
        var products = 0
        for s in 0..<attention.sequence_count {
            products += attention.sequences[s].tokens * attention.sequences[s].context
        }
        return products * attention.heads * attention.head_size < 65536
    }

    private func requireHeads(
        _ q: Tensor, kvHeads: Int, headSize: Int, options: AttentionOptions, into out: Tensor, _ operation: String
    ) throws {
        try requireFloat32(q, out, in: operation)
        try require(
            q.shape.rank == 3 && out.shape == q.shape && q.shape[2] == headSize && kvHeads > 0 && headSize > 0
                && q.shape[1] % kvHeads == 0, operation,
            "q \(q.shape) and out \(out.shape) must be [T, H, \(headSize)], H a multiple of the \(kvHeads) key-value heads")
        guard options.scale > 0, options.scale.isFinite, options.softcap.map({ $0 > 0 }) ?? true,
            options.window.map({ $0 > 0 }) ?? true
        else {
            throw TensorError(
                .unsupported, operation: operation,
                detail:
                    "scale \(options.scale), window \(options.window ?? 0) and softcap \(options.softcap ?? 0) must be positive")
        }
    }
}
