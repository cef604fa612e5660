import CCUDA
import Tensors

/// Products by cuBLASLt, with the algorithm for each shape looked up once.
///
/// Sums are float32 throughout: no TF32, no sums in 16 bits.
final class BlasLt {
    /// Everything that decides about a plan.
    private struct Key: Hashable {
        let rows, inFeatures, outFeatures: Int
        let xStride, weightStride, outStride: Int
        let type, outType: DType
        let hasBias: Bool
    }

    /// One shape's descriptions and algorithm.
    private final class Plan {
        private let api: vlm_blas
        fileprivate var matmul: OpaquePointer?
        fileprivate var weight: OpaquePointer?
        fileprivate var x: OpaquePointer?
        fileprivate var out: OpaquePointer?
        /// nil when the library has none for this shape.
        fileprivate var algorithm: vlm_blas_algorithm?

        init(_ api: vlm_blas) { self.api = api }

        deinit {
            for layout in [weight, x, out] { if let layout { _ = api.cublasLtMatrixLayoutDestroy(layout) } }
            if let matmul { _ = api.cublasLtMatmulDescDestroy(matmul) }
        }
    }

    private let api: vlm_blas
    private let handle: OpaquePointer
    private var plans: [Key: Plan] = [:]
    /// Plans are a few hundred bytes, and prompts have any length: when there are this many, all are forgotten.
    ///
    /// Each is for an exact number of rows: what is best for 352 rows need not be for 331, and choosing an algorithm is done on the host,
    /// while the device is at work.
    private static let mostPlans = 4096
    /// Algorithms that the library is asked for, best first; the first that is said to work is taken.
    private static let candidates = 8

    /// nil when the library is not there or does not start on this GPU; products then take the generic kernel.
    init?(_ api: vlm_blas?) {
        guard let api else { return nil }
        var handle: OpaquePointer?
        guard api.cublasLtCreate(&handle) == VLM_BLAS_SUCCESS, let handle else { return nil }
        self.api = api
        self.handle = handle
    }

    deinit {
        plans = [:]
        _ = api.cublasLtDestroy(handle)
    }

    /// `out [T, outFeatures] = x [T, inFeatures] Wᵀ + bias`, added to `out` when `accumulates`; every row aligned to 16 bytes.
    ///
    /// - Parameter bias: `[outFeatures]` of the type of `out`.
    /// - Returns: whether the library has an algorithm for that; when not, nothing was computed.
    func multiply(
        _ x: Tensor, _ weight: Tensor, bias: UnsafeMutableRawPointer? = nil, accumulates: Bool, into out: Tensor,
        on backend: CUDABackend
    ) throws -> Bool {
        let key = Key(
            rows: x.rows, inFeatures: x.width, outFeatures: weight.rows, xStride: x.rowStride,
            weightStride: weight.rowStride, outStride: out.rowStride, type: x.dtype, outType: out.dtype, hasBias: bias != nil)
        let workspace = backend.scratch(.blas)
        let plan: Plan
        if let known = plans[key] {
            plan = known
        } else {
            plan = try self.plan(key, bias: bias, workspaceBytes: workspace.byteCount)
            if plans.count >= BlasLt.mostPlans { plans.removeAll() }
            plans[key] = plan
        }
        guard var algorithm = plan.algorithm else { return false }
        if let bias { try set(plan.matmul, VLM_BLAS_MATMUL_BIAS_POINTER, bias, key) }
        try backend.settle()
        backend.context.makeCurrent()
        var (alpha, beta): (Float, Float) = (1, accumulates ? 1 : 0)
        func multiply() throws {
            let status = api.cublasLtMatmul(
                handle, plan.matmul, &alpha, weight.pointer, plan.weight, x.pointer, plan.x, &beta, out.pointer, plan.out,
                out.pointer, plan.out, &algorithm, workspace.pointer, workspace.byteCount, backend.stream)
            try check(status, "cublasLtMatmul", key)
        }
        if let profile = backend.profile, !backend.isRecording {
            try profile.measure("cuBLASLt \(key.rows)x\(key.inFeatures)x\(key.outFeatures)", multiply)
        } else {
            try multiply()
        }
        return true
    }

