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
    }

    /// One shape's descriptions and algorithm.
    private final class Plan {
        private let api: vlm_blas
        fileprivate var matmul: OpaquePointer?
        fileprivate var weight: OpaquePointer?
        fileprivate var x: OpaquePointer?
        fileprivate var out: OpaquePointer?
        fileprivate var algorithm = vlm_blas_algorithm()

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
    private static let mostPlans = 4096

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

    /// `out [T, outFeatures] = x [T, inFeatures] Wᵀ`, added to `out` when `accumulates`; every row aligned to 16 bytes.
    func multiply(_ x: Tensor, _ weight: Tensor, accumulates: Bool, into out: Tensor, on backend: CUDABackend) throws {
        let key = Key(
            rows: x.rows, inFeatures: x.width, outFeatures: weight.rows, xStride: x.rowStride, weightStride: weight.rowStride,
            outStride: out.rowStride, type: x.dtype, outType: out.dtype)
        let workspace = backend.scratch(.blas)
        let plan: Plan
        if let known = plans[key] {
            plan = known
        } else {
            plan = try self.plan(key, workspaceBytes: workspace.byteCount)
            if plans.count >= BlasLt.mostPlans { plans.removeAll() }
            plans[key] = plan
        }
        try backend.settle()
        backend.context.makeCurrent()
        var (alpha, beta): (Float, Float) = (1, accumulates ? 1 : 0)
        func multiply() throws {
            let status = api.cublasLtMatmul(
                handle, plan.matmul, &alpha, weight.pointer, plan.weight, x.pointer, plan.x, &beta, out.pointer, plan.out,
                out.pointer, plan.out, &plan.algorithm, workspace.pointer, workspace.byteCount, backend.stream)
            try check(status, "cublasLtMatmul", key)
        }
        guard let profile = backend.profile, !backend.isRecording else { return try multiply() }
        try profile.measure("cuBLASLt \(key.rows)x\(key.inFeatures)x\(key.outFeatures)", multiply)
    }

    /// Row-major matrices are the transposed ones to the library: out ᵀ = W xᵀ, and what lies in memory is Wᵀ, xᵀ and outᵀ by columns.
    private func plan(_ key: Key, workspaceBytes: Int) throws -> Plan {
        let plan = Plan(api)
        try check(
            api.cublasLtMatmulDescCreate(&plan.matmul, Int32(VLM_BLAS_COMPUTE_FLOAT32), Int32(VLM_BLAS_FLOAT32)),
            "cublasLtMatmulDescCreate", key)
        var transposed = Int32(VLM_BLAS_TRANSPOSED)
        try check(
            api.cublasLtMatmulDescSetAttribute(plan.matmul, Int32(VLM_BLAS_MATMUL_TRANSPOSE_A), &transposed, 4),
            "cublasLtMatmulDescSetAttribute", key)
        func layout(_ layout: inout OpaquePointer?, _ type: DType, _ rows: Int, _ columns: Int, _ stride: Int) throws {
            // A single row may have any stride; the library wants one that could be.
            try check(
                api.cublasLtMatrixLayoutCreate(&layout, type.blasType, UInt64(rows), UInt64(columns), Int64(max(stride, rows))),
                "cublasLtMatrixLayoutCreate", key)
        }
        try layout(&plan.weight, key.type, key.inFeatures, key.outFeatures, key.weightStride)
        try layout(&plan.x, key.type, key.inFeatures, key.rows, key.xStride)
        try layout(&plan.out, key.outType, key.outFeatures, key.rows, key.outStride)

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
        var choice = vlm_blas_choice()
        var found: Int32 = 0
        try check(
            api.cublasLtMatmulAlgoGetHeuristic(
                handle, plan.matmul, plan.weight, plan.x, plan.out, plan.out, preference, 1, &choice, &found),
            "cublasLtMatmulAlgoGetHeuristic", key)
        guard found > 0 else {
            try check(Int32(VLM_BLAS_NOT_SUPPORTED), "cublasLtMatmulAlgoGetHeuristic", key)
            return plan
        }
        plan.algorithm = choice.algorithm
        return plan
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
