import CCUDAKernels
import Tensors

extension CUDABackend {
    /// Launches the skinny kernel, or keeps the product for ``flushProducts()``.
    func launchSkinny(_ plan: SkinnyPlan, _ parameters: inout vlm_cuda_linear) throws {
        parameters.partials = scratch(.partials).pointer.assumingMemoryBound(to: Float.self)
        parameters.flags = scratch(.counters).pointer.assumingMemoryBound(to: UInt32.self)
        if properties.major >= 9, let weight = parameters.weight {
            parameters.weight_map = try tensorMap(
                UnsafeMutableRawPointer(mutating: weight), dtype: activationType, rows: Int(parameters.weight_rows),
                columns: Int(parameters.in_features), rowStride: Int(parameters.weight_stride),
                boxRows: Int(VLM_CUDA_SKINNY_TILE_ROWS), boxColumns: Int(VLM_CUDA_SKINNY_BOX_BYTES) / activationType.size,
                swizzle: .none)
        }
        guard isRecording, options.chainsProducts, properties.major >= 9 else { return try launch(plan, parameters) }
        if let first = pendingProducts.first,
            pendingProducts.count == Int(VLM_CUDA_SKINNY_CHAIN) || first.rows != parameters.rows
        {
            try flushProducts()
        }
        pendingProducts.append(parameters)
    }

    /// Launches products that follow each other as one kernel.
    ///
    /// Between two kernels the memory falls idle: the last weights of one have to arrive before the blocks of the next can ask for theirs.
    /// In one kernel the next product's weights are asked for while blocks wait for each other. Products are held back only while work
    /// is recorded, when nothing is freed and the host sees nothing, and until anything else is launched.
    func flushProducts() throws {
        guard !pendingProducts.isEmpty else { return }
        var products = pendingProducts
        pendingProducts.removeAll(keepingCapacity: true)
        let limits = SkinnyPlan.Limits(properties)
        guard products.count > 1, let plan = SkinnyPlan(chain: &products, limits, elementSize: activationType.size) else {
            for index in products.indices {
                // It had a plan before it was put off.
                guard let plan = SkinnyPlan(&products[index], limits, elementSize: activationType.size) else { continue }
                try launch(plan, products[index])
            }
            return
        }
        var chain = vlm_cuda_linear_chain()
        chain.count = Int32(products.count)
        withUnsafeMutableBytes(of: &chain.products) { all in
            products.withUnsafeBytes { all.copyMemory(from: $0) }
        }
        let counters = scratch(.counters)
        // The last two words; other kernels count from the front.
        chain.arrivals = (counters.pointer + counters.byteCount - 8).assumingMemoryBound(to: UInt32.self)
        let kernel = try kernel(.linear, products[0].rows <= 8 ? "linear_chain_8" : "linear_chain_16")
        try launch(
            kernel, Grid(plan.blocks), block: Int(VLM_CUDA_SKINNY_THREADS), sharedBytes: plan.sharedBytes, overlaps: true, chain)
    }

    private func launch(_ plan: SkinnyPlan, _ parameters: vlm_cuda_linear) throws {
        let kernel = try kernel(.linear, parameters.rows <= 8 ? "linear_skinny_8" : "linear_skinny_16")
        try launch(
            kernel, Grid(plan.blocks), block: Int(VLM_CUDA_SKINNY_THREADS), sharedBytes: plan.sharedBytes, overlaps: true,
            parameters)
    }
}
