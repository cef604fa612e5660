package import CCPUKernels

/// An instruction-set level that kernels exist for.
///
/// A backend is given one when it is made and passes it to every kernel, so two backends of different levels can run side by
/// side in one process, as the tests do.
package enum InstructionSet: String, Sendable, CaseIterable {
    /// Portable C, on any processor.
    case scalar
    /// x86-64 with AVX2, FMA and F16C.
    case avx2
    /// AVX-512 F, BW, DQ and VL.
    case avx512
    /// AVX-512 with the BF16 and VNNI dot products.
    case avx512bf16
    /// 64-bit ARM Advanced SIMD.
    case neon

    /// The level's number in the C kernels.
    package var isa: vlm_isa {
        switch self {
        case .scalar: VLM_ISA_SCALAR
        case .avx2: VLM_ISA_AVX2
        case .avx512: VLM_ISA_AVX512
        case .avx512bf16: VLM_ISA_AVX512_BF16
        case .neon: VLM_ISA_NEON
        }
    }

    /// Whether this processor and operating system can run it.
    package var isAvailable: Bool { vlm_isa_available(isa) }

    /// The levels this machine can run.
    package static var available: [InstructionSet] { allCases.filter(\.isAvailable) }

    /// The fastest level this machine can run.
    package static var best: InstructionSet {
        let best = vlm_isa_best()
        return allCases.first { $0.isa == best } ?? .scalar
    }
}

/// What the machine offers a process.
package enum CPUFeatures {
    /// Cores this process may use: its affinity mask, cut down to its control group's CPU quota.
    package static var usableCores: Int { Int(vlm_usable_cores()) }

    /// The tightest CPU quota, in whole cores, of the control groups that the file `membership` names below `mount`; nil for none.
    package static func quotaCores(mount: String, membership: String) -> Int? {
        let cores = vlm_quota_cores(mount, membership)
        return cores > 0 ? Int(cores) : nil
    }
}
