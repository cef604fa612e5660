import CCUDAKernels
package import Tensors

extension CUDABackend {
    /// A linear product of more than a few rows by cuBLASLt.
    ///
    /// Types of 16 bits are stored once by the library, bias and sum with `out` included; activations and gates are a pass over that, so
    /// that what they take is rounded before, as it is in transformers. What the library or the pass cannot do goes by way of float32
    /// products and ``finishProducts(_:_:_:_:_:)``.
    ///
    /// - Returns: whether it was computed; when not, nothing was.
    func multiply(
        _ x: Tensor, _ weight: LinearWeight, _ epilogue: LinearEpilogue, _ out: Tensor, _ parameters: vlm_cuda_linear
    ) throws -> Bool {
        guard let blas = blasLt, x.isAligned16, weight.packed.isAligned16 else { return false }
        let matrix = weight.packed.rows(0..<Int(parameters.weight_rows))
        let isShort = activationType != .float32
        let bias = out.dtype == .float32 ? weight.bias?.pointer : weight.shortBias?.pointer
        if out.isAligned16, weight.bias == nil || (isShort && bias != nil) {
            switch epilogue {
            case .store:
                if try multiplyInParts(blas, x, matrix, bias, accumulates: false, out) { return true }
            case .accumulate:
                if try multiplyInParts(blas, x, matrix, bias, accumulates: true, out) { return true }
            case .activation where isShort && out.dtype == activationType && out.width & 7 == 0:
                if try blas.multiply(x, matrix, bias: bias, accumulates: false, into: out, on: self) {
                    try launchRest("linear_activate", product: out, out, parameters.activation)
                    return true
                }
            case .gated where isShort && out.dtype == activationType && out.width & 7 == 0:
                if try multiplyGated(blas, x, matrix, bias, out, parameters.activation) { return true }
            default: break
            }
        }
        return try finishProducts(blas, x, matrix, out, parameters)
    }

    /// One product, or several where the library is faster with them.
    ///
    /// Of features that are no multiple of eight, such as the 151,674 of InternVL3's vocabulary, the last few are multiplied on their own:
    /// with them the rest takes up to twice as long (256 rows: 1,040 µs against 475).
    private func multiplyInParts(
        _ blas: BlasLt, _ x: Tensor, _ matrix: Tensor, _ bias: UnsafeMutableRawPointer?, accumulates: Bool, _ out: Tensor
    ) throws -> Bool {
        let features = matrix.rows
        let firstFeatures = features & 7 != 0 && features > 4096 ? features & ~127 : features
        let firstRows =
            activationType == .float32
            ? x.rows
            : LinearCosts.wholeWaves(
                rows: x.rows, features: features, inFeatures: x.width, multiprocessors: properties.multiprocessors)
        var isFirst = true
        for columns in [0..<firstFeatures, firstFeatures..<features] where !columns.isEmpty {
            let bias = bias.map { $0 + columns.lowerBound * out.dtype.size }
            for rows in [0..<firstRows, firstRows..<x.rows] where !rows.isEmpty {
                let (rows, target) = (x.rows(rows), out.rows(rows).columns(columns))
                if try !blas.multiply(rows, matrix.rows(columns), bias: bias, accumulates: accumulates, into: target, on: self) {
                    if isFirst { return false }
                    throw TensorError(
                        .unsupported, operation: "linear",
                        detail:
                            "cuBLASLt multiplies a part of \(x.shape) by \(matrix.shape), but not \(rows.shape) by features \(columns)"
                    )
                }
                isFirst = false
            }
        }
        return true
    }

    /// Gates and ups go to scratch memory, as many rows at a time as it holds, and from there into `out`.
    private func multiplyGated(
        _ blas: BlasLt, _ x: Tensor, _ matrix: Tensor, _ bias: UnsafeMutableRawPointer?, _ out: Tensor, _ activation: Int32
    ) throws -> Bool {
        let (products, byteCount) = scratch(.products)
        let most = byteCount / (matrix.rows * activationType.size)
        guard most > 0 else { return false }
        for rows in CUDABackend.chunks(x.rows, most: most) {
            let product = Tensor(pointer: products, dtype: activationType, shape: Shape(rows.count, matrix.rows))
            guard try blas.multiply(x.rows(rows), matrix, bias: bias, accumulates: false, into: product, on: self) else {
                return false
            }
            try launchRest("linear_gate", product: product, out.rows(rows), activation)
        }
        return true
    }

