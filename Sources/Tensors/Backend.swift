/// The operations a model is made of, on one device.
///
/// Calls are in stream order: a later call sees the results of an earlier one; the host sees them after ``download(_:into:)``
/// or ``synchronize()``. Outputs are written into tensors the caller allocated, mostly from a ``Workspace``. `x` and `out` may be
/// the same tensor where the doc says "in place". Row-strided inputs are allowed everywhere unless a doc says contiguous.
///
/// Shapes name their axes: T tokens (rows of a ragged batch), D model width, H query heads, G key/value heads, E head size,
/// S sequences, V vocabulary. Every operation throws ``TensorError`` when operands do not fit or the device fails.
package protocol Backend: AnyObject {
    var device: Device { get }
    /// The type of activations: float32 on the CPU, the model's own type on a GPU.
    var activationType: DType { get }
    /// The type keys and values are cached in.
    var cacheType: DType { get }

    // MARK: Memory

    /// Allocates zeroed memory aligned to ``Workspace/alignment``. `purpose` names it in errors and memory reports.
    func allocate(byteCount: Int, purpose: String) throws -> any DeviceBuffer
    /// Copies host bytes to `tensor` (contiguous).
    func upload(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws
    /// Copies `tensor`, whose rows may be strided, to the host after everything before it has run; there its rows follow each other.
    func download(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws
    /// Copies rows between tensors of equal shape and type; either may be strided.
    func copy(_ source: Tensor, into out: Tensor) throws
    /// Waits until everything submitted has run.
    func synchronize() throws

    // MARK: Weights

    /// Packs one weight, or several that share their input, into one matrix.
    ///
    /// - Parameters:
    ///   - parts: each `[outFeatures_i, inFeatures]` (further axes, as in convolutions, are flattened into inFeatures).
    ///   - bias: nil, or one `[outFeatures_i]` or nil per part (nil counts as zeros).
    func makeLinear(_ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine) throws -> LinearWeight
    /// Places a tensor on the device, converted to `dtype`: norms, tables, embeddings.
    func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer)
    /// Whether the backend looks for NaN and infinity in the weights it is given, so that nobody else need.
    var checksFinite: Bool { get }
    /// Multiplies the outputs of `weight`, its bias included, by `factors` `[outFeatures]` for good, by the time loading finishes.
    ///
    /// - Returns: whether it does. When not, the caller scales with ``LinearEpilogue/scaledAccumulate(scale:)``.
    func scaleOutputs(of weight: LinearWeight, by factors: HostTensor) throws -> Bool
    /// Waits until all weights have been placed, which may go on after the calls that asked for it.
    ///
    /// - Returns: the tensors that are not finite, if the backend looks, since the last call.
    func finishLoading() throws -> [NonFiniteTensor]

    // MARK: Operations

    /// `x [T, inFeatures]` times `weight`, finished by `epilogue`, into `out [T, outFeatures]` (half for `gated`).
    func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws
    /// ``linear(_:_:epilogue:into:)`` of the root-mean-square norm of `x`, in one kernel.
    ///
    /// - Returns: whether the backend has such a kernel for these operands; when not, nothing was computed.
    func linear(
        rmsNormed x: Tensor, normWeight: Tensor, epsilon: Float, _ weight: LinearWeight, epilogue: LinearEpilogue,
        into out: Tensor
    ) throws -> Bool
    /// Root-mean-square norm over rows of `x [T, D]` (or heads of `[T, H, E]`: over E): `x / sqrt(mean(x²) + eps) ⊙ weight`. May be in place.
    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws
    /// Layer norm over the last axis, biased variance. May be in place.
    func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws
    /// Rotary embedding in place on `x [T, H, E]`: the first `2R` of E dimensions turn by the angle tables `cosine`, `sine`
    /// `[T, R]` float32. `halves`: dimension i pairs with i+R (GPT-NeoX); `interleaved`: 2i with 2i+1 (GPT-J).
    func rotate(_ x: Tensor, cosine: Tensor, sine: Tensor, style: RotaryStyle) throws
    /// Angle tables of rotary positions: `cosine[t, r] = factor · cos(frequencies[r] · positions[axes[r], t])`, `sine` likewise, `[T, R]`
    /// float32. `positions` `[A, T]` int32, `frequencies` `[R]` float32, `axes` `[R]` int32. Angles are float32 products, as transformers
    /// computes them.
    func rotaryTables(
        positions: Tensor, frequencies: Tensor, axes: Tensor, factor: Float, cosine: Tensor, sine: Tensor) throws
    /// What lies between the projection of queries, keys and values and attention: head norms where the model has them, rotation of
    /// queries and keys, and the keys and values' way into the cache. Queries are left in place.
    func rotateAndCache(_ projection: AttentionProjection, slots: Tensor, cache: KVCacheLayer) throws
    /// Writes `k`, `v` `[T, G, E]` to the cache slots `slots` `[T]` int32 (block · blockSize + offset; negative: skip).
    func writeCache(keys k: Tensor, values v: Tensor, slots: Tensor, cache: KVCacheLayer) throws
    /// Causal attention of the newest tokens of each sequence over its cached context.
    ///
    /// `q`, `out` `[T, H, E]`. The keys and values of the tokens themselves are in the cache already. Query j of a sequence with
    /// n new tokens and context length c (new ones included) sees cache positions `0...(c - n + j)`, at most `window` of them; with
    /// ``PagedBatch/ends``, also later ones.
    func pagedAttention(_ q: Tensor, cache: KVCacheLayer, batch: PagedBatch, options: AttentionOptions, into out: Tensor) throws
    /// Bidirectional attention inside each segment: `q [T, H, E]`, `k`, `v` `[T, G, E]`, `out [T, H, E]`; `segments` `[S+1]` int32 row
    /// starts with the total at the end, also given as `hostSegments`.
    func segmentedAttention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, segments: Tensor, hostSegments: [Int32], options: AttentionOptions,
        into out: Tensor) throws
    /// `out[i] = table[indices[i]]` for `table [N, D]` of any floating type, converted to `out`'s; `indices` int32.
    ///
    /// With `lanes`, an int32 vector, a negative index `-1 - l` means row `lanes[l]`: the token that sampling left there, which the
    /// host may not know yet.
    func gatherRows(_ table: Tensor, indices: Tensor, lanes: Tensor?, into out: Tensor) throws
    /// `out[indices[i]] = source[i]`.
    func scatterRows(_ source: Tensor, indices: Tensor, into out: Tensor) throws
    /// `out += x`.
    func add(_ x: Tensor, into out: Tensor) throws
    /// `out[i] += table[indices[i]]`: position embeddings.
    func addRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws
    /// `out[i] += Σ weights[i, k] · table[indices[i, k]]`, summed in float32: position embeddings between those of a table. `indices` int32 and
    /// `weights` float32 are `[T, K]` and contiguous.
    func addRows(_ table: Tensor, indices: Tensor, weights: Tensor, into out: Tensor) throws
    /// One axis of a resize of bytes with fixed-point weights: `source [A, N, B]` to `out [A, M, B]`, both uint8 and contiguous.
    ///
    /// `out[a, i, b] = clip((2^(precision - 1) + Σ weights[i, k] · source[a, starts[i] + k, b]) >> precision)` to 0...255, in int32.
    /// `starts` `[M]` and `weights` `[M, taps]` are int32; weights past the end of the axis are 0.
    func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws
    /// Patches of 8-bit pictures as rows of numbers, in any order.
    ///
    /// - Parameters:
    ///   - pixels: `[n]` uint8, contiguous: pictures one after another, red, green and blue of each pixel.
    ///   - samples: `[3, 256]` float32, contiguous: what each sample of each channel becomes.
    ///   - corners: `[T, 2]` int32, contiguous: where each row's patch begins, in pixels from the start of `pixels`, and the pixels in a line
    ///     of its picture. A negative start gives a row of zeros.
    ///   - out: `[T, 3 · frames · patchSize · patchSize]`, rows in the order channel, frame, y, x; all frames are the same.
    func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor) throws
    /// `x = f(x)` in place.
    func activate(_ x: Tensor, _ activation: Activation) throws
    /// `x = factor · x` in place.
    func scale(_ x: Tensor, by factor: Float) throws
}

