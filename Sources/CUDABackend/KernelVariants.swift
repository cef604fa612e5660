import CCUDAKernels
import Tensors

extension KernelFile {
    /// The sizes of attention heads that models have; larger ones are not supported on the GPU.
    static let allHeadSizes = [64, 72, 80, 88, 96, 112, 128, 192, 256]

    /// Head sizes the program is compiled for; `[0]` when it does not depend on one.
    var headSizes: [Int] {
        switch self {
        case .attention, .attentionScalar, .decodeAttention: KernelFile.allHeadSizes
        case .attentionHopper: HopperAttentionPlan.headSizes
        default: [0]
        }
    }

    /// Values of `VLM_OPTION` the program is compiled with.
    var options: [Int] {
        switch self {
        case .attention, .attentionScalar: [0, 1]
        case .gemm: KernelFile.gemmOptions
        default: [0]
        }
    }

    /// Element types the program is compiled for.
    var elements: [DType] {
        switch self {
        // Tensor cores multiply 16-bit types.
        case .attention, .gemm: [.float16, .bfloat16]
        // Logits are float32.
        case .sampling, .measure: [.float32]
        default: [.float32, .float16, .bfloat16]
        }
    }

    /// Whether the program is nothing without Hopper's instructions.
    var isForHopper: Bool { self == .attentionHopper || self == .gemm }

    /// Every tile with a plain epilogue, and some with every epilogue.
    private static let gemmOptions =
        HopperTile.all.map { $0.option(VLM_CUDA_GEMM_STORE, VLM_CUDA_NONE) }
        + HopperTile.all.filter { $0.tokens == 144 }.flatMap { tile in
            [
                tile.option(VLM_CUDA_GEMM_ACCUMULATE, VLM_CUDA_NONE), tile.option(VLM_CUDA_GEMM_ACTIVATE, VLM_CUDA_GELU),
                tile.option(VLM_CUDA_GEMM_GATED, VLM_CUDA_SILU), tile.option(VLM_CUDA_GEMM_FLOAT32, VLM_CUDA_NONE),
            ]
        }
}

extension KernelVariant {
    /// Everything that can be asked for on a target.
    package static func all(_ target: KernelTarget) -> [KernelVariant] {
        KernelFile.allCases.filter { !$0.isForHopper || target.capability == 90 }.flatMap { file in
            file.elements.flatMap { element in
                file.headSizes.flatMap { headSize in
                    file.options.map { KernelVariant(file: file, element: element, headSize: headSize, option: $0) }
                }
            }
        }
    }

    /// Every kernel in few of its forms: each element type where the program has one head size only, else one small, one odd and one large
    /// size in bfloat16, and in float32 where there is no bfloat16. What compiles in these compiles in the others, but may spill there.
    package static func selection(_ target: KernelTarget) -> [KernelVariant] {
        all(target).filter { variant in
            guard variant.headSize > 0 else { return variant.element != .float16 || variant.file == .load }
            let isTheFilesType = variant.element == (variant.file == .attentionScalar ? .float32 : .bfloat16)
            return isTheFilesType && [64, 72, 256].contains(variant.headSize)
        }
    }
}
