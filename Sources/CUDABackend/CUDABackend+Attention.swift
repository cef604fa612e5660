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
        guard q.rows > 0 else { return }
        if try decodeAttention(q, cache: cache, batch: batch, options: options, into: out) { return }
        if try hopperPagedAttention(q, cache: cache, batch: batch, options: options, into: out) { return }

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

    /// Chooses the kernel, the rows of its tiles and the parts of its keys. `aligned`: rows can be copied 16 bytes at a time.
    private func launch(
        _ parameters: inout vlm_cuda_attention, _ kind: AttentionKind, _ work: AttentionWork, headSize: Int, aligned: Bool
    ) throws {
        guard activationType != .float32, aligned, headSize % 8 == 0, headSize <= 256 else {
            return try launchScalar(parameters, kind, headSize: headSize)
        }
        let (kvHeads, slots) = (Int(parameters.kv_heads), 2 * properties.multiprocessors)
        // Wide tiles read shared memory half as often; they pay when there are enough of them and they are full.
        let isWide =
            headSize <= 128 && work.wideTiles * kvHeads >= slots
            && work.wideTiles * AttentionWork.wideRows * 10 <= work.narrowTiles * AttentionWork.narrowRows * 11
        let tileRows = isWide ? AttentionWork.wideRows : AttentionWork.narrowRows
        split(&parameters, work, slots: slots, headSize: headSize)
        let name = isWide ? "attention_wide" : "attention_narrow"
        // Bytes of a padded row of 16-bit elements and what keeps rows off each other's banks; as in attention.cu.
        let pitch = (headSize + 15) / 16 * 32 + 16
        try launch(
            try kernel(.attention, name, headSize: headSize, option: kind.rawValue),
            Grid(tiles(parameters, tileRows) * kvHeads, Int(parameters.splits)), block: 128,
            sharedBytes: (tileRows + 2 * AttentionWork.tileKeys) * pitch, overlaps: true, parameters)
        if parameters.splits > 1 {
            try launch(
                try kernel(.attention, "attention_combine", headSize: headSize, option: kind.rawValue),
                Grid((Int(parameters.rows) * Int(parameters.heads) + 3) / 4), block: 128, overlaps: true, parameters)
        }
    }

    /// Divides the keys where there are too few tiles to fill the device, or a few long ones that would end last.
    private func split(_ parameters: inout vlm_cuda_attention, _ work: AttentionWork, slots: Int, headSize: Int) {
        let blocks = work.narrowTiles * Int(parameters.kv_heads)
        let places = Int(parameters.rows) * Int(parameters.heads)
        let partials = scratch(.partials)
        // Of a part: the sums of each row and head, and four floats of its softmax.
        let room = partials.byteCount / max(places * (headSize + 4) * 4, 1)
        var (parts, keys, rows) = (1, 0, Int32.max)
        if blocks > 0, blocks * 2 <= slots, work.keys >= 1024 {
            parts = min(slots / blocks, work.keys / 512, room)
            keys = parts > 1 ? (work.keys + parts - 1) / parts : 0
        } else if work.keysOfShort >= 4096 {
            keys = 2048
            parts = min((work.keysOfShort + keys - 1) / keys, room)
            rows = Int32(AttentionWork.narrowRows)
        }
        guard parts > 1 else { return }
        parameters.splits = Int32(parts)
        parameters.split_keys = Int32((keys + AttentionWork.tileKeys - 1) / AttentionWork.tileKeys * AttentionWork.tileKeys)
        parameters.split_rows = rows
        parameters.weights = partials.pointer
        parameters.sums = partials.pointer + parts * places * 16
    }

    /// Float32 arithmetic on any head size and alignment.
    private func launchScalar(_ parameters: vlm_cuda_attention, _ kind: AttentionKind, headSize: Int) throws {
        // As in attention_scalar.cu.
        let threadRows = headSize <= 128 ? 4 : headSize <= 256 ? 2 : 1
        let (tileRows, tileKeys) = (16 * threadRows, headSize <= 256 ? 32 : 16)
        let pitch = (headSize + 3) / 4 * 4 + 4
        let sharedBytes = ((tileRows + tileKeys) * pitch + tileRows * (tileKeys + 4)) * 4
        guard sharedBytes <= properties.sharedBytesPerBlock else {
            throw TensorError(
                .unsupported, operation: kind == .paged ? "pagedAttention" : "segmentedAttention",
                detail: "heads of \(headSize) elements need \(sharedBytes) bytes of shared memory; this GPU has "
                    + "\(properties.sharedBytesPerBlock) per block")
        }
        try launch(
            try kernel(.attentionScalar, "attention_scalar", headSize: headSize, option: kind.rawValue),
            Grid(tiles(parameters, tileRows) * Int(parameters.kv_heads)), block: 256, sharedBytes: sharedBytes, overlaps: true,
            parameters)
    }

    /// Tiles in the numbering of attention.cuh, which leaves at most one empty for each sequence.
    private func tiles(_ parameters: vlm_cuda_attention, _ tileRows: Int) -> Int {
        Int(parameters.rows) * Int(parameters.heads / parameters.kv_heads) / tileRows + Int(parameters.sequences)
    }
}

/// `-DVLM_OPTION` of the attention programs.
private enum AttentionKind: Int { case paged, segmented }

/// What a batch asks of attention, from the host's copies of its lengths.
private struct AttentionWork {
    /// Tile rows of the two kernels, and keys of a tile, as in attention.cu.
    static let narrowRows = 64
    static let wideRows = 128
    static let tileKeys = 64

    /// Query heads that share a key head: each token gives so many tile rows.
    let rowsPerToken: Int
    private(set) var narrowTiles = 0
    private(set) var wideTiles = 0
    /// The most keys of a sequence.
    private(set) var keys = 0
    /// The most keys of a sequence that is one narrow tile.
    private(set) var keysOfShort = 0

    init(rowsPerToken: Int) { self.rowsPerToken = rowsPerToken }

    mutating func add(tokens: Int, keys: Int) {
        let rows = tokens * rowsPerToken
        narrowTiles += (rows + Self.narrowRows - 1) / Self.narrowRows
        wideTiles += (rows + Self.wideRows - 1) / Self.wideRows
        self.keys = max(self.keys, keys)
        if rows <= Self.narrowRows { keysOfShort = max(keysOfShort, keys) }
    }
}
