import CCUDA
import CCUDAKernels
package import Tensors

extension DType {
    /// The type's number in the kernels, nil when they have no conversion for it.
    var kernelType: Int32? {
        switch self {
        case .float32: Int32(bitPattern: VLM_CUDA_FLOAT32.rawValue)
        case .float16: Int32(bitPattern: VLM_CUDA_FLOAT16.rawValue)
        case .bfloat16: Int32(bitPattern: VLM_CUDA_BFLOAT16.rawValue)
        default: nil
        }
    }
}

/// A weight whose outputs are scaled once both have arrived.
struct PendingScale {
    let weight: LinearWeight
    /// `[outFeatures]` float32
    let factors: Tensor
    /// Keeps the factors.
    let owner: any DeviceBuffer
}

extension CUDABackend {
    /// The type linear weights are stored in.
    package var weightType: DType { activationType }

    package var checksFinite: Bool { true }

    /// Places weights row-major in the activation type; gate and up in groups of 16 rows, 8 of the gate and the 8 of the same features
    /// of up, each padded with zeros to a multiple of 8. `packed` is `[rows with padding, inFeatures]`, the bias float32 in its order,
    /// and after it in memory that of ``LinearWeight/shortBias``.
    ///
    /// Returns before the weights are there; ``finishLoading()`` waits for them, and so does every operation.
    ///
    /// - Throws: ``TensorError``: `shapeMismatch` when parts disagree, `unsupported` for a type other than float32, float16 and
    ///   bfloat16; ``CUDAError``, perhaps about an earlier weight.
    package func makeLinear(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine
    ) throws -> LinearWeight {
        let (inFeatures, outFeatures) = try LinearWeight.check(parts, bias: bias, combine: combine)
        let gateUp = combine == .gateUp
        let rows = gateUp ? (outFeatures / 2 + 7) / 8 * 16 : outFeatures
        let hasBias = bias.map { $0.contains { $0 != nil } } == true
        // Rows begin at multiples of 16 bytes, which the copy engine and wide loads want.
        let rowStride = (inFeatures * activationType.size + 15) / 16 * 16 / activationType.size
        let packedBytes = rows * rowStride * activationType.size
        let biasOffset = (packedBytes + 255) / 256 * 256
        let shortBytes = activationType == .float32 ? 0 : rows * activationType.size
        let biasBytes = LinearWeight.shortBiasOffset(rows: rows) + shortBytes
        let buffer = try CUDABuffer(
            context, byteCount: hasBias ? biasOffset + biasBytes : packedBytes, purpose: parts[0].name, account: "weights")
        if hasBias || rows != outFeatures || rowStride != inFeatures {
            try check(cuda.api.pointee.cuMemsetD8Async(buffer.pointer, 0, buffer.byteCount, stream), "cuMemsetD8Async")
        }
        let packed = Tensor(pointer: buffer.pointer, dtype: activationType, shape: Shape(rows, inFeatures), rowStride: rowStride)
        let biasTensor =
            hasBias ? Tensor(pointer: buffer.pointer + biasOffset, dtype: .float32, shape: Shape(rows)) : nil
        let weight = LinearWeight(
            inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: activationType, packed: packed,
            bias: biasTensor, owner: buffer)
        let biases = [biasTensor, weight.shortBias].compactMap { $0 }
        var offset = 0
        for (index, part) in parts.enumerated() {
            let firstRow = gateUp ? index * 8 : offset
            try place(part, columns: inFeatures, in: packed, firstRow: firstRow, interleaved: gateUp, owner: buffer)
            if let values = bias?[index] {
                for copy in biases {
                    try place(values, columns: 1, in: copy, firstRow: firstRow, interleaved: gateUp, owner: buffer)
                }
            }
            offset += part.dimensions[0]
        }
        return weight
    }

