import CCPUKernels
package import Tensors

extension CPUBackend {
    /// `out [T, outFeatures] = epilogue(x [T, inFeatures] Wᵀ + b)`; rows of `x` and `out` may be strided.
    ///
    /// In exact mode everything is float32. In fast mode weights are bfloat16; where the processor has the BF16 dot product, `x` is
    /// rounded to bfloat16 too, elsewhere it stays float32; sums are float32. Each result is one chain of multiply-adds over the
    /// input features in order, in every path, so a row of `out` has the same bits whatever other rows are in the batch and
    /// however many threads there are. `out` must not overlap `x`.
    ///
    /// - Throws: ``TensorError`` when shapes or types do not fit, or the scratch memory of a larger batch than ever before cannot be had.
    package func linear(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws {
        var call = vlm_linear_call()
        call.isa = instructionSet.isa
        call.kind = weight.dtype == .float32 ? VLM_GEMM_F32 : vlm_gemm_bf16_kind(instructionSet.isa)
        call.epilogue = VLM_EPILOGUE_STORE
        call.activation = VLM_ACTIVATION_NONE
        var gated = false
        switch epilogue {
        case .store: break
        case .accumulate: call.epilogue = VLM_EPILOGUE_ACCUMULATE
        case .scaledAccumulate(let scale):
            guard scale.dtype == .float32, scale.isContiguous, scale.count == weight.outFeatures else {
                throw TensorError(
                    .shapeMismatch, operation: "linear",
                    detail: "the scale is \(scale.shape) of \(scale.dtype), not [\(weight.outFeatures)] of float32")
            }
            call.epilogue = VLM_EPILOGUE_SCALED_ACCUMULATE
            call.scale = UnsafePointer(scale.pointer.assumingMemoryBound(to: Float.self))
        case .activation(let activation): call.activation = activation.kernel
        case .gated(let activation):
            call.epilogue = VLM_EPILOGUE_GATED
            call.activation = activation.kernel
            gated = true
        }
        guard gated == (weight.combine == .gateUp) else {
            throw TensorError(
                .unsupported, operation: "linear", detail: "gate and up weights, and only they, finish with the gated epilogue")
        }
        let columns = gated ? weight.outFeatures / 2 : weight.outFeatures
        guard x.dtype == .float32, out.dtype == .float32, x.width == weight.inFeatures, out.width == columns, x.rows == out.rows
        else {
            throw TensorError(
                .shapeMismatch, operation: "linear",
                detail:
                    "x \(x.shape) of \(x.dtype) by a weight [\(weight.outFeatures), \(weight.inFeatures)] into \(out.shape) of \(out.dtype); "
                    + "x is [T, \(weight.inFeatures)] and out [T, \(columns)], both float32")
        }
        call.rows = x.rows
        call.in_features = weight.inFeatures
        call.out_features = columns
        call.x = UnsafePointer(x.pointer.assumingMemoryBound(to: Float.self))
        call.x_stride = x.rowStride
        call.panels = UnsafeRawPointer(weight.packed.pointer)
        call.bias = (weight.bias?.pointer.assumingMemoryBound(to: Float.self)).map { UnsafePointer($0) }
        call.out = out.pointer.assumingMemoryBound(to: Float.self)
        call.out_stride = out.rowStride
        call.scratch = try scratch(byteCount: vlm_linear_scratch_bytes(&call, Int32(pool.threadCount)))
        pool.run(&call)
    }
}

extension Activation {
    /// The function's number in the C kernels.
    var kernel: vlm_activation {
        switch self {
        case .gelu: VLM_ACTIVATION_GELU
        case .geluTanh: VLM_ACTIVATION_GELU_TANH
        case .quickGELU: VLM_ACTIVATION_QUICK_GELU
        case .silu: VLM_ACTIVATION_SILU
        case .relu: VLM_ACTIVATION_RELU
        case .tanh: VLM_ACTIVATION_TANH
        }
    }
}
