import CCUDAKernels
import Tensors

/// How the contexts of a decode step are cut over blocks.
///
/// It depends on the number of sequences and on the longest context the host knows of, not on what lies on the device: a recorded step
/// keeps it. Within it every sequence is cut by its own length.
struct DecodeSplits {
    /// Blocks for each sequence and key/value head.
    let splits: Int
    /// Neighbouring blocks that merge their results without global memory; divides ``splits``.
    let cluster: Int

    /// - Parameters:
    ///   - pairs: sequences times key/value heads (times groups of query heads).
    ///   - positions: the most that a query sees.
    ///   - slots: blocks that run at the same time.
    init(pairs: Int, positions: Int, slots: Int, warps: Int, hasClusters: Bool) {
        let tile = VLM_CUDA_DECODE_TILE
        let (mostInCluster, mostClusters) = (VLM_CUDA_DECODE_CLUSTER, VLM_CUDA_DECODE_CLUSTERS)
        // A block with less than a tile for each warp would leave warps idle.
        let useful = max(1, (positions + tile * warps - 1) / (tile * warps))
        let fitting = max(1, slots / max(pairs, 1))
        guard hasClusters else {
            (splits, cluster) = (min(useful, fitting, mostClusters), 1)
            return
        }
        if min(useful, fitting) < mostInCluster {
            // The smallest power of two that is useful, if it fits.
            var count = 1
            while count < useful, 2 * count <= fitting { count *= 2 }
            (splits, cluster) = (count, count)
        } else {
            let clusters = min((useful + mostInCluster - 1) / mostInCluster, fitting / mostInCluster, mostClusters)
            (splits, cluster) = (clusters * mostInCluster, mostInCluster)
        }
    }
}

