import CCUDAKernels
import CUDABackend
import Testing

struct HopperGEMMPlanTests {
    @Test(arguments: [1, 17, 64, 100, 256, 331, 1025, 2050])
    func tilesCoverTheProduct(tokens: Int) throws {
        for (features, inFeatures) in [(4608, 3584), (3584, 18944), (1000, 72), (128, 8), (17920, 1536), (1024, 1024)] {
            for multiprocessors in [1, 7, 132] {
                let plan = try #require(
                    HopperGEMMPlan(
                        tokens: tokens, features: features, inFeatures: inFeatures, epilogue: VLM_CUDA_GEMM_STORE,
                        activation: VLM_CUDA_NONE, multiprocessors: multiprocessors))
                let tiles = plan.featureTiles * plan.tokenTiles
                #expect(plan.workers >= 1 && plan.workers <= tiles && plan.workers * plan.cluster <= multiprocessors)
                #expect(plan.tokenTiles * plan.tile.tokens >= tokens)
                #expect(plan.featureTiles * plan.tile.features * (plan.tile.isPair ? 2 : 1) >= features)
                #expect(plan.blocks * Int(VLM_CUDA_GEMM_DEPTH) >= inFeatures)
                #expect((1...plan.tokenTiles).contains(plan.group))
                // A cluster that splits does one tile, and each of its blocks a part of K.
                if plan.tile.isSplit { #expect(plan.workers == tiles && plan.cluster <= min(plan.blocks, 8)) }
            }
        }
    }

    @Test func fewTilesAreSplit() throws {
        // 28 tiles would leave most multiprocessors idle while the weights come.
        let plan = try #require(
            HopperGEMMPlan(
                tokens: 64, features: 3584, inFeatures: 18944, epilogue: VLM_CUDA_GEMM_ACCUMULATE, activation: VLM_CUDA_NONE,
                multiprocessors: 132))
        #expect(plan.tile.isSplit && plan.workers * plan.cluster >= 56)
    }

    @Test func everyTileFitsIntoSharedMemory() {
        for tile in HopperTile.all {
            for epilogue in [VLM_CUDA_GEMM_STORE, VLM_CUDA_GEMM_ACCUMULATE, VLM_CUDA_GEMM_GATED, VLM_CUDA_GEMM_FLOAT32] {
                let (tokens, halves, scheme) = (Int32(tile.tokens), Int32(tile.halves), Int32(tile.scheme))
                let kind = Int32(epilogue.rawValue)
                #expect(vlm_cuda_gemm_stages(tokens, halves, scheme, kind) >= 3)
                #expect(vlm_cuda_gemm_shared_bytes(tokens, halves, scheme, kind) <= 232_448)
                #expect(tokens % vlm_cuda_gemm_chunk(tokens) == 0 && vlm_cuda_gemm_chunk(tokens) % 8 == 0)
            }
        }
    }
}
