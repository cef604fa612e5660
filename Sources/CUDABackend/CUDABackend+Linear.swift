import CCUDAKernels
package import Tensors

extension CUDABackend {
    /// Rows of `x` up to which a product is bound by reading the weights.
    static let skinnyRows = Int(VLM_CUDA_SKINNY_ROWS)

    /// `out [T, outFeatures] = epilogue(x [T, inFeatures] Wᵀ + b)`; rows of `x` and `out` may be strided.
    ///
    /// `x` is of the activation type, `out` of that or float32. Sums and epilogue are float32; each result is rounded once. Up to 16
    /// rows a row's result does not depend on the others. `out` must not overlap `x`.
    ///
    /// - Throws: ``TensorError`` when shapes or types do not fit, ``CUDAError`` when the device fails.
    package func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        _ = try chooseLinear(x, weight, epilogue: epilogue, into: out)
    }

    /// ``linear(_:_:epilogue:into:)``.
    ///
    /// - Returns: the kernels that it took.
    func chooseLinear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws -> LinearPath {
        var parameters = try linearParameters(x, weight, epilogue, out)
        guard x.rows > 0, out.width > 0 else { return .generic }
        if x.rows <= CUDABackend.skinnyRows {
            if isAligned(x, weight), let plan = SkinnyPlan(&parameters, .init(properties), elementSize: activationType.size) {
                try launchSkinny(plan, &parameters)
                return .skinny
            }
        } else {
            let prefersLibrary =
                linearPath.map { $0 == .library }
                ?? (!properties.isHopper
                    || LinearCosts.prefersLibrary(
                        rows: x.rows, features: Int(parameters.weight_rows), inFeatures: weight.inFeatures, epilogue: epilogue))
            if prefersLibrary, try multiply(x, weight, epilogue, out, parameters) { return .library }
            if try hopperGEMM(x, weight, epilogue: epilogue, into: out) { return .hopper }
            if !prefersLibrary, try multiply(x, weight, epilogue, out, parameters) { return .library }
        }
        try launchGeneric(parameters)
        return .generic
    }

    /// ``linear(_:_:epilogue:into:)`` of the root-mean-square norm of `x`, for at most 16 rows; normalised values are rounded to the
    /// activation type, as a norm of its own would store them.
    package func linear(
        rmsNormed x: Tensor, normWeight: Tensor, epsilon: Float, _ weight: LinearWeight, epilogue: LinearEpilogue,
        into out: Tensor
    ) throws -> Bool {
        var parameters = try linearParameters(x, weight, epilogue, out)
        guard normWeight.dtype == .float32, normWeight.isContiguous, normWeight.count == weight.inFeatures else {
            throw TensorError(
                .shapeMismatch, operation: "linear",
                detail: "the norm's weight is \(normWeight.shape) of \(normWeight.dtype), not [\(weight.inFeatures)] of float32")
        }
        guard x.rows > 0, x.rows <= CUDABackend.skinnyRows, isAligned(x, weight), normWeight.startsAligned else { return false }
        parameters.norm_weight = UnsafePointer(normWeight.pointer.assumingMemoryBound(to: Float.self))
        parameters.epsilon = epsilon
        guard let plan = SkinnyPlan(&parameters, .init(properties), elementSize: activationType.size) else { return false }
        try launchSkinny(plan, &parameters)
        return true
    }

    // MARK: Operands

    private func linearParameters(
        _ x: Tensor, _ weight: LinearWeight, _ epilogue: LinearEpilogue, _ out: Tensor
    ) throws -> vlm_cuda_linear {
        var parameters = vlm_cuda_linear()
        var gated = false
        switch epilogue {
        case .store: parameters.epilogue = Int32(VLM_CUDA_STORE.rawValue)
        case .accumulate: parameters.epilogue = Int32(VLM_CUDA_ACCUMULATE.rawValue)
        case .scaledAccumulate(let scale):
            guard scale.dtype == .float32, scale.isContiguous, scale.count == weight.outFeatures else {
                throw TensorError(
                    .shapeMismatch, operation: "linear",
                    detail: "the scale is \(scale.shape) of \(scale.dtype), not [\(weight.outFeatures)] of float32")
            }
            parameters.epilogue = Int32(VLM_CUDA_SCALED_ACCUMULATE.rawValue)
            parameters.scale = UnsafePointer(scale.pointer.assumingMemoryBound(to: Float.self))
        case .activation(let activation):
            parameters.epilogue = Int32(VLM_CUDA_STORE.rawValue)
            parameters.activation = activation.cudaValue
        case .gated(let activation):
            parameters.epilogue = Int32(VLM_CUDA_GATED.rawValue)
            parameters.activation = activation.cudaValue
            gated = true
        }
        guard gated == (weight.combine == .gateUp) else {
            throw TensorError(
                .unsupported, operation: "linear", detail: "gate and up weights, and only they, finish with the gated epilogue")
        }
        let columns = gated ? weight.outFeatures / 2 : weight.outFeatures
        guard x.dtype == activationType, weight.dtype == activationType, out.dtype == activationType || out.dtype == .float32,
            x.width == weight.inFeatures, out.width == columns, x.rows == out.rows
        else {
            throw TensorError(
                .shapeMismatch, operation: "linear",
                detail:
                    "x \(x.shape) of \(x.dtype) by a weight [\(weight.outFeatures), \(weight.inFeatures)] of \(weight.dtype) into \(out.shape) of \(out.dtype); "
                    + "x is [T, \(weight.inFeatures)] of \(activationType), the weight too, and out [T, \(columns)] of \(activationType) or float32"
            )
        }
        guard x.rows <= Int(Int32.max), weight.inFeatures <= Int(Int32.max), weight.packed.rows <= Int(Int32.max) else {
            throw TensorError(.unsupported, operation: "linear", detail: "x \(x.shape) has more rows or columns than 2³¹ - 1")
        }
        parameters.x = UnsafeRawPointer(x.pointer)
        parameters.weight = UnsafeRawPointer(weight.packed.pointer)
        parameters.bias = (weight.bias?.pointer.assumingMemoryBound(to: Float.self)).map { UnsafePointer($0) }
        parameters.out = out.pointer
        parameters.x_stride = Int64(x.rowStride)
        parameters.weight_stride = Int64(weight.packed.rowStride)
        parameters.out_stride = Int64(out.rowStride)
        parameters.rows = Int32(x.rows)
        parameters.in_features = Int32(weight.inFeatures)
        // Only the padding of gate and up belongs to the groups that kernels count in.
        parameters.weight_rows = Int32(gated ? weight.packed.rows : weight.outFeatures)
        parameters.out_columns = Int32(columns)
        parameters.out_float32 = out.dtype == .float32 ? 1 : 0
        return parameters
    }

    /// Whether rows of both operands can be read 16 bytes at a time.
    private func isAligned(_ x: Tensor, _ weight: LinearWeight) -> Bool {
        x.isAligned16 && weight.packed.isAligned16 && weight.inFeatures * activationType.size & 15 == 0
    }

    // MARK: Kernels

    private func launchSkinny(_ plan: SkinnyPlan, _ parameters: inout vlm_cuda_linear) throws {
        parameters.partials = scratch(.partials).pointer.assumingMemoryBound(to: Float.self)
        parameters.flags = scratch(.counters).pointer.assumingMemoryBound(to: UInt32.self)
        if properties.major >= 9, let weight = parameters.weight {
            parameters.weight_map = try tensorMap(
                UnsafeMutableRawPointer(mutating: weight), dtype: activationType, rows: Int(parameters.weight_rows),
                columns: Int(parameters.in_features), rowStride: Int(parameters.weight_stride),
                boxRows: Int(VLM_CUDA_SKINNY_TILE_ROWS), boxColumns: Int(VLM_CUDA_SKINNY_BOX_BYTES) / activationType.size,
                swizzle: .none)
        }
        let kernel = try kernel(.linear, parameters.rows <= 8 ? "linear_skinny_8" : "linear_skinny_16")
        try launch(
            kernel, Grid(plan.blocks), block: Int(VLM_CUDA_SKINNY_THREADS), sharedBytes: plan.sharedBytes, overlaps: true,
            parameters)
    }

    private func launchGeneric(_ parameters: vlm_cuda_linear) throws {
        let edge = Int(VLM_CUDA_GENERIC_TILE)
        // Rows go through the grid's second axis, which is short.
        let most = 65_535 * edge
        var rest = parameters
        var row = 0
        while row < Int(parameters.rows) {
            rest.rows = Int32(min(most, Int(parameters.rows) - row))
            let grid = Grid((Int(parameters.weight_rows) + edge - 1) / edge, (Int(rest.rows) + edge - 1) / edge)
            try launch(kernel(.linear, "linear_generic"), grid, block: 256, overlaps: true, rest)
            row += Int(rest.rows)
            rest.x = rest.x.map { $0 + Int(rest.rows) * Int(parameters.x_stride) * activationType.size }
            let size = parameters.out_float32 != 0 ? DType.float32.size : activationType.size
            rest.out = rest.out.map { $0 + Int(rest.rows) * Int(parameters.out_stride) * size }
        }
    }
}

extension Tensor {
    /// Whether every row starts at a multiple of 16 bytes.
    var isAligned16: Bool { (Int(bitPattern: pointer) | (rows > 1 ? rowStride * dtype.size : 0)) & 15 == 0 }
}
