import CCUDAKernels
import Tensors

extension CUDABackend {
    /// ``linear(_:_:epilogue:into:)`` of many rows with the asynchronous tensor cores of Hopper.
    ///
    /// - Returns: whether there is such a kernel for these operands; when not, nothing was computed.
    func hopperGEMM(_ x: Tensor, _ weight: LinearWeight, epilogue: LinearEpilogue, into out: Tensor) throws -> Bool {
        let packed = weight.packed
        guard properties.isHopper, x.dtype == .float16 || x.dtype == .bfloat16, packed.dtype == x.dtype, x.rows > 0,
            canBeFetched(x, width: weight.inFeatures), canBeFetched(packed, width: weight.inFeatures),
            let finish = HopperEpilogue(epilogue, out: out, like: x)
        else { return false }
        let isFloat32 = finish.kind == VLM_CUDA_GEMM_FLOAT32
        guard isFloat32 || (canBeFetched(out, width: out.width) && out.width & 7 == 0) else { return false }
        let features = weight.combine == .gateUp ? packed.rows : weight.outFeatures

        let key = HopperGEMMPlans.Key(
            tokens: x.rows, features: features, inFeatures: weight.inFeatures, epilogue: finish.kind.rawValue,
            activation: finish.activation.rawValue)
        let entry = try hopperPlans.entry(key) {
            guard
                let plan = HopperGEMMPlan(
                    tokens: x.rows, features: features, inFeatures: weight.inFeatures, epilogue: finish.kind,
                    activation: finish.activation, multiprocessors: properties.multiprocessors)
            else { return nil }
            return HopperGEMMPlans.Entry(
                plan: plan, kernel: try kernel(.gemm, "gemm", option: plan.tile.option(finish.kind, finish.activation)))
        }
        guard let entry else { return false }
        let (plan, tile) = (entry.plan, entry.plan.tile)
        let depth = Int(VLM_CUDA_GEMM_DEPTH)

        var parameters = vlm_cuda_gemm()
        parameters.weight = try tensorMap(
            packed.pointer, dtype: x.dtype, rows: features, columns: weight.inFeatures, rowStride: packed.rowStride,
            boxRows: tile.features, boxColumns: depth, swizzle: .bytes128)
        parameters.x = try tensorMap(
            x.pointer, dtype: x.dtype, rows: x.rows, columns: weight.inFeatures, rowStride: stride(x),
            boxRows: tile.isPair ? tile.tokens / 2 : tile.tokens, boxColumns: depth, swizzle: .bytes128)
        parameters.out = out.pointer
        parameters.out_stride = Int64(out.rowStride)
        if !isFloat32 && !tile.isSplit {
            let isGated = finish.kind == VLM_CUDA_GEMM_GATED
            parameters.out_map = try tensorMap(
                out.pointer, dtype: x.dtype, rows: out.rows, columns: out.width, rowStride: stride(out),
                boxRows: Int(vlm_cuda_gemm_chunk(Int32(tile.tokens))), boxColumns: isGated ? depth / 2 : depth,
                swizzle: isGated ? .bytes64 : .bytes128)
        }
        parameters.bias = (weight.bias?.pointer.assumingMemoryBound(to: Float.self)).map { UnsafePointer($0) }
        parameters.scale = (finish.scale?.pointer.assumingMemoryBound(to: Float.self)).map { UnsafePointer($0) }
        parameters.tokens = Int32(x.rows)
        parameters.features = Int32(features)
        parameters.out_features = Int32(out.width)
        parameters.blocks = Int32(plan.blocks)
        parameters.feature_tiles = Int32(plan.featureTiles)
        parameters.token_tiles = Int32(plan.tokenTiles)
        parameters.group = Int32(plan.group)
        parameters.weights_once = plan.tokenTiles == 1 ? 1 : 0
        parameters.x_stays = plan.group * tile.tokens * weight.inFeatures * 2 <= properties.l2Bytes / 2 ? 1 : 0
        try launch(
            entry.kernel, Grid(plan.workers * plan.cluster), block: Int(VLM_CUDA_GEMM_THREADS),
            sharedBytes: tile.sharedBytes(finish.kind), cluster: plan.cluster, overlaps: true, parameters)
        return true
    }

    /// Whether the copy engine can fetch rows of this matrix: they begin at multiples of 16 bytes. What it stores must also end there,
    /// since it stores 16 bytes at a time.
    private func canBeFetched(_ matrix: Tensor, width: Int) -> Bool {
        matrix.isAligned16 && matrix.width == width && stride(matrix) * matrix.dtype.size & 15 == 0
            && matrix.rows <= Int(Int32.max)
    }

    /// The row stride, or for a single row, which needs none, one that the copy engine takes.
    private func stride(_ matrix: Tensor) -> Int {
        matrix.rows > 1 ? matrix.rowStride : (matrix.width + 7) & ~7
    }
}

/// An epilogue as gemm.cu knows it.
private struct HopperEpilogue {
    var kind = VLM_CUDA_GEMM_STORE
    var activation = VLM_CUDA_NONE
    var scale: Tensor?

    /// nil when gemm.cu has no such epilogue: only plain results can be float32 beside 16-bit operands.
    init?(_ epilogue: LinearEpilogue, out: Tensor, like x: Tensor) {
        switch epilogue {
        case .store: kind = out.dtype == .float32 ? VLM_CUDA_GEMM_FLOAT32 : VLM_CUDA_GEMM_STORE
        case .accumulate: kind = VLM_CUDA_GEMM_ACCUMULATE
        case .scaledAccumulate(let factors): (kind, scale) = (VLM_CUDA_GEMM_ACCUMULATE, factors)
        case .activation(let function):
            (kind, activation) = (VLM_CUDA_GEMM_ACTIVATE, vlm_cuda_activation(UInt32(function.cudaValue)))
        case .gated(let function):
            (kind, activation) = (VLM_CUDA_GEMM_GATED, vlm_cuda_activation(UInt32(function.cudaValue)))
        }
        guard out.dtype == x.dtype || kind == VLM_CUDA_GEMM_FLOAT32 else { return nil }
    }
}