    /// Chunks of at most `most` rows: equal ones in whole tiles of the library's, or as large as whole tiles can be.
    package static func chunks(_ rows: Int, most: Int) -> [Range<Int>] {
        let tile = 128
        let count = (rows + most - 1) / most
        let even = (rows + count - 1) / count
        let size = even <= most / tile * tile ? (even + tile - 1) / tile * tile : max(most / tile * tile, min(most, tile))
        return stride(from: 0, to: rows, by: size).map { $0..<min($0 + size, rows) }
    }

    /// The activation or gate of a product that is stored already.
    private func launchRest(_ name: String, product: Tensor, _ out: Tensor, _ activation: Int32) throws {
        let rowVectors = out.width / 8
        let perBlock = Int(VLM_CUDA_REST_THREADS) * Int(VLM_CUDA_REST_VECTORS)
        // Vectors are counted in 32 bits.
        let most = max(1, (1 << 30) / rowVectors)
        for first in stride(from: 0, to: out.rows, by: most) {
            let rows = first..<min(first + most, out.rows)
            var rest = vlm_cuda_linear_rest()
            rest.product = UnsafeRawPointer(product.rows(rows).pointer)
            rest.product_stride = Int64(product.rowStride)
            rest.out = out.rows(rows).pointer
            rest.out_stride = Int64(out.rowStride)
            rest.row_vectors = UInt32(rowVectors)
            rest.vectors = UInt32(rows.count * rowVectors)
            rest.activation = activation
            try launch(
                kernel(.linear, name), Grid((rows.count * rowVectors + perBlock - 1) / perBlock),
                block: Int(VLM_CUDA_REST_THREADS), overlaps: true, rest)
        }
    }

    /// Float32 products of as many rows at a time as their scratch memory holds, and any epilogue over them.
    private func finishProducts(
        _ blas: BlasLt, _ x: Tensor, _ matrix: Tensor, _ out: Tensor, _ parameters: vlm_cuda_linear
    ) throws -> Bool {
        let (products, byteCount) = scratch(.products)
        let most = byteCount / (matrix.rows * DType.float32.size)
        guard most > 0 else { return false }
        var rest = parameters
        for rows in CUDABackend.chunks(x.rows, most: most) {
            let product = Tensor(pointer: products, dtype: .float32, shape: Shape(rows.count, matrix.rows))
            guard try blas.multiply(x.rows(rows), matrix, accumulates: false, into: product, on: self) else {
                // Rows that are finished may have been added to what was there.
                guard rows.lowerBound == 0 else {
                    throw TensorError(
                        .unsupported, operation: "linear",
                        detail:
                            "cuBLASLt multiplies \(most) rows of \(x.shape) by \(matrix.shape), but not the last \(rows.count)")
                }
                return false
            }
            rest.x = UnsafeRawPointer(products)
            rest.x_stride = Int64(matrix.rows)
            rest.out = out.rows(rows).pointer
            rest.rows = Int32(rows.count)
            let grid = Grid(rows.count, (Int(parameters.out_columns) + 255) / 256)
            try launch(kernel(.linear, "linear_finish"), grid, block: 256, overlaps: true, rest)
        }
        return true
    }
}

extension LinearWeight {
    /// Bytes from the start of the bias to that of ``shortBias``.
    static func shortBiasOffset(rows: Int) -> Int { (rows * DType.float32.size + 255) / 256 * 256 }

    /// The bias rounded to the weight's type of 16 bits, which cuBLASLt adds; nil when there is no bias or the type is float32.
    package var shortBias: Tensor? {
        guard let bias, dtype != .float32 else { return nil }
        return Tensor(
            pointer: bias.pointer + LinearWeight.shortBiasOffset(rows: bias.count), dtype: dtype, shape: bias.shape)
    }
}
