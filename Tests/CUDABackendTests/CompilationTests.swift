import CCUDAKernels
import CUDABackend
import Tensors
import Testing

@Suite struct CompilationTests {
    @Test func targetsAreNamedAsNVRTCNamesThem() {
        #expect(KernelTarget("sm_90a")?.description == "sm_90a")
        #expect(KernelTarget("sm_80")?.description == "sm_80")
        #expect(KernelTarget(capability: 120).description == "sm_120")
        #expect(KernelTarget(capability: 90, isMachineCode: false).description == "compute_90a")
        for name in ["sm_75", "90", "sm_", "compute_80", ""] { #expect(KernelTarget(name) == nil, "\(name)") }
    }

    @Test func everyProgramHasVariants() {
        let variants = KernelVariant.all(KernelTarget(capability: 90))
        for file in KernelFile.allCases {
            let own = variants.filter { $0.file == file }
            #expect(!own.isEmpty && Set(own).count == own.count, "\(file)")
        }
        #expect(!KernelVariant.all(KernelTarget(capability: 80)).contains { $0.file == .attentionHopper })
    }

    /// The smallest head size of each program; all of them are the doctor's business (`vlm doctor --compile-kernels`).
    @Test(.enabled(if: CUDA.hasCompiler, "no NVRTC here; name its folder in VLM_CUDA_PATH"), arguments: ["sm_80", "sm_90a"])
    func programsCompile(_ name: String) throws {
        let target = try #require(KernelTarget(name))
        var seen: Set<KernelFile> = []
        let variants = KernelVariant.all(target).filter { $0.element != .float32 && seen.insert($0.file).inserted }
        for (variant, code) in try CUDA.libraries.compile(variants, for: target) {
            // Machine code is an ELF file.
            #expect(code.starts(with: [0x7F, 0x45, 0x4C, 0x46]), "\(variant)")
        }
    }

    /// What a kernel reads and what Swift writes must be the same bytes: maps first, and of their size.
    @Test func parametersFit() {
        #expect(MemoryLayout<vlm_cuda_tensor_map>.size == 128)
        #expect(MemoryLayout<vlm_cuda_place>.size == 96)
    }
}
