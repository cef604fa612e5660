import CCUDAKernels
package import Tensors

// Rows are checked against the shapes here; indices only the device knows. There a read outside a table gives zeros and a write
// outside is left out, so a padding row of a recorded pass harms nothing.

extension CUDABackend {
    /// Between floating types values are converted; otherwise the types must be equal.
    package func copy(_ source: Tensor, into out: Tensor) throws {
        let operation = "copy"
        try require(source.shape == out.shape, operation, "source \(source.shape) and out \(out.shape) must be equal")
        try move(source, into: out, rows: out.rows, operation)
    }

    package func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {
        let operation = "gatherRows"
        try require(
            table.width == out.width, operation, "rows of table \(table.shape) and out \(out.shape) must have the same width")
        try requireInt32(indices, count: out.rows, operation)
        if let lanes { try requireInt32(lanes, count: lanes.count, operation) }
        try move(table, into: out, rows: out.rows, sourceRows: indices, lanes: lanes, operation)
    }

    /// Indices that occur twice leave either of their rows.
    package func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {
        let operation = "scatterRows"
        try require(
            source.width == out.width, operation, "rows of source \(source.shape) and out \(out.shape) must have the same width")
        try requireInt32(indices, count: source.rows, operation)
        try move(source, into: out, rows: source.rows, outRows: indices, operation)
    }

    package func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {
        let operation = "addRows"
        try require(
            table.width == out.width, operation, "rows of table \(table.shape) and out \(out.shape) must have the same width")
        try requireInt32(indices, count: out.rows, operation)
        try onElements("add_rows_8", "add_rows_1", table, into: out, rows: out.rows, sourceRows: indices, operation)
    }

    package func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {
        let operation = "addRows"
        let (rows, width) = (out.rows, out.width)
        try require(table.width == width, operation, "rows of table \(table.shape) and out \(out.shape) must have the same width")
        try require(
            weights.shape.rank == 2 && weights.rows == rows && weights.dtype == .float32 && weights.isContiguous, operation,
            "weights \(weights.shape) of \(weights.dtype) must be contiguous float32, a row for each of out \(out.shape)")
        try requireInt32(indices, count: weights.count, operation)
        guard out.count > 0 else { return }
        let inVectors = width.isMultiple(of: 8) && table.isAligned(pieces: width) && out.isAligned(pieces: width)
        let units = inVectors ? width / 8 : width
        let parameters = vlm_cuda_weighted_rows(
            table: table.pointer, out: out.pointer, indices: indices.int32s, weights: weights.floats,
            table_stride: Int64(table.rowStride), out_stride: Int64(out.rowStride), table_limit: Int64(table.rows),
            rows: UInt32(rows), units: UInt32(units), taps: Int32(weights.width), table_type: try elementType(table, operation),
            out_type: try elementType(out, operation))
        try launch(
            kernel(.elementwise, inVectors ? "add_weighted_rows_8" : "add_weighted_rows_1"),
            grid(threads: rows * units, block: 256, operation), block: 256, overlaps: true, parameters)
    }

    package func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {
        let operation = "writeCache"
        try requireActivations(k, v, in: operation)
        try require(
            k.shape.rank == 3 && v.shape == k.shape, operation, "keys \(k.shape) and values \(v.shape) must be equal, [T, G, E]")
        let (heads, size) = (k.shape[1], k.shape[2])
        try requireCache(cache, kvHeads: heads, headSize: size, operation)
        try requireInt32(slots, count: k.rows, operation)
        guard k.count > 0 else { return }
        let inVectors =
            k.isAligned(pieces: size) && v.isAligned(pieces: size) && cache.keys.isAligned(pieces: size)
            && cache.values.isAligned(pieces: size)
        let elements = inVectors ? 16 / k.dtype.size : 1
        let parameters = vlm_cuda_write_cache(
            keys: k.pointer, values: v.pointer, slots: slots.int32s, cached_keys: cache.keys.pointer,
            cached_values: cache.values.pointer, keys_stride: Int64(k.rowStride / elements),
            values_stride: Int64(v.rowStride / elements), slot_count: Int64(cache.keys.shape[0] * cache.blockSize),
            rows: Int32(k.rows), kv_heads: Int32(heads), size: Int32(size / elements),
            block_shift: Int32(cache.blockSize.trailingZeroBitCount))
        let name = inVectors ? "write_cache_16" : k.dtype.size == 4 ? "write_cache_4" : "write_cache_2"
        try launch(
            kernel(.elementwise, name), grid(threads: k.count / elements, block: 256, operation), block: 256, overlaps: true,
            parameters)
    }

