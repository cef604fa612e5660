import Tensors

/// What all layers of one pass share.
struct DecoderPass {
    let context: ForwardContext
    /// Of layers that see everything, and of those with a window.
    let angles: RotaryAngles
    let windowAngles: RotaryAngles
    let slots: Tensor
    let paged: PagedBatch

    var backend: any Backend { context.backend }
}

/// Cosines and sines `[T, R]` float32 of one rotary embedding.
typealias RotaryAngles = (cosine: Tensor, sine: Tensor)

/// One pre-norm decoder block: attention over the paged cache and a gated MLP, each added to the residual stream, in some models normed
/// once more on the way there.
struct DecoderLayer {
    let attentionNorm: Parameter
    let qkv: LinearWeight
    /// Norms of each query and key head, or nil.
    let queryNorm: Parameter?
    let keyNorm: Parameter?
    let output: LinearWeight
    /// Norms of what attention and MLP give, or nil.
    let attentionOutputNorm: Parameter?
    let mlpOutputNorm: Parameter?
    let mlpNorm: Parameter
    let gateUp: LinearWeight
    let down: LinearWeight
    let config: DecoderConfig
    let attention: AttentionOptions

    init(_ scope: LayerScope, index: Int, config: DecoderConfig, names: DecoderNames) throws {
        let (width, inner) = (config.hiddenSize, config.intermediateSize)
        func norm(_ name: String, _ count: Int) throws -> Parameter {
            try scope.normWeight("\(name).weight", count, plusOne: config.hasUnitNorms)
        }
        attentionNorm = try norm(names.attentionNorm, width)
        qkv = try DecoderLayer.qkv(scope, config, names.qkv)
        queryNorm = config.headNorms ? try norm(names.queryNorm, config.headSize) : nil
        keyNorm = config.headNorms ? try norm(names.keyNorm, config.headSize) : nil
        attentionOutputNorm = config.hasOutputNorms ? try norm(names.attentionOutputNorm, width) : nil
        mlpOutputNorm = config.hasOutputNorms ? try norm(names.mlpOutputNorm, width) : nil
        output = try scope.linear(names.output, in: config.queryWidth, out: width, bias: config.outputBias)
        mlpNorm = try norm(names.mlpNorm, width)
        gateUp = try scope.fused(
            [(names.gate, inner), (names.up, inner)], in: width, bias: config.mlpBias, combine: .gateUp)
        down = try scope.linear(names.down, in: inner, out: width, bias: config.mlpBias)
        // Early files carry the rotary frequencies, which follow from the configuration.
        for module in ["self_attn", "attention"] { scope.loader.ignore(scope.full("\(module).rotary_emb")) }
        self.config = config
        attention = AttentionOptions(
            scale: config.attentionScale ?? 1 / Float(config.headSize).squareRoot(), window: config.windows[index],
            softcap: config.attentionSoftcap)
    }

    private static func qkv(_ scope: LayerScope, _ config: DecoderConfig, _ names: DecoderNames.QKV) throws -> LinearWeight {
        switch names {
        case .separate(let query, let key, let value):
            return try scope.fused(
                [(query, config.queryWidth), (key, config.keyWidth), (value, config.keyWidth)], in: config.hiddenSize,
                bias: config.qkvBias)
        case .grouped(let name):
            let weight = try scope.host("\(name).weight", [config.qkvWidth, config.hiddenSize])
            let bias = config.qkvBias ? try scope.host("\(name).bias", [config.qkvWidth]) : nil
            let parts = ungrouped(config)
            return try scope.makeLinear(parts.map { weight.rows($0) }, bias: bias.map { bias in parts.map { bias.rows($0) } })
        }
    }

    /// Rows of a grouped matrix in the order queries, keys, values.
    private static func ungrouped(_ config: DecoderConfig) -> [Range<Int>] {
        let size = config.headSize
        let queries = config.heads / config.kvHeads * size
        let groups = (0..<config.kvHeads).map { $0 * (queries + 2 * size) }
        return groups.map { $0..<$0 + queries } + groups.map { $0 + queries..<$0 + queries + size }
            + groups.map { $0 + queries + size..<$0 + queries + 2 * size }
    }

