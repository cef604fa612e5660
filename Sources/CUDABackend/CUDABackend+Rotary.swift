import CCUDAKernels
package import Tensors

extension CUDABackend {
    package func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws {
        let operation = "rotate"
        try requireActivations(x, in: operation)
        try requireTables(cosine, sine, rows: x.rows, headSize: x.shape[2], operation)
        try require(x.shape.rank == 3, operation, "x \(x.shape) must be [T, H, E]")
        let (heads, pairs) = (x.shape[1], cosine.width)
        guard x.rows > 0, heads > 0, pairs > 0 else { return }
        let parameters = vlm_cuda_rotate(
            x: x.pointer, cosine: cosine.floats, sine: sine.floats, x_stride: Int64(x.rowStride),
            cosine_stride: Int64(cosine.rowStride), sine_stride: Int64(sine.rowStride), rows: Int32(x.rows),
            heads: Int32(heads), size: Int32(x.shape[2]), pairs: Int32(pairs), interleaved: style == .interleaved ? 1 : 0)
        let vectorSize = 16 / x.dtype.size
        let inVectors =
            style == .halves && pairs.isMultiple(of: vectorSize) && x.isAligned(pieces: x.shape[2])
            && cosine.isAligned(pieces: vectorSize) && sine.isAligned(pieces: vectorSize)
        let threads = x.rows * heads * (inVectors ? pairs / vectorSize : pairs)
        try launch(
            kernel(.elementwise, inVectors ? "rotate_vectors" : "rotate_pairs"), grid(threads: threads, block: 256, operation),
            block: 256, overlaps: true, parameters)
    }

    package func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor
    ) throws {
        let operation = "rotaryTables"
        try requireFloat32(frequencies, cosine, sine, in: operation)
        let (rows, columns) = (cosine.rows, frequencies.count)
        try requireInt32(axes, count: columns, operation)
        try require(
            positions.dtype == .int32 && positions.shape.rank == 2 && positions.width == rows && cosine.width == columns
                && sine.shape == cosine.shape && frequencies.isContiguous, operation,
            "positions \(positions.shape) of \(positions.dtype) must be int32 [axes, T] for tables \(cosine.shape) and \(sine.shape)"
        )
        guard rows > 0, columns > 0 else { return }
        let parameters = vlm_cuda_rotary_tables(
            positions: positions.int32s, frequencies: frequencies.floats, axes: axes.int32s, cosine: cosine.floats,
            sine: sine.floats, positions_stride: Int64(positions.rowStride), cosine_stride: Int64(cosine.rowStride),
            sine_stride: Int64(sine.rowStride), rows: Int32(rows), columns: Int32(columns), axis_count: Int32(positions.rows),
            factor: factor)
        try launch(
            kernel(.elementwise, "rotary_tables"), grid(threads: rows * columns, block: 128, operation), block: 128,
            overlaps: true, parameters)
    }

    package func rotateAndCache(_ projection: AttentionProjection, slots: Tensor, cache: KVCacheLayer) throws {
        let operation = "rotateAndCache"
        let (x, size, kvHeads) = (projection.projected, projection.headSize, projection.kvHeads)
        let allHeads = projection.heads + 2 * kvHeads
        try requireActivations(x, in: operation)
        try requireCache(cache, kvHeads: kvHeads, headSize: size, operation)
        try requireInt32(slots, count: x.rows, operation)
        try requireTables(projection.cosine, projection.sine, rows: x.rows, headSize: size, operation)
        try require(
            x.shape.rank == 2 && x.width == allHeads * size, operation,
            "the projection \(x.shape) must be [T, (\(projection.heads) + 2 * \(kvHeads)) * \(size)]")
        if let norms = projection.norms {
            try requireFloat32(norms.query, norms.key, in: operation)
            try require(
                norms.query.count == size && norms.query.isContiguous && norms.key.count == size && norms.key.isContiguous,
                operation, "head norms \(norms.query.shape) and \(norms.key.shape) must have \(size) elements")
        }
        guard x.rows > 0 else { return }
        let pairs = projection.cosine.width
        let vectorSize = 16 / x.dtype.size
        let half = size / 2
        // Lanes of one head: a power of two, so that they can sum by exchange.
        var laneShift = 0
        while vectorSize << laneShift < half { laneShift += 1 }
        let inVectors =
            projection.style == .halves && 2 * pairs == size && half.isMultiple(of: vectorSize) && laneShift <= 5
            && x.isAligned(pieces: size) && projection.cosine.isAligned(pieces: vectorSize)
            && projection.sine.isAligned(pieces: vectorSize) && cache.keys.isAligned(pieces: size)
            && cache.values.isAligned(pieces: size) && (projection.norms?.areAligned ?? true)
        let parameters = vlm_cuda_rotate_and_cache(
            projected: x.pointer, query_norm: projection.norms?.query.floats, key_norm: projection.norms?.key.floats,
            cosine: projection.cosine.floats, sine: projection.sine.floats, slots: slots.int32s, keys: cache.keys.pointer,
            values: cache.values.pointer, stride: Int64(x.rowStride), cosine_stride: Int64(projection.cosine.rowStride),
            sine_stride: Int64(projection.sine.rowStride), slot_count: Int64(cache.keys.shape[0] * cache.blockSize),
            rows: Int32(x.rows), heads: Int32(projection.heads), kv_heads: Int32(kvHeads), size: Int32(size),
            pairs: Int32(pairs), block_shift: Int32(cache.blockSize.trailingZeroBitCount), lane_shift: Int32(laneShift),
            interleaved: projection.style == .interleaved ? 1 : 0, epsilon: projection.norms?.epsilon ?? 0)
        let threads = x.rows * allHeads << (inVectors ? laneShift : 5)
        try launch(
            kernel(.elementwise, inVectors ? "rotate_and_cache_vectors" : "rotate_and_cache_elements"),
            grid(threads: threads, block: 128, operation), block: 128, overlaps: true, parameters)
    }

    private func requireTables(_ cosine: Tensor, _ sine: Tensor, rows: Int, headSize: Int, _ operation: String) throws {
        try requireFloat32(cosine, sine, in: operation)
        try require(
            cosine.shape.rank == 2 && cosine.shape == sine.shape && cosine.rows == rows && 2 * cosine.width <= headSize,
            operation, "cosine \(cosine.shape) and sine \(sine.shape) must be [\(rows), R] with 2R <= \(headSize)")
    }

    func requireCache(_ cache: KVCacheLayer, kvHeads: Int, headSize: Int, _ operation: String) throws {
        guard cache.keys.dtype == cacheType, cache.values.dtype == cacheType else {
            throw TensorError(
                .unsupported, operation: operation,
                detail: "a cache of \(cache.keys.dtype) and \(cache.values.dtype); it must be \(cacheType)")
        }
        let shape = cache.keys.shape
        try require(
            shape.rank == 4 && cache.values.shape == shape && cache.keys.isContiguous && cache.values.isContiguous
                && shape[2] > 0 && shape[2] & (shape[2] - 1) == 0 && shape[1] == kvHeads && shape[3] == headSize, operation,
            "keys \(shape) and values \(cache.values.shape) must be contiguous [blocks, \(kvHeads), blockSize, \(headSize)], blockSize a power of two"
        )
    }
}

extension AttentionProjection.HeadNorms {
    fileprivate var areAligned: Bool { query.startsAligned && key.startsAligned }
}
