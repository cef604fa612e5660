import Tensors

extension CUDABackend {
    /// Times ``pagedAttention(_:cache:batch:options:into:)``, for `vlm doctor`: the newest `tokens` of each of `sequences` over a cached
    /// context in scattered blocks of 64. As many tokens as context are the prefill of a prompt.
    ///
    /// - Returns: seconds of one call and its multiplications and additions: two products of E for every query and every key it sees.
    package func measurePagedAttention(
        sequences: Int = 1, tokens: Int, context: Int, heads: Int, kvHeads: Int, headSize: Int
    ) throws -> (seconds: Double, operations: Int) {
        let (blockSize, purpose) = (64, "measuring attention")
        let blocks = (context + blockSize - 1) / blockSize
        let count = sequences * blocks
        let shape = Shape(count, kvHeads, blockSize, headSize)
        let cacheBytes = shape.count * activationType.size
        let cache = try allocate(byteCount: 2 * cacheBytes, purpose: purpose)
        try fillWithNumbers(cache.pointer, byteCount: 2 * cacheBytes)
        let keys = Tensor(pointer: cache.pointer, dtype: activationType, shape: shape)
        let values = Tensor(pointer: cache.pointer + cacheBytes, dtype: activationType, shape: shape)
        let (buffer, q, out) = try activations(Shape(sequences * tokens, heads, headSize))
        let starts = (0...sequences).map { Int32($0 * tokens) }
        let contexts = [Int32](repeating: Int32(context), count: sequences)
        // Even blocks first, then odd ones: no two neighbours in order.
        let table = (0..<count).map { Int32($0 < (count + 1) / 2 ? 2 * $0 : 2 * ($0 - (count + 1) / 2) + 1) }
        let (indices, arrays) = try place([starts, contexts, table])
        let batch = PagedBatch(
            queryStarts: arrays[0], contextLengths: arrays[1], blockTables: arrays[2].reshaped(Shape(sequences, blocks)),
            hostQueryStarts: starts, hostContextLengths: contexts)
        let options = AttentionOptions(scale: 1 / Float(headSize).squareRoot())
        let seconds = try withExtendedLifetime((buffer, indices)) {
            try secondsOfCall {
                try pagedAttention(q, cache: KVCacheLayer(keys: keys, values: values), batch: batch, options: options, into: out)
            }
        }
        let pairs = sequences * (tokens * (context - tokens) + tokens * (tokens + 1) / 2)
        return (seconds, 4 * pairs * heads * headSize)
    }

    /// Times ``segmentedAttention(_:_:_:segments:hostSegments:options:into:)``, for `vlm doctor`: `segments` segments of `length` rows
    /// of a projection, as in a vision encoder.
    ///
    /// - Returns: as ``measurePagedAttention(sequences:tokens:context:heads:kvHeads:headSize:)``.
    package func measureSegmentedAttention(
        segments: Int = 1, length: Int, heads: Int, headSize: Int
    ) throws -> (seconds: Double, operations: Int) {
        let (rows, width) = (segments * length, heads * headSize)
        let (projection, fused, _) = try activations(Shape(rows, 3 * width))
        let shape = Shape(rows, heads, headSize)
        let (buffer, _, out) = try activations(shape)
        let parts = (0..<3).map { fused.columns($0 * width..<($0 + 1) * width).reshaped(shape) }
        let starts = (0...segments).map { Int32($0 * length) }
        let (indices, arrays) = try place([starts])
        let options = AttentionOptions(scale: 1 / Float(headSize).squareRoot())
        let seconds = try withExtendedLifetime((projection, buffer, indices)) {
            try secondsOfCall {
                try segmentedAttention(
                    parts[0], parts[1], parts[2], segments: arrays[0], hostSegments: starts, options: options, into: out)
            }
        }
        return (seconds, 4 * segments * length * length * width)
    }

    /// Two tensors of a shape, the first filled.
    private func activations(_ shape: Shape) throws -> (owner: any DeviceBuffer, Tensor, Tensor) {
        let bytes = (shape.count * activationType.size + 255) / 256 * 256
        let buffer = try allocate(byteCount: 2 * bytes, purpose: "measuring attention")
        try fillWithNumbers(buffer.pointer, byteCount: shape.count * activationType.size)
        return (
            buffer, Tensor(pointer: buffer.pointer, dtype: activationType, shape: shape),
            Tensor(pointer: buffer.pointer + bytes, dtype: activationType, shape: shape)
        )
    }

    /// Copies arrays of indices to the device.
    private func place(_ arrays: [[Int32]]) throws -> (owner: any DeviceBuffer, [Tensor]) {
        let buffer = try allocate(byteCount: arrays.reduce(0) { $0 + $1.count } * 4, purpose: "measuring attention")
        var offset = 0
        let tensors = try arrays.map { array in
            let tensor = Tensor(pointer: buffer.pointer + offset, dtype: .int32, shape: Shape(array.count))
            try array.withUnsafeBytes { try upload($0, to: tensor) }
            offset += array.count * 4
            return tensor
        }
        return (buffer, tensors)
    }

    /// Device time of a call, the median of several replays of eight.
    private func secondsOfCall(_ body: () throws -> Void) throws -> Double {
        // Compiles what the recording needs.
        try body()
        let calls = 8
        let work = try record { for _ in 0..<calls { try body() } }
        return try medianSeconds(repeats: 7) { try replay(work) } / Double(calls)
    }
}
