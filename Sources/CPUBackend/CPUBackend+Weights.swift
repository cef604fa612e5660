import CCPUKernels
package import Tensors

extension DType {
    /// The type's number in the C kernels, nil when they have no conversion for it.
    var sourceType: vlm_source_type? {
        switch self {
        case .float32: VLM_SOURCE_F32
        case .float16: VLM_SOURCE_F16
        case .bfloat16: VLM_SOURCE_BF16
        default: nil
        }
    }
}

extension CPUBackend {
    /// The type linear weights are stored in: float32 in exact mode, bfloat16 in fast mode.
    ///
    /// Fast mode rounds float32 and float16 checkpoints to bfloat16 (8 bits of significand); use exact mode to keep all their bits.
    package var weightType: DType { mode == .exact ? .float32 : .bfloat16 }

    /// Packs weights into panels of 32 output features (vlm_cpu_gemm.h). `packed` is `[panels, steps · 32 words]`: a `gateUp` panel holds
    /// 16 gate features, then their 16 up features.
    ///
    /// - Throws: ``TensorError``: `shapeMismatch` when parts disagree, `unsupported` for a type other than float32, float16 and
    ///   bfloat16, `outOfMemory`.
    package func makeLinear(
        _ parts: [HostTensor], bias: [HostTensor?]?, combine: LinearWeight.Combine
    ) throws -> LinearWeight {
        // Packing reads through raw pointers, which do not keep their tensors' memory alive.
        defer { withExtendedLifetime((parts, bias)) {} }
        let (inFeatures, outFeatures) = try LinearWeight.check(parts, bias: bias, combine: combine)
        let gateUp = combine == .gateUp
        let panels =
            gateUp
            ? (outFeatures / 2 + CPUBackend.panel / 2 - 1) / (CPUBackend.panel / 2)
            : (outFeatures + CPUBackend.panel - 1) / CPUBackend.panel
        let bf16 = mode == .fast
        let packedBytes = vlm_packed_bytes(bf16, panels, inFeatures)
        let biasCount = bias.map { $0.contains { $0 != nil } } == true ? panels * CPUBackend.panel : 0
        let buffer = try allocateWeight(byteCount: packedBytes + biasCount * 4, purpose: parts[0].name)

        let sources = try parts.map {
            vlm_pack_source(data: $0.bytes.baseAddress, type: try sourceType($0), rows: $0.dimensions[0])
        }
        sources.withUnsafeBufferPointer { sources in
            pool.parallelRanges(panels) { range, _ in
                vlm_pack_panels(
                    instructionSet.isa, bf16, gateUp, sources.baseAddress, sources.count, inFeatures, range.lowerBound,
                    range.count,
                    buffer.pointer)
            }
        }

        var biasTensor: Tensor?
        if biasCount > 0, let bias {
            let pointer = buffer.pointer + packedBytes
            let values = pointer.assumingMemoryBound(to: Float.self)
            var firstFeature = 0
            for (index, part) in bias.enumerated() {
                if let part {
                    let converted = try floats(part)
                    for (feature, value) in converted.enumerated() {
                        let half = CPUBackend.panel / 2
                        let place =
                            gateUp
                            ? feature / half * CPUBackend.panel + index * half + feature % half
                            : firstFeature + feature
                        values[place] = value
                    }
                }
                firstFeature += parts[index].dimensions[0]
            }
            biasTensor = Tensor(pointer: pointer, dtype: .float32, shape: Shape(biasCount))
        }
        let dtype = weightType
        let packed = Tensor(
            pointer: buffer.pointer, dtype: dtype, shape: Shape(panels, packedBytes / max(panels, 1) / dtype.size))
        return LinearWeight(
            inFeatures: inFeatures, outFeatures: outFeatures, combine: combine, dtype: dtype, packed: packed, bias: biasTensor,
            owner: buffer)
    }

    /// Copies a tensor to aligned memory, converting between float32, float16 and bfloat16. Other types are copied when `dtype` is theirs.
    ///
    /// - Throws: ``TensorError``: `unsupported` for another conversion, `shapeMismatch` for more than four axes, `outOfMemory`.
    package func makeTensor(_ source: HostTensor, dtype: DType) throws -> (tensor: Tensor, owner: any DeviceBuffer) {
        let shape = try source.deviceShape()
        try source.checkBytes()
        defer { withExtendedLifetime(source) {} }
        let buffer = try allocateWeight(byteCount: source.count * dtype.size, purpose: source.name)
        let tensor = Tensor(pointer: buffer.pointer, dtype: dtype, shape: shape)
        guard let bytes = source.bytes.baseAddress, source.count > 0 else { return (tensor, buffer) }
        if source.dtype == dtype {
            pool.parallelRanges(source.count, grain: 65536) { range, _ in
                (buffer.pointer + range.lowerBound * dtype.size).copyMemory(
                    from: bytes + range.lowerBound * dtype.size, byteCount: range.count * dtype.size)
            }
            return (tensor, buffer)
        }
        guard let from = source.dtype.sourceType, let to = dtype.sourceType else {
            throw TensorError(
                .unsupported, operation: "make tensor",
                detail:
                    "\(source.name) is \(source.dtype.rawValue) and cannot become \(dtype.rawValue); float32, float16 and bfloat16 convert"
            )
        }
        pool.parallelRanges(source.count, grain: 65536) { range, _ in
            vlm_convert(
                instructionSet.isa, bytes + range.lowerBound * source.dtype.size, from,
                buffer.pointer + range.lowerBound * dtype.size, to, range.count)
        }
        return (tensor, buffer)
    }

    static let panel = Int(VLM_PANEL)

    private func sourceType(_ tensor: HostTensor) throws -> vlm_source_type {
        guard let type = tensor.dtype.sourceType else {
            throw TensorError(
                .unsupported, operation: "make linear",
                detail: "\(tensor.name) is \(tensor.dtype.rawValue); the CPU multiplies float32, float16 and bfloat16 weights")
        }
        return type
    }

    /// A small tensor's values.
    private func floats(_ tensor: HostTensor) throws -> [Float] {
        try tensor.checkBytes()
        let type = try sourceType(tensor)
        return [Float](unsafeUninitializedCapacity: tensor.count) { values, count in
            vlm_convert(
                instructionSet.isa, tensor.bytes.baseAddress, type, values.baseAddress, VLM_SOURCE_F32, tensor.count)
            count = tensor.count
        }
    }
}
