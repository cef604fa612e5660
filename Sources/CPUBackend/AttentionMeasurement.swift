import CCPUKernels
import Tensors

/// One attention call timed against the machine's limits.
package struct AttentionMeasurement: Sendable {
    /// Seconds of one call: the median of several.
    package let seconds: Double
    /// Seconds of the fastest call, to be compared with ceilings, which are the best of several too.
    package let best: Double
    /// Floating-point operations of one call: two products of E multiply-adds for every query and every key it sees.
    let operations: Double
    /// Bytes of keys and values that one call must read.
    let bytes: Double

    /// Floating-point operations per second at best.
    package var rate: Double { operations / best }
    /// Bytes of keys and values per second at best.
    package var bandwidth: Double { bytes / best }
}

extension CPUBackend {
    /// Times causal attention of the newest `tokens` of each of `sequences` over a cached context, in scattered blocks of 64.
    ///
    /// One token is a decoding step, bound by the memory that ``AttentionMeasurement/bandwidth`` shows; `context` tokens are the
    /// prefill of a prompt, bound by the products that ``AttentionMeasurement/rate`` shows.
    ///
    /// - Throws: ``TensorError`` when there is no memory.
    package func measurePagedAttention(
        sequences: Int = 1, tokens: Int, context: Int, heads: Int, kvHeads: Int, headSize: Int, seconds: Double = 0.2
    ) throws -> AttentionMeasurement {
        let blockSize = 64
        let blocks = (context + blockSize - 1) / blockSize
        let shape = Shape(sequences * blocks, kvHeads, blockSize, headSize)
        let cache = try allocate(byteCount: 2 * shape.count * cacheType.size, purpose: "attention measurement")
        let keys = Tensor(pointer: cache.pointer, dtype: cacheType, shape: shape)
        let values = Tensor(pointer: cache.pointer + keys.byteCount, dtype: cacheType, shape: shape)
        fill(cache, cacheType)
        let activations = Shape(sequences * tokens, heads, headSize)
        let buffer = try allocate(byteCount: 2 * activations.count * 4, purpose: "attention measurement")
        fill(buffer, .float32)
        let q = Tensor(pointer: buffer.pointer, dtype: .float32, shape: activations)
        let out = Tensor(pointer: buffer.pointer + q.byteCount, dtype: .float32, shape: activations)
        let starts = (0...sequences).map { Int32($0 * tokens) }
        let contexts = [Int32](repeating: Int32(context), count: sequences)
        // Even blocks first, then odd ones: no two neighbours in order.
        let count = sequences * blocks
        let table = (0..<count).map { Int32($0 < (count + 1) / 2 ? 2 * $0 : 2 * ($0 - (count + 1) / 2) + 1) }
        let indices = try allocate(byteCount: (starts.count + contexts.count + table.count) * 4, purpose: "attention measurement")
        let all = starts + contexts + table
        for (i, value) in all.enumerated() { indices.pointer.storeBytes(of: value, toByteOffset: 4 * i, as: Int32.self) }
        func view(_ first: Int, _ shape: Shape) -> Tensor {
            Tensor(pointer: indices.pointer + first * 4, dtype: .int32, shape: shape)
        }
        let batch = PagedBatch(
            queryStarts: view(0, Shape(starts.count)), contextLengths: view(starts.count, Shape(contexts.count)),
            blockTables: view(starts.count + contexts.count, Shape(sequences, blocks)), hostQueryStarts: starts,
            hostContextLengths: contexts)
        let options = AttentionOptions(scale: 1 / Float(headSize).squareRoot())
        let times = try timesOfCalls(seconds: seconds) {
            try pagedAttention(q, cache: KVCacheLayer(keys: keys, values: values), batch: batch, options: options, into: out)
        }
        let pairs = sequences * (tokens * (context - tokens) + tokens * (tokens + 1) / 2)
        return AttentionMeasurement(
            seconds: times.median, best: times.best, operations: 4 * Double(pairs * heads * headSize),
            bytes: Double(2 * sequences * context * kvHeads * headSize * cacheType.size))
    }

    /// Times bidirectional attention of `segments` segments of `length` rows each, as in a vision encoder.
    ///
    /// - Throws: ``TensorError`` when there is no memory.
    package func measureSegmentedAttention(
        segments: Int = 1, length: Int, heads: Int, headSize: Int, seconds: Double = 0.2
    ) throws -> AttentionMeasurement {
        let (rows, width) = (segments * length, heads * headSize)
        let buffer = try allocate(byteCount: 4 * rows * width * 4, purpose: "attention measurement")
        fill(buffer, .float32)
        let fused = Tensor(pointer: buffer.pointer, dtype: .float32, shape: Shape(rows, 3 * width))
        let shape = Shape(rows, heads, headSize)
        let (q, k, v) = (
            fused.columns(0..<width).reshaped(shape), fused.columns(width..<2 * width).reshaped(shape),
            fused.columns(2 * width..<3 * width).reshaped(shape)
        )
        let out = Tensor(pointer: buffer.pointer + fused.byteCount, dtype: .float32, shape: shape)
        let starts = (0...segments).map { Int32($0 * length) }
        // The host's copy is what this backend reads.
        let device = Tensor(pointer: buffer.pointer, dtype: .int32, shape: Shape(starts.count))
        let options = AttentionOptions(scale: 1 / Float(headSize).squareRoot())
        let times = try timesOfCalls(seconds: seconds) {
            try segmentedAttention(q, k, v, segments: device, hostSegments: starts, options: options, into: out)
        }
        return AttentionMeasurement(
            seconds: times.median, best: times.best, operations: 4 * Double(segments * length * length * width),
            bytes: Double(2 * rows * width * 4))
    }

    /// Numbers of mixed sign between -0.5 and 0.5.
    private func fill(_ buffer: any DeviceBuffer, _ dtype: DType) {
        if dtype == .float32 {
            let values = buffer.pointer.assumingMemoryBound(to: Float.self)
            for i in 0..<buffer.byteCount / 4 { values[i] = Float(i % 1009) / 1008 - 0.5 }
        } else {
            let values = buffer.pointer.assumingMemoryBound(to: UInt16.self)
            for i in 0..<buffer.byteCount / 2 {
                values[i] = UInt16(truncatingIfNeeded: (Float(i % 1009) / 1008 - 0.5).bitPattern >> 16)
            }
        }
    }

    private func timesOfCalls(seconds: Double, _ body: () throws -> Void) throws -> (median: Double, best: Double) {
        try body()
        var times: [Double] = []
        let start = vlm_seconds()
        repeat {
            let begin = vlm_seconds()
            try body()
            times.append(vlm_seconds() - begin)
        } while times.count < 3 || vlm_seconds() - start < seconds
        times.sort()
        return (times[times.count / 2], times[0])
    }
}