extension Backend {
    package var checksFinite: Bool { false }
    package func scaleOutputs(of weight: LinearWeight, by factors: HostTensor) throws -> Bool { false }
    package func finishLoading() throws -> [NonFiniteTensor] { [] }

    package func linear(
        rmsNormed x: Tensor, normWeight: Tensor, epsilon: Float, _ weight: LinearWeight, epilogue: LinearEpilogue,
        into out: Tensor
    ) throws -> Bool {
        false
    }

    package func rotateAndCache(_ projection: AttentionProjection, slots: Tensor, cache: KVCacheLayer) throws {
        let (query, key) = (projection.query, projection.key)
        if let norms = projection.norms {
            try rmsNorm(query, weight: norms.query, epsilon: norms.epsilon, into: query)
            try rmsNorm(key, weight: norms.key, epsilon: norms.epsilon, into: key)
        }
        try rotate(projection.turning, cosine: projection.cosine, sine: projection.sine, style: projection.style)
        try writeCache(keys: key, values: projection.value, slots: slots, cache: cache)
    }

    package func gatherRows(_ table: Tensor, indices: Tensor, into out: Tensor) throws {
        try gatherRows(table, indices: indices, lanes: nil, into: out)
    }
}

/// One fused projection `[T, (H + 2G) · E]`: queries, then keys, then values of each row, and what is done to them before attention.
package struct AttentionProjection {
    /// Weights `[E]` float32 of the norms of each query and key head (Qwen3).
    package struct HeadNorms {
        package let query: Tensor
        package let key: Tensor
        package let epsilon: Float

        package init(query: Tensor, key: Tensor, epsilon: Float) {
            self.query = query
            self.key = key
            self.epsilon = epsilon
        }
    }

    package let projected: Tensor
    package let heads: Int
    package let kvHeads: Int
    package let headSize: Int
    package let norms: HeadNorms?
    /// `[T, R]` float32; see ``Backend/rotate(_:cosine:sine:style:)``.
    package let cosine: Tensor
    package let sine: Tensor
    package let style: RotaryStyle

    package init(
        _ projected: Tensor, heads: Int, kvHeads: Int, headSize: Int, norms: HeadNorms?, cosine: Tensor, sine: Tensor,
        style: RotaryStyle
    ) {
        self.projected = projected
        self.heads = heads
        self.kvHeads = kvHeads
        self.headSize = headSize
        self.norms = norms
        self.cosine = cosine
        self.sine = sine
        self.style = style
    }

    private func columns(_ heads: Range<Int>) -> Tensor {
        projected.columns(heads.lowerBound * headSize..<heads.upperBound * headSize)
            .reshaped(Shape(projected.rows, heads.count, headSize))
    }

    /// `[T, H, E]`, `[T, G, E]`, `[T, G, E]`, views of the projection.
    package var query: Tensor { columns(0..<heads) }
    package var key: Tensor { columns(heads..<heads + kvHeads) }
    package var value: Tensor { columns(heads + kvHeads..<heads + 2 * kvHeads) }
    /// Queries and keys, which lie side by side, so that one call turns both.
    package var turning: Tensor { columns(0..<heads + kvHeads) }
}

