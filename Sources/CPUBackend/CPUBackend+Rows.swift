import CCPUKernels

package import Tensors

extension CPUBackend {
    package func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws {
        guard lanes == nil else {
            throw TensorError(
                .unsupported, operation: "gatherRows", detail: "tokens are chosen on the host here, so no row is named by a lane")
        }
        let element = try tableElement(table, indices: indices, rows: out, "gatherRows")
        let isa = instructionSet.isa
        forRows(out.rows, width: out.width) { rows in
            for row in rows {
                vlm_widen(isa, out.floatRow(row), table.rawRow(Int(indices.int32s[row])), element, out.width)
            }
        }
    }

    package func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {
        let element = try tableElement(table, indices: indices, rows: out, "addRows")
        let isa = instructionSet.isa
        forRows(out.rows, width: out.width) { rows in
            for row in rows {
                vlm_add_widened(isa, out.floatRow(row), table.rawRow(Int(indices.int32s[row])), element, out.width)
            }
        }
    }

    package func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws {
        let operation = "addRows"
        let taps = weights.width
        try require(
            weights.shape.rank == 2 && weights.rows == out.rows && weights.dtype == .float32 && weights.isContiguous, operation,
            "weights \(weights.shape) of \(weights.dtype) must be contiguous float32, a row for each of out \(out.shape)")
        let element = try tableElement(table, indices: indices, count: weights.count, rows: out, operation)
        let isa = instructionSet.isa
        forRows(out.rows, width: taps * out.width) { rows in
            for row in rows {
                for place in row * taps..<(row + 1) * taps {
                    vlm_add_scaled(
                        isa, out.floatRow(row), table.rawRow(Int(indices.int32s[place])), element, weights.floats[place],
                        out.width)
                }
            }
        }
    }

    /// Indices that occur twice leave either of their rows.
    package func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws {
        let operation = "scatterRows"
        try require(
            source.dtype == out.dtype && source.width == out.width, operation,
            "source \(source.shape) of \(source.dtype) and out \(out.shape) of \(out.dtype) must agree in type and row width")
        try requireInt32(indices, count: source.rows, operation)
        try requireIndices(indices, below: out.rows, operation)
        let rowBytes = source.width * source.dtype.size
        forRows(source.rows, width: source.width) { rows in
            for row in rows {
                out.rawRow(Int(indices.int32s[row])).copyMemory(from: source.rawRow(row), byteCount: rowBytes)
            }
        }
    }

    package func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws {
        let operation = "writeCache"
        try requireFloat32(k, v, in: operation)
        try require(
            k.shape.rank == 3 && v.shape == k.shape && k.shape[1] == cache.kvHeads && k.shape[2] == cache.headSize, operation,
            "keys \(k.shape) and values \(v.shape) must be [T, G, E] for a cache \(cache.keys.shape)")
        let element = try cacheElement(cache, operation)
        try requireInt32(slots, count: k.rows, operation)
        let (heads, size, blockSize, positions) = (cache.kvHeads, cache.headSize, cache.blockSize, slots.int32s)
        for row in 0..<k.rows where Int(positions[row]) >= cache.keys.shape[0] * blockSize {
            throw TensorError(
                .shapeMismatch, operation: operation,
                detail: "slot \(positions[row]) of row \(row) is outside the cache \(cache.keys.shape)")
        }
        let isa = instructionSet.isa
        let elementSize = cache.keys.dtype.size
        forRows(k.rows, width: 2 * k.width) { rows in
            for row in rows where positions[row] >= 0 {
                let (block, offset) = Int(positions[row]).quotientAndRemainder(dividingBy: blockSize)
                for head in 0..<heads {
                    let place = ((block * heads + head) * blockSize + offset) * size * elementSize
                    vlm_narrow(isa, cache.keys.pointer + place, k.floatRow(row) + head * size, element, size)
                    vlm_narrow(isa, cache.values.pointer + place, v.floatRow(row) + head * size, element, size)
                }
            }
        }
    }

    /// Checks the cache's types and gives the one it holds.
    func cacheElement(_ cache: KVCacheLayer, _ operation: String) throws -> vlm_element {
        guard let element = cache.keys.element, element != VLM_F16, cache.values.dtype == cache.keys.dtype else {
            throw TensorError(
                .unsupported, operation: operation,
                detail: "a cache of \(cache.keys.dtype) and \(cache.values.dtype); it must be float32 or bfloat16")
        }
        let blockSize = cache.blockSize
        try require(
            cache.keys.shape.rank == 4 && cache.values.shape == cache.keys.shape && cache.keys.isContiguous
                && cache.values.isContiguous && blockSize > 0 && blockSize & (blockSize - 1) == 0, operation,
            "keys \(cache.keys.shape) and values \(cache.values.shape) must be contiguous [blocks, G, blockSize, E], blockSize a power of two"
        )
        return element
    }

    /// - Parameter count: how many indices there are; nil for one for each row.
    private func tableElement(
        _ table: Tensor, indices: Tensor, count: Int? = nil, rows out: Tensor, _ operation: String
    ) throws -> vlm_element {
        try requireFloat32(out, in: operation)
        guard let element = table.element else {
            throw TensorError(
                .unsupported, operation: operation,
                detail: "a table of \(table.dtype); it must be float32, bfloat16 or float16")
        }
        try require(
            table.width == out.width, operation, "rows of table \(table.shape) and out \(out.shape) must have the same width")
        try requireInt32(indices, count: count ?? out.rows, operation)
        try requireIndices(indices, below: table.rows, operation)
        return element
    }

    private func requireIndices(_ indices: Tensor, below limit: Int, _ operation: String) throws {
        let values = indices.int32s
        for i in 0..<indices.count where values[i] < 0 || Int(values[i]) >= limit {
            throw TensorError(
                .shapeMismatch, operation: operation, detail: "index \(values[i]) at \(i) is outside the \(limit) rows")
        }
    }
}
