package import Tensors

/// A pre-norm vision transformer block in numbers and names.
package struct VisionBlockConfig: Sendable {
    package enum MLP: Sendable {
        /// `second(f(first x))`
        case plain(first: String, second: String, Activation)
        /// `down(f(gate x) ⊙ up x)`
        case gated(gate: String, up: String, down: String, Activation)
    }

    package enum QKV: Sendable {
        case fused(String)
        case separate(query: String, key: String, value: String)
    }

    package var width: Int
    package var heads: Int
    package var intermediateSize: Int
    package var norm: Norm.Kind
    package var normEpsilon: Float
    package var attentionNorm: String
    package var mlpNorm: String
    package var qkv: QKV
    package var qkvBias: Bool
    /// Names of root-mean-square norms over all of a row's queries and keys, before heads are split (InternViT-6B).
    package var wideNorms: (query: String, key: String)?
    package var wideNormEpsilon: Float
    package var output: String
    package var mlp: MLP
    /// Names of the vectors that scale each branch before it is added.
    package var layerScales: (attention: String, mlp: String)?

    package init(
        width: Int, heads: Int, intermediateSize: Int, norm: Norm.Kind, normEpsilon: Float, attentionNorm: String,
        mlpNorm: String,
        qkv: QKV, qkvBias: Bool, wideNorms: (query: String, key: String)? = nil, wideNormEpsilon: Float = 1e-6, output: String,
        mlp: MLP, layerScales: (attention: String, mlp: String)? = nil
    ) {
        self.width = width
        self.heads = heads
        self.intermediateSize = intermediateSize
        self.norm = norm
        self.normEpsilon = normEpsilon
        self.attentionNorm = attentionNorm
        self.mlpNorm = mlpNorm
        self.qkv = qkv
        self.qkvBias = qkvBias
        self.wideNorms = wideNorms
        self.wideNormEpsilon = wideNormEpsilon
        self.output = output
        self.mlp = mlp
        self.layerScales = layerScales
    }

    package var headSize: Int { width / heads }
}

/// Which rows attend to one another: consecutive runs, on the host and on the device.
package struct Segments {
    /// `[S+1]` starts and, at the end, the number of rows.
    package let starts: [Int32]
    package let tensor: Tensor

    package init(_ starts: [Int32], context: ForwardContext) throws {
        self.starts = starts
        tensor = try context.upload(starts)
    }
}

