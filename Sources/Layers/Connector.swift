package import Tensors

/// A norm and two linears with an activation between: the connectors of Qwen2-VL and InternVL after their rows are merged.
package struct Connector {
    /// What the norm runs over.
    package enum NormSpan: Sendable {
        /// Each row before `merge` rows become one (Qwen's patch merger).
        case row
        /// The merged row (InternVL).
        case merged
    }

    private let norm: Norm
    private let span: NormSpan
    private let first: LinearWeight
    private let second: LinearWeight
    private let activation: Activation
    private let merge: Int

    /// - Parameters:
    ///   - merge: rows of width `in` that become one of `merge · in`.
    ///   - hidden: features between the linears.
    package init(
        _ scope: LayerScope, norm: (name: String, kind: Norm.Kind, epsilon: Float), span: NormSpan, first: String, second: String,
        activation: Activation, in width: Int, merge: Int, hidden: Int, out: Int
    ) throws {
        self.norm = try Norm(
            norm.kind, scope, norm.name, size: span == .row ? width : merge * width, epsilon: norm.epsilon)
        self.span = span
        self.first = try scope.linear(first, in: merge * width, out: hidden, bias: true)
        self.second = try scope.linear(second, in: hidden, out: out, bias: true)
        self.activation = activation
        self.merge = merge
    }

    /// Hidden features `[T / merge, hidden]` of `x [T, width]`, whose memory is overwritten; in workspace memory.
    package func hidden(_ x: Tensor, context: ForwardContext) throws -> Tensor {
        let merged = x.reshaped(Shape(x.rows / merge, x.width * merge))
        let inner = try context.activations(Shape(merged.rows, first.outFeatures))
        let rows = span == .row ? x : merged
        try norm(rows, into: rows, backend: context.backend)
        try context.backend.linear(merged, first, epilogue: .activation(activation), into: inner)
        return inner
    }

    /// Feature rows of rows of ``hidden(_:context:)``.
    package func project(_ hidden: Tensor, into out: Tensor, context: ForwardContext) throws {
        try context.backend.linear(hidden, second, epilogue: .store, into: out)
    }
}
