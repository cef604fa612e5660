package import Tensors

/// Everything a forward pass may touch: passed down explicitly, nothing is global.
package struct ForwardContext {
    package let backend: any Backend
    package let workspace: Workspace

    package init(backend: any Backend, workspace: Workspace) {
        self.backend = backend
        self.workspace = workspace
    }

    /// Uninitialised activations of the backend's type.
    package func activations(_ shape: Shape) throws -> Tensor {
        try workspace.allocate(shape, dtype: backend.activationType)
    }

    /// `weight` times the root-mean-square norm of `x`, in one kernel where the backend has one.
    package func linear(
        rmsNormed x: Tensor, _ norm: Parameter, epsilon: Float, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor
    ) throws {
        let fused = try backend.linear(
            rmsNormed: x, normWeight: norm.tensor, epsilon: epsilon, weight, epilogue: epilogue, into: out)
        guard !fused else { return }
        try workspace.scope {
            let normed = try activations(x.shape)
            try backend.rmsNorm(x, weight: norm.tensor, epsilon: epsilon, into: normed)
            try backend.linear(normed, weight, epilogue: epilogue, into: out)
        }
    }

    /// Host values copied to the workspace: `[n]` int32.
    package func upload(_ values: [Int32]) throws -> Tensor {
        let tensor = try workspace.allocate(Shape(values.count), dtype: .int32)
        try values.withUnsafeBytes { try backend.upload($0, to: tensor) }
        return tensor
    }

    /// Host bytes copied to a contiguous tensor.
    package func upload(_ bytes: [UInt8], to tensor: Tensor) throws {
        try bytes.withUnsafeBytes { try backend.upload($0, to: tensor) }
    }

    /// Host values copied to the workspace as float32 of any shape.
    package func upload(_ values: [Float], shape: Shape) throws -> Tensor {
        precondition(values.count == shape.count, "values do not fill the shape")
        let tensor = try workspace.allocate(shape, dtype: .float32)
        try values.withUnsafeBytes { try backend.upload($0, to: tensor) }
        return tensor
    }

    /// Host values copied to the workspace in the backend's activation type.
    package func uploadActivations(_ values: [Float], shape: Shape) throws -> Tensor {
        let type = backend.activationType
        if type == .float32 { return try upload(values, shape: shape) }
        precondition(values.count == shape.count, "values do not fill the shape")
        let tensor = try workspace.allocate(shape, dtype: type)
        let halves = values.map { type == .float16 ? Float16($0).bitPattern : ForwardContext.bfloat16($0) }
        try halves.withUnsafeBytes { try backend.upload($0, to: tensor) }
        return tensor
    }

    /// A factor as the backend's activations hold it: transformers rounds such constants to the model's type.
    package func rounded(_ value: Float) -> Float {
        switch backend.activationType {
        case .bfloat16: Float(bitPattern: UInt32(ForwardContext.bfloat16(value)) << 16)
        case .float16: Float(Float16(value))
        default: value
        }
    }

    /// Rounded to the nearest bfloat16, ties to even.
    private static func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
        return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
    }
}