    /// Copies a tensor, converting between float32, float16 and bfloat16. Other types are copied when `dtype` is theirs.
    ///
    /// - Throws: ``TensorError``: `unsupported` for another conversion, `shapeMismatch` for more than four axes; ``CUDAError``.
    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let shape = try source.deviceShape()
        try source.checkBytes()
        guard source.dtype == dtype || (source.dtype.kernelType != nil && dtype.kernelType != nil) else {
            throw TensorError(
                .unsupported, operation: "make tensor",
                detail:
                    "\(source.name) is \(source.dtype.rawValue) and cannot become \(dtype.rawValue); float32, float16 and bfloat16 convert"
            )
        }
        let buffer = try CUDABuffer(context, byteCount: source.count * dtype.size, purpose: source.name, account: "weights")
        let tensor = Tensor(pointer: buffer.pointer, dtype: dtype, shape: shape)
        if source.count > 0 {
            // Nothing changes place, so the longest rows that suit any tensor will do.
            let columns = source.count % 8 == 0 ? 8 : 1
            try place(source, columns: columns, in: tensor, firstRow: 0, interleaved: false, owner: buffer)
        }
        return (tensor, buffer)
    }

    package func scaleOutputs(of weight: LinearWeight, by factors: HostTensor) throws -> Bool {
        guard weight.combine == .concatenated, factors.count == weight.outFeatures else { return false }
        // Both are on their way; this waits for neither.
        let (tensor, owner) = try makeTensor(factors, dtype: .float32)
        pendingScales.append(PendingScale(weight: weight, factors: tensor, owner: owner))
        return true
    }

    private func applyScales() throws {
        defer { pendingScales = [] }
        for scale in pendingScales {
            let (weight, factors) = (scale.weight, scale.factors)
            let parameters = vlm_cuda_scale_rows(
                weight: weight.packed.pointer, bias: weight.bias?.pointer.assumingMemoryBound(to: Float.self),
                short_bias: weight.shortBias?.pointer,
                factors: UnsafePointer(factors.pointer.assumingMemoryBound(to: Float.self)),
                columns: UInt64(weight.inFeatures), row_stride: UInt64(weight.packed.rowStride))
            try launch(kernel(.load, "scale_rows"), Grid(weight.outFeatures), block: 256, parameters)
        }
    }

    package func finishLoading() throws -> [NonFiniteTensor] {
        try settle()
        try applyScales()
        defer { notFinite = [] }
        return notFinite
    }

    /// Waits for weights that are on their way.
    func settle() throws {
        guard let loading else { return }
        self.loading = nil
        notFinite += try loading.finish(self)
    }

    /// Brings a tensor's rows of `columns` elements to their rows of `out`.
    private func place(
        _ source: HostTensor, columns: Int, in out: Tensor, firstRow: Int, interleaved: Bool, owner: CUDABuffer
    ) throws {
        if loading?.isFull == true { try settle() }
        let loading = try self.loading ?? WeightLoading(self)
        self.loading = loading
        context.makeCurrent()
        guard let sourceType = source.dtype.kernelType, let outType = out.dtype.kernelType else {
            try loading.uploader.add(source, place: nil, to: out.pointer, owner: owner)
            return
        }
        var place = vlm_cuda_place()
        place.out = out.pointer
        place.count = UInt64(source.count)
        place.columns = UInt64(columns)
        place.row_stride = UInt64(columns == out.width ? out.rowStride : columns)
        place.row_offset = UInt64(firstRow)
        place.interleaved = interleaved ? 1 : 0
        place.source_type = sourceType
        place.out_type = outType
        guard let recipe = source.recipe else {
            place.not_finite = loading.note(for: source.name)
            try loading.uploader.add(source, place: place, to: out.pointer, owner: owner)
            return
        }
        switch recipe.formula {
        case .constant(let value): place.constant = value
        case .normal(let key, let scale): (place.key, place.scale) = (key, scale)
        }
        let inEights = columns % 8 == 0
        let perBlock = inEights ? 2048 : 256
        try submit(
            kernel(.load, inEights ? "place_rows_of_eights" : "place_rows", element: .float32),
            Grid(min((source.count + perBlock - 1) / perBlock, 16384)), block: 256, place)
    }
}