    /// Moves `rows` rows: row `sourceRows[i]` (or i) of `source` to row `outRows[i]` (or i) of `out`.
    private func move(
        _ source: Tensor, into out: Tensor, rows: Int, sourceRows: Tensor? = nil, outRows: Tensor? = nil, lanes: Tensor? = nil,
        _ operation: String
    ) throws {
        guard source.dtype == out.dtype else {
            try onElements(
                "convert_rows_8", "convert_rows_1", source, into: out, rows: rows, sourceRows: sourceRows, outRows: outRows,
                lanes: lanes, operation)
            return
        }
        // The largest unit that all of the rows' starts and ends are multiples of.
        let size = source.dtype.size
        let bits =
            Int(bitPattern: source.pointer) | Int(bitPattern: out.pointer) | source.width * size
            | (rows == 1 && sourceRows == nil && outRows == nil ? 0 : source.rowStride * size | out.rowStride * size)
        let (unit, name) =
            bits & 15 == 0
            ? (16, "move_rows_16") : bits & 3 == 0 ? (4, "move_rows_4") : bits & 1 == 0 ? (2, "move_rows_2") : (1, "move_rows_1")
        try launch(
            name, source, into: out, rows: rows, units: source.width * size / unit, strideOf: { $0.rowStride * size / unit },
            sourceRows: sourceRows, outRows: outRows, lanes: lanes, operation)
    }

    /// Launches the kernel that takes eight elements a thread, or one where rows are not aligned.
    func onElements(
        _ eight: String, _ one: String, _ source: Tensor, into out: Tensor, rows: Int, sourceRows: Tensor? = nil,
        outRows: Tensor? = nil, lanes: Tensor? = nil, activation: Int32 = 0, factor: Float = 1, _ operation: String
    ) throws {
        let width = out.width
        let inVectors = width.isMultiple(of: 8) && source.isAligned(pieces: width) && out.isAligned(pieces: width)
        try launch(
            inVectors ? eight : one, source, into: out, rows: rows, units: inVectors ? width / 8 : width,
            strideOf: { $0.rowStride }, types: (elementType(source, operation), elementType(out, operation)),
            sourceRows: sourceRows, outRows: outRows, lanes: lanes, activation: activation, factor: factor, operation)
    }

    private func launch(
        _ name: String, _ source: Tensor, into out: Tensor, rows: Int, units: Int, strideOf: (Tensor) -> Int,
        types: (source: Int32, out: Int32) = (0, 0), sourceRows: Tensor?, outRows: Tensor?, lanes: Tensor?,
        activation: Int32 = 0, factor: Float = 1, _ operation: String
    ) throws {
        guard rows > 0, units > 0 else { return }
        let parameters = vlm_cuda_rows(
            source: source.pointer, out: out.pointer, source_rows: sourceRows?.int32s, out_rows: outRows?.int32s,
            lanes: lanes?.int32s, source_stride: Int64(strideOf(source)), out_stride: Int64(strideOf(out)),
            source_limit: Int64(source.rows), out_limit: Int64(out.rows), lane_limit: Int64(lanes?.count ?? 0),
            rows: UInt32(rows), units: UInt32(units), source_type: types.source, out_type: types.out, activation: activation,
            factor: factor)
        try launch(
            kernel(.elementwise, name), grid(threads: rows * units, block: 256, operation), block: 256, overlaps: true, parameters
        )
    }
}
