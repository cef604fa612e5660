import CCUDAKernels
package import Tensors

extension CUDABackend {
    package func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float, into out: Tensor) throws {
        try norm(x, weight: weight, bias: nil, epsilon: epsilon, into: out, .rms)
    }

    package func layerNorm(_ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor) throws {
        try norm(x, weight: weight, bias: bias, epsilon: epsilon, into: out, .layer)
    }

    /// Names of one norm's kernels, by how a row lies in registers.
    private struct NormKernels {
        let operation: String
        let warp1, warp4, block1, block2, block4, elements: String

        static let rms = NormKernels(
            operation: "rmsNorm", warp1: "rms_norm_warp_1", warp4: "rms_norm_warp_4", block1: "rms_norm_block_1",
            block2: "rms_norm_block_2", block4: "rms_norm_block_4", elements: "rms_norm_elements")
        static let layer = NormKernels(
            operation: "layerNorm", warp1: "layer_norm_warp_1", warp4: "layer_norm_warp_4", block1: "layer_norm_block_1",
            block2: "layer_norm_block_2", block4: "layer_norm_block_4", elements: "layer_norm_elements")
    }

    private func norm(
        _ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float, into out: Tensor, _ kernels: NormKernels
    ) throws {
        let operation = kernels.operation
        try requireActivations(x, out, in: operation)
        try requireFloat32(weight, bias, in: operation)
        let width = x.shape[x.shape.rank - 1]
        try require(
            x.shape.rank >= 2 && out.shape == x.shape, operation,
            "x \(x.shape) and out \(out.shape) must be equal, [T, D] or [T, H, E]")
        try require(
            weight.count == width && weight.isContiguous && (bias.map { $0.count == width && $0.isContiguous } ?? true),
            operation, "weight \(weight.shape) and bias must have the \(width) elements of the last axis of \(x.shape)")
        guard x.count > 0 else { return }
        let heads = x.width / width
        let units = x.rows * heads
        let parameters = vlm_cuda_norm(
            x: x.pointer, out: out.pointer, weight: weight.floats, bias: bias?.floats, x_stride: Int64(x.rowStride),
            out_stride: Int64(out.rowStride), units: Int64(units), heads: Int32(heads), width: Int32(width), epsilon: epsilon)
        let vectorSize = 16 / x.dtype.size
        let vectors = width / vectorSize
        let aligned =
            x.isAligned(pieces: width) && out.isAligned(pieces: width) && weight.startsAligned && (bias?.startsAligned ?? true)
        guard aligned, vectors <= 2048 else {
            let block = min(1024, (width + 31) / 32 * 32)
            try launch(kernel(.elementwise, kernels.elements), Grid(units), block: block, overlaps: true, parameters)
            return
        }
        // The choice depends on the width alone, so a row's result does not depend on how many rows there are.
        if vectors <= 128 {
            let kernel = try kernel(.elementwise, vectors <= 32 ? kernels.warp1 : kernels.warp4)
            try launch(kernel, Grid((units + 3) / 4), block: 128, overlaps: true, parameters)
        } else {
            let (name, each) =
                vectors <= 512 ? (kernels.block1, 1) : vectors <= 1024 ? (kernels.block2, 2) : (kernels.block4, 4)
            let threads = ((vectors + each - 1) / each + 31) / 32 * 32
            try launch(kernel(.elementwise, name), Grid(units), block: threads, overlaps: true, parameters)
        }
    }
}
