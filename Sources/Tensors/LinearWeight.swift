/// A matrix `[outFeatures, inFeatures]` in the layout its backend multiplies fastest, with its bias.
///
/// Made by ``Backend/makeLinear(_:bias:combine:)`` once at load; opaque to everybody but that backend. One packed copy serves
/// prefill (matrix times matrix) and decode (matrix times vector).
package struct LinearWeight {
    /// How the parts of a fused weight lie in its output.
    package enum Combine: Sendable {
        /// Output features of the parts one after another: `[Q | K | V]`.
        case concatenated
        /// Two parts of equal size, gate and up, interleaved by the backend so that ``LinearEpilogue/gated(_:)`` can
        /// multiply them in registers; the output has half as many features.
        case gateUp
    }

    package let inFeatures: Int
    /// Rows of all parts together (for `gateUp`: gate plus up).
    package let outFeatures: Int
    package let combine: Combine
    /// The type the weight is stored in.
    package let dtype: DType
    /// Backend-private packed data.
    package let packed: Tensor
    /// `[outFeatures]` in the order of `packed`, or nil.
    package let bias: Tensor?
    /// Keeps `packed` and `bias` alive.
    package let owner: any DeviceBuffer

    package init(
        inFeatures: Int, outFeatures: Int, combine: Combine, dtype: DType, packed: Tensor, bias: Tensor?, owner: any DeviceBuffer
    ) {
        self.inFeatures = inFeatures
        self.outFeatures = outFeatures
        self.combine = combine
        self.dtype = dtype
        self.packed = packed
        self.bias = bias
        self.owner = owner
    }
}

/// Activation functions by the names transformers' `hidden_act` gives them.
package enum Activation: String, Sendable {
    /// Exact GELU, `x/2 (1 + erf(x/√2))`.
    case gelu
    /// `gelu_pytorch_tanh`, `gelu_new`: the tanh approximation of Hendrycks and Gimpel.
    case geluTanh
    /// `x · sigmoid(1.702 x)`, as CLIP and Qwen2-VL's vision tower use it.
    case quickGELU
    /// `x · sigmoid(x)`.
    case silu
    case relu
    case tanh
}

/// What a matrix multiplication does with each result before it is written.
package enum LinearEpilogue {
    /// `out = x Wᵀ + b`
    case store
    /// `out += x Wᵀ + b`, the residual connection
    case accumulate
    /// `out += scale ⊙ (x Wᵀ + b)`, InternViT's layer scale; `scale` is `[outFeatures]`
    case scaledAccumulate(scale: Tensor)
    /// `out = f(x Wᵀ + b)`
    case activation(Activation)
    /// `out = f(gate) ⊙ up` for a `gateUp` weight; `out` has half the features
    case gated(Activation)
}