extension CUDABackend {
    /// ``pagedAttention(_:cache:batch:options:into:)`` when every sequence has one new token or is padding.
    ///
    /// Whatever the batch, a result depends on its own sequence and on ``DecodeSplits`` alone.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func decodeAttention(
        _ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor
    ) throws -> Bool {
        let (sequences, contexts) = (q.rows, batch.hostContextLengths)
        guard contexts.count == sequences, sequences > 0, sequences <= 65535, q.shape.rank == 3 else { return false }
        for (row, start) in batch.hostQueryStarts.enumerated() where Int(start) != row { return false }
        let (heads, kvHeads, size) = (q.shape[1], cache.kvHeads, cache.headSize)
        let (keys, values, blockSize) = (cache.keys, cache.values, cache.blockSize)
        guard size.isMultiple(of: 8), (8...256).contains(size), kvHeads > 0, heads.isMultiple(of: kvHeads),
            blockSize > 0, blockSize & (blockSize - 1) == 0, keys.shape[0] * kvHeads * blockSize <= Int(Int32.max),
            keys.isAligned(pieces: size), values.isAligned(pieces: size), out.isAligned(pieces: size),
            (Int(bitPattern: q.pointer) | q.rowStride * q.dtype.size) & 3 == 0
        else { return false }

        // Warps stream tiles of their own through shared memory, so that is what limits them.
        let is16Bit = activationType.size == 2
        let (tile, rows) = (VLM_CUDA_DECODE_TILE, VLM_CUDA_DECODE_HEADS)
        let chunks = size / 8
        let pitch = 16 * (chunks.isMultiple(of: 8) ? chunks : (chunks + 1) / 2 * 2 + 1)
        let bytesPerWarp = (size <= 128 ? 3 : 2) * 2 * tile * pitch
        // What the kernel declares itself, rounded up, and what the driver keeps.
        let reserved = 11 << 10
        let warps = !is16Bit || 4 * bytesPerWarp + reserved <= properties.sharedBytesPerBlock ? 4 : 2
        let stageFloats = tile * (2 * size + 4)
        let sharedBytes: Int = is16Bit ? warps * bytesPerWarp : 4 * (2 * stageFloats + rows * size)

        let group = heads / kvHeads
        let pairsPerSequence = kvHeads * ((group + rows - 1) / rows)
        guard pairsPerSequence <= 65535 else { return false }
        let pairs = sequences * pairsPerSequence
        let longest = Int(contexts.max() ?? 0)
        let resident = min(4, max(1, properties.sharedBytesPerMultiprocessor / (sharedBytes + reserved)))
        let plan = DecodeSplits(
            pairs: pairs, positions: min(longest, options.window.map { min($0, longest) + tile } ?? longest),
            slots: properties.multiprocessors * resident, warps: warps, hasClusters: properties.major >= 9)

        // Results of clusters, then their maxima and sums; none when one cluster has it all.
        let (partials, counters) = (scratch(.partials), scratch(.counters))
        let clusters = plan.splits / plan.cluster
        let resultBytes: Int = clusters == 1 ? 0 : pairs * clusters * min(group, rows) * size * 4
        let statisticsBytes: Int = clusters == 1 ? 0 : pairs * plan.splits * 2 * rows * 4
        let counterBytes: Int = clusters == 1 ? 0 : pairs * plan.cluster * 4
        guard resultBytes + statisticsBytes <= partials.byteCount, counterBytes <= counters.byteCount else { return false }
        let parameters = vlm_cuda_decode_attention(
            q: q.pointer, out: out.pointer, keys: keys.pointer, values: values.pointer,
            context_lengths: UnsafePointer(batch.contextLengths.int32s), block_tables: UnsafePointer(batch.blockTables.int32s),
            partials: partials.pointer.assumingMemoryBound(to: Float.self),
            statistics: (partials.pointer + resultBytes).assumingMemoryBound(to: Float.self),
            counters: counters.pointer.assumingMemoryBound(to: UInt32.self), q_stride: Int64(q.rowStride),
            out_stride: Int64(out.rowStride), table_stride: Int32(batch.blockTables.rowStride),
            block_count: Int32(keys.shape[0]), block_shift: Int32(blockSize.trailingZeroBitCount), kv_heads: Int32(kvHeads),
            group: Int32(group), cluster: Int32(plan.cluster), window: Int32(clamping: options.window ?? 0), scale: options.scale,
            softcap: options.softcap ?? 0)
        try launch(
            kernel(.decodeAttention, "decode_attention", headSize: size), Grid(plan.splits, pairsPerSequence, sequences),
            block: 32 * warps, sharedBytes: sharedBytes, cluster: plan.cluster, overlaps: true, parameters)
        return true
    }

    /// Times one decode step's attention, for `vlm doctor`: `sequences` sequences of `context` cached positions in scattered blocks of 64,
    /// over layers that take turns, so that nothing is found in the L2 cache.
    ///
    /// - Returns: seconds of one call (the median over replays of a recorded sequence) and the bytes of keys and values that it reads.
    package func measureDecodeAttention(
        sequences: Int, context: Int, heads: Int, kvHeads: Int, headSize: Int
    ) throws -> (seconds: Double, bytes: Int) {
        let (blockSize, size) = (64, activationType.size)
        let blocks = (context + blockSize - 1) / blockSize
        let shape = Shape(sequences * blocks, kvHeads, blockSize, headSize)
        let bytes = 2 * sequences * context * kvHeads * headSize * size
        let layers = max(2, min(32, 3 * properties.l2Bytes / max(bytes, 1) + 1))
        let cache = try allocate(byteCount: layers * 2 * shape.count * size, purpose: "measuring attention")
        try fillWithNumbers(cache.pointer, byteCount: cache.byteCount)
        let activations = Shape(sequences, heads, headSize)
        let buffer = try allocate(byteCount: 2 * activations.count * size, purpose: "measuring attention")
        let q = Tensor(pointer: buffer.pointer, dtype: activationType, shape: activations)
        let out = Tensor(pointer: buffer.pointer + q.byteCount, dtype: activationType, shape: activations)
        try fillWithNumbers(q.pointer, byteCount: q.byteCount)

        let starts = (0...sequences).map { Int32($0) }
        let contexts = [Int32](repeating: Int32(context), count: sequences)
        // Even blocks first, then odd ones: no two neighbours in order.
        let count = sequences * blocks
        let table = (0..<count).map { Int32($0 < (count + 1) / 2 ? 2 * $0 : 2 * ($0 - (count + 1) / 2) + 1) }
        let all = starts + contexts + table
        let indices = try allocate(byteCount: all.count * 4, purpose: "measuring attention")
        try all.withUnsafeBytes {
            try upload($0, to: Tensor(pointer: indices.pointer, dtype: .int32, shape: Shape(all.count)))
        }
        func view(_ first: Int, _ shape: Shape) -> Tensor {
            Tensor(pointer: indices.pointer + first * 4, dtype: .int32, shape: shape)
        }
        let batch = PagedBatch(
            queryStarts: view(0, Shape(starts.count)), contextLengths: view(starts.count, Shape(contexts.count)),
            blockTables: view(starts.count + contexts.count, Shape(sequences, blocks)), hostQueryStarts: starts,
            hostContextLengths: contexts)
        let options = AttentionOptions(scale: 1 / Float(headSize).squareRoot())
        func step() throws {
            for layer in 0..<layers {
                let keys = Tensor(pointer: cache.pointer + layer * 2 * shape.count * size, dtype: activationType, shape: shape)
                let values = Tensor(pointer: keys.pointer + keys.byteCount, dtype: activationType, shape: shape)
                let layerCache = KVCacheLayer(keys: keys, values: values)
                guard try decodeAttention(q, cache: layerCache, batch: batch, options: options, into: out) else {
                    throw TensorError(
                        .unsupported, operation: "decodeAttention", detail: "\(heads) heads over \(kvHeads) of size \(headSize)")
                }
            }
        }
        // Compiles what the recording needs.
        try step()
        let work = try record(step)
        let seconds = try medianSeconds(repeats: 7) { try replay(work) } / Double(layers)
        return (seconds, bytes)
    }
}
