import CCUDA
import CCUDAKernels
import Tensors

extension CUDABackend {
    /// How the tiles in shared memory are laid out, so that reads of columns do not collide.
    enum Swizzle: Int32 {
        case none, bytes32, bytes64, bytes128
    }

    /// A map for Hopper's copy engine over a matrix of rows; elements outside it read as zeros.
    ///
    /// - Parameters:
    ///   - rowStride: elements between rows; in bytes a multiple of 16, like the address.
    ///   - boxColumns, boxRows: the tile, at most 256 each; its columns at most the swizzle's bytes.
    func tensorMap(
        _ pointer: UnsafeMutableRawPointer, dtype: DType, rows: Int, columns: Int, rowStride: Int, boxRows: Int, boxColumns: Int,
        swizzle: Swizzle
    ) throws -> vlm_cuda_tensor_map {
        try tensorMap(
            pointer, dtype: dtype, sizes: SIMD4(columns, rows, 1, 1), strides: SIMD4(rowStride, 0, 0, 0),
            box: SIMD4(boxColumns, boxRows, 1, 1), rank: 2, swizzle: swizzle)
    }

    /// A map over up to four axes, the innermost first.
    ///
    /// - Parameters:
    ///   - strides: elements between neighbours along axes 1, 2, 3.
    ///   - box: the tile's length along each axis.
    func tensorMap(
        _ pointer: UnsafeMutableRawPointer, dtype: DType, sizes: SIMD4<Int>, strides: SIMD4<Int>, box: SIMD4<Int>, rank: Int,
        swizzle: Swizzle
    ) throws -> vlm_cuda_tensor_map {
        let type =
            switch dtype {
            case .float16: VLM_CU_TENSOR_FLOAT16
            case .bfloat16: VLM_CU_TENSOR_BFLOAT16
            default: VLM_CU_TENSOR_FLOAT32
            }
        var map = vlm_cuda_tensor_map()
        var sizes = SIMD4<UInt64>(truncatingIfNeeded: sizes)
        var bytes = SIMD4<UInt64>(truncatingIfNeeded: strides &* dtype.size)
        var box = SIMD4<UInt32>(truncatingIfNeeded: box)
        var steps = SIMD4<UInt32>(repeating: 1)
        context.makeCurrent()
        let status = withUnsafeBytes(of: &sizes) { sizes in
            withUnsafeBytes(of: &bytes) { bytes in
                withUnsafeBytes(of: &box) { box in
                    withUnsafeBytes(of: &steps) { steps in
                        vlm_cuda_encode_tensor_map(
                            cuda.api, &map, Int32(type), UInt32(rank), pointer,
                            sizes.assumingMemoryBound(to: UInt64.self).baseAddress,
                            bytes.assumingMemoryBound(to: UInt64.self).baseAddress,
                            box.assumingMemoryBound(to: UInt32.self).baseAddress,
                            steps.assumingMemoryBound(to: UInt32.self).baseAddress, swizzle.rawValue)
                    }
                }
            }
        }
        guard status == 0 else {
            throw cuda.error(
                status, call: "cuTensorMapEncodeTiled",
                kernel: "a tile of \(box) of \(sizes) elements of \(dtype.rawValue), strides \(bytes) bytes, at \(pointer)")
        }
        return map
    }
}
