import CCUDAKernels
import CUDABackend
import Testing

/// Plans of gemm.cu, walked as its blocks do (`walk_t` and `worker_of` there).
struct HopperGEMMPlanTests {
    private static let partialBytes = 40 << 20

    private struct Walk {
        var steps: [Int: Int] = [:]
        var parts: [Int: Int] = [:]
        var slots: Set<Int> = []

        /// Everything worker `worker` does.
        mutating func add(_ plan: HopperGEMMPlan, worker: Int) {
            let (share, longer) = (plan.splitTiles * plan.blocks).quotientAndRemainder(dividingBy: plan.workers)
            let begin = worker * share + min(worker, longer)
            var step = begin
            let last = begin + share + (worker < longer ? 1 : 0)
            while step < last {
                let tile = step / plan.blocks
                let end = min((tile + 1) * plan.blocks, last)
                for s in step..<end { steps[s, default: 0] += 1 }
                if end - step < plan.blocks {
                    parts[tile, default: 0] += 1
                    #expect(
                        slots.insert(2 * worker + (begin <= tile * plan.blocks ? 1 : 0)).inserted, "a part overwrites another")
                }
                step = end
            }
            for tile in stride(from: plan.splitTiles + worker, to: plan.featureTiles * plan.tokenTiles, by: plan.workers) {
                for s in tile * plan.blocks..<(tile + 1) * plan.blocks { steps[s, default: 0] += 1 }
            }
        }
    }

    @Test(arguments: [1, 17, 64, 100, 256, 331, 1025, 2050])
    func everyStepIsDoneOnce(tokens: Int) {
        for (features, inFeatures) in [(4608, 3584), (3584, 18944), (1000, 72), (128, 8), (17920, 1536), (1024, 1024)] {
            for multiprocessors in [1, 7, 132] {
                let plan = HopperGEMMPlan(
                    tokens: tokens, features: features, inFeatures: inFeatures, epilogue: VLM_CUDA_GEMM_STORE,
                    multiprocessors: multiprocessors, partialBytes: HopperGEMMPlanTests.partialBytes)
                let blocksPerWorker = plan.tile.isPair ? 2 : 1
                #expect(plan.workers >= 1 && plan.workers * blocksPerWorker <= max(multiprocessors, 1))
                #expect(plan.tokenTiles * plan.tile.tokens >= tokens)
                #expect(plan.featureTiles * 128 * plan.tile.halves * blocksPerWorker >= features)
                #expect(plan.blocks * Int(VLM_CUDA_GEMM_DEPTH) >= inFeatures)
                #expect((1...plan.tokenTiles).contains(plan.group))
                var walk = Walk()
                for worker in 0..<plan.workers { walk.add(plan, worker: worker) }
                let tiles = plan.featureTiles * plan.tokenTiles
                #expect(walk.steps.count == tiles * plan.blocks && walk.steps.values.allSatisfy { $0 == 1 })
                // The kernel counts a tile's parts from the workers of its first and last step.
                let (share, longer) = (plan.splitTiles * plan.blocks).quotientAndRemainder(dividingBy: plan.workers)
                func worker(of step: Int) -> Int {
                    step < longer * (share + 1) ? step / (share + 1) : longer + (step - longer * (share + 1)) / share
                }
                for (tile, parts) in walk.parts {
                    #expect(parts == worker(of: (tile + 1) * plan.blocks - 1) - worker(of: tile * plan.blocks) + 1)
                }
                if plan.splitTiles > 0 {
                    let tileBytes = 128 * plan.tile.halves * plan.tile.tokens * 4
                    #expect(2 * plan.workers * blocksPerWorker * tileBytes <= HopperGEMMPlanTests.partialBytes)
                }
            }
        }
    }

    @Test func splittingNeedsScratch() {
        let plan = HopperGEMMPlan(
            tokens: 64, features: 3584, inFeatures: 18944, epilogue: VLM_CUDA_GEMM_ACCUMULATE, multiprocessors: 132,
            partialBytes: 0)
        #expect(plan.splitTiles == 0)
        let split = HopperGEMMPlan(
            tokens: 64, features: 3584, inFeatures: 18944, epilogue: VLM_CUDA_GEMM_ACCUMULATE, multiprocessors: 132,
            partialBytes: HopperGEMMPlanTests.partialBytes)
        // 28 tiles would leave most multiprocessors idle while the weights come.
        #expect(split.splitTiles > 0)
    }

    @Test func everyTileFitsIntoSharedMemory() {
        for tile in HopperTile.all {
            for epilogue in [VLM_CUDA_GEMM_STORE, VLM_CUDA_GEMM_ACCUMULATE, VLM_CUDA_GEMM_GATED, VLM_CUDA_GEMM_FLOAT32] {
                let (tokens, halves, kind) = (Int32(tile.tokens), Int32(tile.halves), Int32(epilogue.rawValue))
                #expect(vlm_cuda_gemm_stages(tokens, halves, kind) >= 3)
                #expect(vlm_cuda_gemm_shared_bytes(tokens, halves, kind) <= 232_448)
                #expect(tokens % vlm_cuda_gemm_chunk(tokens) == 0 && vlm_cuda_gemm_chunk(tokens) % 8 == 0)
            }
        }
    }
}