    /// Row-major matrices are the transposed ones to the library: outᵀ = W xᵀ, and what lies in memory is Wᵀ, xᵀ and outᵀ by columns.
    private func plan(_ key: Key, bias: UnsafeMutableRawPointer?, workspaceBytes: Int) throws -> Plan {
        let plan = Plan(api)
        try check(
            api.cublasLtMatmulDescCreate(&plan.matmul, Int32(VLM_BLAS_COMPUTE_FLOAT32), Int32(VLM_BLAS_FLOAT32)),
            "cublasLtMatmulDescCreate", key)
        try set(plan.matmul, VLM_BLAS_MATMUL_TRANSPOSE_A, Int32(VLM_BLAS_TRANSPOSED), key)
        if let bias {
            try set(plan.matmul, VLM_BLAS_MATMUL_EPILOGUE, Int32(VLM_BLAS_EPILOGUE_BIAS), key)
            try set(plan.matmul, VLM_BLAS_MATMUL_BIAS_TYPE, key.outType.blasType, key)
            // Its alignment counts.
            try set(plan.matmul, VLM_BLAS_MATMUL_BIAS_POINTER, bias, key)
        }
        func layout(_ layout: inout OpaquePointer?, _ type: DType, _ rows: Int, _ columns: Int, _ stride: Int) throws {
            // A single row may have any stride; the library wants one that could be.
            try check(
                api.cublasLtMatrixLayoutCreate(&layout, type.blasType, UInt64(rows), UInt64(columns), Int64(max(stride, rows))),
                "cublasLtMatrixLayoutCreate", key)
        }
        try layout(&plan.weight, key.type, key.inFeatures, key.outFeatures, key.weightStride)
        try layout(&plan.x, key.type, key.inFeatures, key.rows, key.xStride)
        try layout(&plan.out, key.outType, key.outFeatures, key.rows, key.outStride)
        plan.algorithm = try algorithm(for: plan, key, workspaceBytes: workspaceBytes)
        return plan
    }

    /// The library's first choice for what the plan's layouts say now.
    private func algorithm(for plan: Plan, _ key: Key, workspaceBytes: Int) throws -> vlm_blas_algorithm? {
        var preference: OpaquePointer?
        try check(api.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", key)
        defer { _ = api.cublasLtMatmulPreferenceDestroy(preference) }
        var bytes = workspaceBytes
        try check(
            api.cublasLtMatmulPreferenceSetAttribute(
                preference, Int32(VLM_BLAS_PREFERENCE_WORKSPACE_BYTES), &bytes, MemoryLayout<Int>.size),
            "cublasLtMatmulPreferenceSetAttribute", key)
        var alignment: UInt32 = 16
        for attribute in [
            VLM_BLAS_PREFERENCE_ALIGNMENT_A, VLM_BLAS_PREFERENCE_ALIGNMENT_B, VLM_BLAS_PREFERENCE_ALIGNMENT_C,
            VLM_BLAS_PREFERENCE_ALIGNMENT_D,
        ] {
            try check(
                api.cublasLtMatmulPreferenceSetAttribute(preference, Int32(attribute), &alignment, 4),
                "cublasLtMatmulPreferenceSetAttribute", key)
        }
        var choices = [vlm_blas_choice](repeating: vlm_blas_choice(), count: BlasLt.candidates)
        var found: Int32 = 0
        let status = api.cublasLtMatmulAlgoGetHeuristic(
            handle, plan.matmul, plan.weight, plan.x, plan.out, plan.out, preference, Int32(choices.count), &choices, &found)
        if Int(status) == VLM_BLAS_NOT_SUPPORTED { return nil }
        try check(status, "cublasLtMatmulAlgoGetHeuristic", key)
        return choices.prefix(Int(found)).first { $0.state == VLM_BLAS_SUCCESS }?.algorithm
    }

    private func set<Value: BitwiseCopyable>(_ matmul: OpaquePointer?, _ attribute: Int, _ value: Value, _ key: Key) throws {
        var value = value
        try check(
            api.cublasLtMatmulDescSetAttribute(matmul, Int32(attribute), &value, MemoryLayout<Value>.size),
            "cublasLtMatmulDescSetAttribute", key)
    }

    private func check(_ status: Int32, _ call: StaticString, _ key: Key) throws {
        guard status != VLM_BLAS_SUCCESS else { return }
        throw CUDAError(
            .failed, call: "\(call)", status: api.cublasLtGetStatusName(status).map { String(cString: $0) },
            detail:
                "x [\(key.rows), \(key.inFeatures)] by [\(key.outFeatures), \(key.inFeatures)] of \(key.type) into \(key.outType)",
            hint: "Use the cuBLASLt of the driver's CUDA version (VLM_CUDA_PATH)")
    }
}

extension DType {
    /// cudaDataType_t of the types that activations have.
    fileprivate var blasType: Int32 {
        switch self {
        case .float16: Int32(VLM_BLAS_FLOAT16)
        case .bfloat16: Int32(VLM_BLAS_BFLOAT16)
        default: Int32(VLM_BLAS_FLOAT32)
        }
    }
}