    /// Adds attention and MLP to `x [T, D]` in place.
    func forward(_ x: Tensor, cache: KVCacheLayer, pass: DecoderPass) throws {
        try pass.context.workspace.scope {
            let attended = try attend(x, cache: cache, pass: pass)
            try add(attended, output, norm: attentionOutputNorm, to: x, pass: pass)
        }
        try mlp(x, pass: pass)
    }

    /// `x += norm(input Wᵀ + b)`, or without the norm.
    private func add(_ input: Tensor, _ weight: LinearWeight, norm: Parameter?, to x: Tensor, pass: DecoderPass) throws {
        guard let norm else { return try pass.backend.linear(input, weight, epilogue: .accumulate, into: x) }
        try pass.context.workspace.scope {
            let product = try pass.context.activations(x.shape)
            try pass.backend.linear(input, weight, epilogue: .store, into: product)
            try pass.backend.rmsNorm(product, weight: norm.tensor, epsilon: config.normEpsilon, into: product)
            try pass.backend.add(product, into: x)
        }
    }

    /// The last layer: the same for the output rows alone, into `out [n, D]`; the other rows only leave their keys and values.
    func forwardLast(_ x: Tensor, rows: Tensor, cache: KVCacheLayer, pass: DecoderPass, into out: Tensor) throws {
        try pass.context.workspace.scope {
            if out.rows == 0 {
                _ = try project(x, cache: cache, pass: pass)
                return
            }
            let attended = try attend(x, cache: cache, pass: pass)
            let selected = try pass.context.activations(Shape(out.rows, config.queryWidth))
            try pass.backend.gatherRows(attended, indices: rows, into: selected)
            try pass.backend.gatherRows(x, indices: rows, into: out)
            try add(selected, output, norm: attentionOutputNorm, to: out, pass: pass)
        }
        if out.rows > 0 { try mlp(out, pass: pass) }
    }

    /// Queries `[T, H, E]` of the normed input; keys and values go to the cache.
    private func project(_ x: Tensor, cache: KVCacheLayer, pass: DecoderPass) throws -> Tensor {
        let context = pass.context
        let projected = try context.activations(Shape(x.rows, config.qkvWidth))
        try context.linear(rmsNormed: x, attentionNorm, epsilon: config.normEpsilon, qkv, epilogue: .store, into: projected)
        var norms: AttentionProjection.HeadNorms?
        if let queryNorm, let keyNorm {
            norms = .init(query: queryNorm.tensor, key: keyNorm.tensor, epsilon: config.normEpsilon)
        }
        let angles = attention.window == nil ? pass.angles : pass.windowAngles
        let projection = AttentionProjection(
            projected, heads: config.heads, kvHeads: config.kvHeads, headSize: config.headSize, norms: norms,
            cosine: angles.cosine, sine: angles.sine, style: .halves)
        try pass.backend.rotateAndCache(projection, slots: pass.slots, cache: cache)
        return projection.query
    }

    /// Attention of every row, `[T, H · E]`.
    private func attend(_ x: Tensor, cache: KVCacheLayer, pass: DecoderPass) throws -> Tensor {
        let attended = try pass.context.activations(Shape(x.rows, config.heads, config.headSize))
        try pass.context.workspace.scope {
            let query = try project(x, cache: cache, pass: pass)
            try pass.backend.pagedAttention(query, cache: cache, batch: pass.paged, options: attention, into: attended)
        }
        return attended.reshaped(Shape(x.rows, config.queryWidth))
    }

    private func mlp(_ x: Tensor, pass: DecoderPass) throws {
        let context = pass.context
        try context.workspace.scope {
            let inner = try context.activations(Shape(x.rows, config.intermediateSize))
            try context.linear(
                rmsNormed: x, mlpNorm, epsilon: config.normEpsilon, gateUp, epilogue: .gated(config.activation), into: inner)
            try add(inner, down, norm: mlpOutputNorm, to: x, pass: pass)
        }
    }
}
