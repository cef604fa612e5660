package import Tensors

/// What stands between a vision tower and a language model, step by step as its checkpoint lists it.
package enum ConnectorStep: Sendable {
    /// Normalises each row.
    case norm(String, Norm.Kind, epsilon: Float)
    /// Puts this many consecutive rows side by side.
    case merge(Int)
    /// The mean of this many consecutive rows, summed in float32.
    case average(Int)
    case linear(String, out: Int, bias: Bool = true)
    /// `x W` for a matrix that is stored as `[in, out]` under exactly this name.
    case product(String, out: Int)
    case activation(Activation)
}

/// Norms, linears and activations over feature rows: Qwen's patch merger, InternVL's and LLaVA's projectors.
package struct Connector {
    private enum Stage {
        case norm(Norm)
        case merge(Int)
        case average(Int)
        case linear(LinearWeight, LinearEpilogue)
        case activation(Activation)
    }

    private let stages: [Stage]
    /// The linear that writes the result; what follows works in place.
    private let lastLinear: Int
    /// Rows that become one.
    package let merge: Int
    /// Features of a row of the result.
    package let outputWidth: Int

    /// Binds the weights.
    ///
    /// - Parameter steps: with at least one linear.
    package init(_ scope: LayerScope, in width: Int, steps: [ConnectorStep]) throws {
        var (width, merge) = (width, 1)
        var stages: [Stage] = []
        for step in steps {
            switch step {
            case .norm(let name, let kind, let epsilon):
                stages.append(.norm(try Norm(kind, scope, name, size: width, epsilon: epsilon)))
            case .merge(let count):
                stages.append(.merge(count))
                (width, merge) = (width * count, merge * count)
            case .average(let count):
                stages.append(.average(count))
                merge *= count
            case .product(let name, let out):
                let weight = try scope.host(name, [width, out])
                stages.append(.linear(try scope.makeLinear([weight.transposed()], bias: nil), .store))
                width = out
            case .linear(let name, let out, let bias):
                stages.append(.linear(try scope.linear(name, in: width, out: out, bias: bias), .store))
                width = out
            case .activation(let activation):
                // Right after a linear it costs nothing.
                if case .linear(let weight, .store)? = stages.last {
                    stages[stages.count - 1] = .linear(weight, .activation(activation))
                } else {
                    stages.append(.activation(activation))
                }
            }
        }
        guard let last = stages.lastIndex(where: { if case .linear = $0 { true } else { false } }) else {
            preconditionFailure("a connector without a linear")
        }
        self.stages = stages
        self.merge = merge
        lastLinear = last
        outputWidth = width
    }

    /// Feature rows `[T / merge, outputWidth]` of `x [T, width]`, whose memory is overwritten.
    package func callAsFunction(_ x: Tensor, into out: Tensor, context: ForwardContext) throws {
        try context.workspace.scope {
            var rows = x
            for (index, stage) in stages.enumerated() {
                switch stage {
                case .norm(let norm): try norm(rows, into: rows, backend: context.backend)
                case .average(let count): rows = try average(rows, of: count, context: context)
                case .merge(let count): rows = rows.reshaped(Shape(rows.rows / count, rows.width * count))
                case .activation(let activation): try context.backend.activate(rows, activation)
                case .linear(let weight, let epilogue):
                    let product =
                        index == lastLinear ? out : try context.activations(Shape(rows.rows, weight.outFeatures))
                    try context.backend.linear(rows, weight, epilogue: epilogue, into: product)
                    rows = product
                }
            }
        }
    }

    /// Means `[T / count, width]` of groups of rows.
    private func average(_ x: Tensor, of count: Int, context: ForwardContext) throws -> Tensor {
        let width = x.width
        let groups = x.reshaped(Shape(x.rows / count, count * width))
        let means = try context.activations(Shape(groups.rows, width))
        try context.workspace.scope {
            let sums = try context.workspace.allocate(means.shape, dtype: .float32)
            try context.backend.copy(groups.columns(0..<width), into: sums)
            for member in 1..<count { try context.backend.add(groups.columns(member * width..<(member + 1) * width), into: sums) }
            try context.backend.scale(sums, by: 1 / Float(count))
            try context.backend.copy(sums, into: means)
        }
        return means
    }
}
