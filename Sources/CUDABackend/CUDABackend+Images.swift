import CCUDAKernels
package import Tensors

extension CUDABackend {
    package func resample(_ source: Tensor, starts: Tensor, weights: Tensor, precision: Int, into out: Tensor) throws {
        let operation = "resample"
        let (outer, length, inner) = (source.shape[0], source.shape[1], source.shape[2])
        let (outputs, taps) = (out.shape[1], weights.width)
        try require(
            source.dtype == .uint8 && out.dtype == .uint8 && source.isContiguous && out.isContiguous && source.shape.rank == 3
                && out.shape == Shape(outer, outputs, inner) && length > 0 && (1..<31).contains(precision), operation,
            "source \(source.shape) and out \(out.shape) must be contiguous uint8 [A, N, B] and [A, M, B], precision \(precision) from 1 to 30"
        )
        try requireInt32(starts, count: outputs, operation)
        try requireInt32(weights, count: outputs * taps, operation)
        guard out.count > 0 else { return }
        let parameters = vlm_cuda_resample(
            source: source.bytes, out: out.bytes, starts: starts.int32s, weights: weights.int32s, length: Int64(length),
            outer: UInt32(outer), outputs: UInt32(outputs), inner: UInt32(inner), taps: Int32(taps),
            precision: Int32(precision))
        try launch(
            kernel(.images, "resample"), grid(threads: out.count, block: 256, operation), block: 256, overlaps: true, parameters)
    }

    package func patchRows(
        _ pixels: Tensor, samples: Tensor, corners: Tensor, patchSize: Int, frames: Int, into out: Tensor
    ) throws {
        let operation = "patchRows"
        try requireActivations(out, in: operation)
        try requireFloat32(samples, in: operation)
        let plane = patchSize * patchSize
        try require(
            pixels.dtype == .uint8 && pixels.isContiguous && samples.shape == Shape(3, 256) && samples.isContiguous
                && patchSize > 0 && frames > 0 && out.width == 3 * frames * plane, operation,
            "pixels \(pixels.shape) of \(pixels.dtype) must be contiguous uint8, samples \(samples.shape) [3, 256], out \(out.shape) [T, 3 · \(frames) · \(patchSize) · \(patchSize)]"
        )
        try requireInt32(corners, count: 2 * out.rows, operation)
        guard out.rows > 0 else { return }
        let parameters = vlm_cuda_patch_rows(
            pixels: pixels.bytes, samples: samples.floats, corners: corners.int32s, out: out.pointer,
            pixel_count: Int64(pixels.count / 3), out_stride: Int64(out.rowStride), rows: UInt32(out.rows),
            patch: Int32(patchSize), frames: Int32(frames))
        try launch(
            kernel(.images, "patch_rows"), grid(threads: out.rows * 3 * plane, block: 256, operation), block: 256,
            overlaps: true, parameters)
    }
}