/// A tensor of a checkpoint that holds NaN or infinity.
package struct NonFiniteTensor: Sendable, Equatable {
    package let name: String
    /// The first such element, row-major.
    package let position: Int

    package init(name: String, position: Int) {
        self.name = name
        self.position = position
    }
}

/// How rotary embedding pairs dimensions.
package enum RotaryStyle: Sendable { case halves, interleaved }

/// One layer's keys and values, `[blocks, G, blockSize, E]` each, contiguous.
package struct KVCacheLayer {
    package let keys: Tensor
    package let values: Tensor

    package init(keys: Tensor, values: Tensor) {
        self.keys = keys
        self.values = values
    }

    package var kvHeads: Int { keys.shape[1] }
    package var blockSize: Int { keys.shape[2] }
    package var headSize: Int { keys.shape[3] }
}

/// Where the sequences of a ragged batch begin and what they have cached.
///
/// Each array is on the device as a tensor and on the host as an array, for kernels and for their launch decisions.
package struct PagedBatch {
    /// `[S+1]` int32: rows of sequence s are `queryStarts[s] ..< queryStarts[s+1]`.
    package let queryStarts: Tensor
    /// `[S]` int32: cached positions of the sequence, the new tokens included.
    package let contextLengths: Tensor
    /// `[S, maxBlocks]` int32, rows padded with 0.
    package let blockTables: Tensor
    package let hostQueryStarts: [Int32]
    package let hostContextLengths: [Int32]
    /// `[T]` int32, where some rows see positions after their own (the tokens of a picture in Gemma 3, a whole prompt in PaliGemma): how many
    /// positions of its sequence each row sees. Nil when attention is causal.
    package let ends: Tensor?
    package let hostEnds: [Int32]

    package init(
        queryStarts: Tensor, contextLengths: Tensor, blockTables: Tensor, hostQueryStarts: [Int32], hostContextLengths: [Int32],
        ends: Tensor? = nil, hostEnds: [Int32] = []
    ) {
        self.queryStarts = queryStarts
        self.contextLengths = contextLengths
        self.blockTables = blockTables
        self.hostQueryStarts = hostQueryStarts
        self.hostContextLengths = hostContextLengths
        self.ends = ends
        self.hostEnds = hostEnds
    }

    /// Checks ``ends`` against the other arrays: each row sees itself and nothing behind the context, and no row sees less than the one
    /// before it, which is how kernels find the keys of many rows.
    ///
    /// - Throws: ``TensorError`` naming the row.
    package func checkEnds(_ operation: String) throws(TensorError) {
        guard let ends else { return }
        func fail(_ detail: String) -> TensorError { TensorError(.shapeMismatch, operation: operation, detail: detail) }
        let rows = Int(hostQueryStarts.last ?? 0)
        guard ends.dtype == .int32, ends.count == rows, hostEnds.count == rows else {
            throw fail("\(hostEnds.count) ends (\(ends.shape) of \(ends.dtype) on the device) for \(rows) rows")
        }
        for sequence in hostContextLengths.indices {
            let (first, next) = (Int(hostQueryStarts[sequence]), Int(hostQueryStarts[sequence + 1]))
            let context = hostContextLengths[sequence]
            var before: Int32 = 0
            for row in first..<next {
                let own = context - Int32(next - row) + 1
                guard hostEnds[row] >= max(own, before), hostEnds[row] <= context else {
                    throw fail(
                        "row \(row) at position \(own - 1) of \(context) sees \(hostEnds[row]) positions, the row before it \(before)"
                    )
                }
                before = hostEnds[row]
            }
        }
    }
}

package struct AttentionOptions: Sendable {
    /// Multiplies `q · k`; usually `1/√E`.
    package var scale: Float
    /// Sliding window in positions, nil for all.
    package var window: Int?
    /// `cap · tanh(score / cap)` on scores (Gemma 2), nil for none.
    package var softcap: Float?

    package init(scale: Float, window: Int? = nil, softcap: Float? = nil) {
        self.scale = scale
        self.window = window
        self.softcap = softcap
    }
}
