package import Tensors

/// A normalisation with its weights.
package enum Norm {
    case rms(weight: Parameter, epsilon: Float)
    case layer(weight: Parameter, bias: Parameter, epsilon: Float)

    /// Which of them, before weights are bound.
    package enum Kind: Sendable {
        case rms
        /// Multiplies by `1 + weight` (Gemma).
        case unitRMS
        case layer
    }

    /// Binds `name.weight` and, for a layer norm, `name.bias`, `[size]` each.
    package init(_ kind: Kind, _ scope: LayerScope, _ name: String, size: Int, epsilon: Float) throws {
        let weight = try scope.normWeight("\(name).weight", size, plusOne: kind == .unitRMS)
        switch kind {
        case .rms, .unitRMS: self = .rms(weight: weight, epsilon: epsilon)
        case .layer: self = .layer(weight: weight, bias: try scope.vector("\(name).bias", size), epsilon: epsilon)
        }
    }

    /// Normalises the rows of `x` into `out`, which may be `x`.
    package func callAsFunction(_ x: Tensor, into out: Tensor, backend: any Backend) throws {
        switch self {
        case .rms(let weight, let epsilon):
            try backend.rmsNorm(x, weight: weight.tensor, epsilon: epsilon, into: out)
        case .layer(let weight, let bias, let epsilon):
            try backend.layerNorm(x, weight: weight.tensor, bias: bias.tensor, epsilon: epsilon, into: out)
        }
    }
}