/// One block of a vision tower: bidirectional attention inside segments and an MLP, each added to the residual stream.
package struct VisionBlock {
    private let config: VisionBlockConfig
    private let attentionNorm: Norm
    private let qkv: LinearWeight
    private let queryNorm: Parameter?
    private let keyNorm: Parameter?
    private let output: LinearWeight
    private let attentionScale: Parameter?
    private let mlpNorm: Norm
    private let first: LinearWeight
    private let second: LinearWeight
    private let mlpScale: Parameter?
    private let epilogue: LinearEpilogue

    /// Binds the weights of one block; linears other than QKV always have biases.
    package init(_ scope: LayerScope, _ config: VisionBlockConfig) throws {
        self.config = config
        let (width, inner) = (config.width, config.intermediateSize)
        attentionNorm = try Norm(config.norm, scope, config.attentionNorm, size: width, epsilon: config.normEpsilon)
        switch config.qkv {
        case .fused(let name): qkv = try scope.linear(name, in: width, out: 3 * width, bias: config.qkvBias)
        case .separate(let query, let key, let value):
            qkv = try scope.fused([(query, width), (key, width), (value, width)], in: width, bias: config.qkvBias)
        }
        queryNorm = try config.wideNorms.map { try scope.vector("\($0.query).weight", width) }
        keyNorm = try config.wideNorms.map { try scope.vector("\($0.key).weight", width) }
        output = try scope.linear(config.output, in: width, out: width, bias: true)
        attentionScale = try VisionBlock.scale(scope, config.layerScales?.attention, of: output)
        mlpNorm = try Norm(config.norm, scope, config.mlpNorm, size: width, epsilon: config.normEpsilon)
        switch config.mlp {
        case .plain(let firstName, let secondName, let activation):
            first = try scope.linear(firstName, in: width, out: inner, bias: true)
            second = try scope.linear(secondName, in: inner, out: width, bias: true)
            epilogue = .activation(activation)
        case .gated(let gate, let up, let down, let activation):
            first = try scope.fused([(gate, inner), (up, inner)], in: width, bias: true, combine: .gateUp)
            second = try scope.linear(down, in: inner, out: width, bias: true)
            epilogue = .gated(activation)
        }
        mlpScale = try VisionBlock.scale(scope, config.layerScales?.mlp, of: second)
    }

    /// A layer scale, or nil when there is none or the backend has put it into the weight before it.
    private static func scale(_ scope: LayerScope, _ name: String?, of weight: LinearWeight) throws -> Parameter? {
        guard let name else { return nil }
        let factors = try scope.host(name, [weight.outFeatures])
        if try scope.loader.backend.scaleOutputs(of: weight, by: factors) { return nil }
        return try scope.parameter(factors, dtype: .float32)
    }

    /// Adds attention and MLP to `x [T, D]` in place.
    ///
    /// - Parameter rotary: angle tables `[T, E/2]` float32 that turn queries and keys, or nil.
    package func forward(
        _ x: Tensor, segments: Segments, rotary: (cosine: Tensor, sine: Tensor)?, context: ForwardContext
    ) throws {
        let backend = context.backend
        let rows = x.rows
        try context.workspace.scope {
            let attended = try context.activations(Shape(rows, config.heads, config.headSize))
            try context.workspace.scope {
                let projected = try context.activations(Shape(rows, 3 * config.width))
                try context.workspace.scope {
                    let normed = try context.activations(x.shape)
                    try attentionNorm(x, into: normed, backend: backend)
                    try backend.linear(normed, qkv, epilogue: .store, into: projected)
                }
                try attend(projected, segments: segments, rotary: rotary, backend: backend, into: attended)
            }
            try backend.linear(
                attended.reshaped(x.shape), output, epilogue: VisionBlock.residual(attentionScale), into: x)
        }
        try context.workspace.scope {
            let normed = try context.activations(x.shape)
            let inner = try context.activations(Shape(rows, config.intermediateSize))
            try mlpNorm(x, into: normed, backend: backend)
            try backend.linear(normed, first, epilogue: epilogue, into: inner)
            try backend.linear(inner, second, epilogue: VisionBlock.residual(mlpScale), into: x)
        }
    }

    /// `projected [T, 3D]` to `attended [T, H, E]`.
    private func attend(
        _ projected: Tensor, segments: Segments, rotary: (cosine: Tensor, sine: Tensor)?, backend: any Backend,
        into attended: Tensor
    ) throws {
        let (rows, width) = (projected.rows, config.width)
        let heads = attended.shape
        let (query, key) = (projected.columns(0..<width), projected.columns(width..<2 * width))
        if let queryNorm, let keyNorm {
            try backend.rmsNorm(query, weight: queryNorm.tensor, epsilon: config.wideNormEpsilon, into: query)
            try backend.rmsNorm(key, weight: keyNorm.tensor, epsilon: config.wideNormEpsilon, into: key)
        }
        if let rotary {
            let turning = projected.columns(0..<2 * width).reshaped(Shape(rows, 2 * config.heads, config.headSize))
            try backend.rotate(turning, cosine: rotary.cosine, sine: rotary.sine, style: .halves)
        }
        try backend.segmentedAttention(
            query.reshaped(heads), key.reshaped(heads), projected.columns(2 * width..<3 * width).reshaped(heads),
            segments: segments.tensor, hostSegments: segments.starts,
            options: AttentionOptions(scale: 1 / Float(config.headSize).squareRoot()), into: attended)
    }

    private static func residual(_ scale: Parameter?) -> LinearEpilogue {
        scale.map { .scaledAccumulate(scale: $0.tensor) } ?? .accumulate
    }
}
