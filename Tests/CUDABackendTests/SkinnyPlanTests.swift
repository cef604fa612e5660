import CCUDAKernels
import CUDABackend
import Testing

/// How decoding's products are laid out in shared memory, for GPUs that this machine need not have.
@Suite struct SkinnyPlanTests {
    struct GPU: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let multiprocessors: Int
        let sharedKilobytes: Int

        var limits: SkinnyPlan.Limits {
            SkinnyPlan.Limits(multiprocessors: multiprocessors, sharedBytesPerBlock: sharedKilobytes << 10)
        }
    }

    static let h100 = GPU(testDescription: "H100", multiprocessors: 132, sharedKilobytes: 227)
    static let gpus = [
        h100, GPU(testDescription: "A100", multiprocessors: 108, sharedKilobytes: 163),
        GPU(testDescription: "L4", multiprocessors: 58, sharedKilobytes: 99),
    ]

    static func parameters(rows: Int, inFeatures: Int, weightRows: Int, isNormed: Bool) -> vlm_cuda_linear {
        var parameters = vlm_cuda_linear()
        parameters.rows = Int32(rows)
        parameters.in_features = Int32(inFeatures)
        parameters.weight_rows = Int32(weightRows)
        // Only whether there is one counts; nothing reads it here.
        parameters.norm_weight = isNormed ? UnsafePointer(bitPattern: 16) : nil
        return parameters
    }

    @Test(arguments: gpus)
    func everyProductFits(gpu: GPU) throws {
        for rows in 1...16 {
            for inFeatures in [8, 1000, 1536, 3584, 8192, 18944, 29568] {
                for (elementSize, isNormed) in [(2, false), (2, true), (4, false), (4, true)] {
                    var parameters = Self.parameters(
                        rows: rows, inFeatures: inFeatures, weightRows: 3584, isNormed: isNormed)
                    guard let plan = SkinnyPlan(&parameters, gpu.limits, elementSize: elementSize) else {
                        #expect(isNormed, "without a norm there is always a way")
                        continue
                    }
                    #expect(plan.sharedBytes <= gpu.limits.sharedBytesPerBlock)
                    #expect(plan.blocks >= 1 && plan.blocks <= gpu.multiprocessors)
                    #expect(parameters.stages >= 2 && parameters.stages <= Int32(VLM_CUDA_SKINNY_MAX_STAGES))
                    #expect(parameters.staged == 1 || !isNormed)
                    // Eight lanes that read 16 bytes of two rows must meet different banks.
                    #expect(parameters.staged_pitch % 128 == 64)
                }
            }
        }
    }

    /// The ring holds what the memory brings while a kernel waits for its `x`: about 5 µs, 120 KB for each multiprocessor.
    @Test(arguments: [(3584, true), (3584, false), (18944, false), (1536, true), (8960, false)])
    func ringIsLongForOneRow(inFeatures: Int, isNormed: Bool) throws {
        var parameters = Self.parameters(rows: 1, inFeatures: inFeatures, weightRows: 4608, isNormed: isNormed)
        let plan = try #require(SkinnyPlan(&parameters, Self.h100.limits, elementSize: 2))
        #expect(parameters.stages >= 8 && parameters.staged == 1)
        // One block at a time.
        #expect(2 * plan.sharedBytes > Self.h100.limits.sharedBytesPerBlock)
    }

    /// Models' own shapes leave no tile to two blocks, and most multiprocessors have work.
    @Test(arguments: [
        (4608, 3584), (3584, 3584), (37888, 3584), (3584, 18944), (152_064, 3584), (2048, 1536), (1536, 1536), (17920, 1536),
        (1536, 8960),
    ])
    func blocksHaveWholeTiles(weightRows: Int, inFeatures: Int) throws {
        var parameters = Self.parameters(rows: 1, inFeatures: inFeatures, weightRows: weightRows, isNormed: false)
        let plan = try #require(SkinnyPlan(&parameters, Self.h100.limits, elementSize: 2))
        let chunks = (inFeatures * 2 + Int(VLM_CUDA_SKINNY_CHUNK_BYTES) - 1) / Int(VLM_CUDA_SKINNY_CHUNK_BYTES)
        #expect(Int(parameters.share) % chunks == 0)
        #expect(plan.blocks * Int(parameters.share) >= weightRows / 16 * chunks)
        #expect(plan.blocks >= 96)
    }

    /// The order of a row's sums depends on the grid, so the grid may not depend on the number of rows.
    @Test func blocksDoNotDependOnRows() {
        let blocks = (1...16).map { rows in
            var parameters = Self.parameters(rows: rows, inFeatures: 3584, weightRows: 48, isNormed: false)
            return SkinnyPlan(&parameters, Self.h100.limits, elementSize: 2)?.blocks
        }
        #expect(Set(blocks) == [21])  // three tiles of seven units: too few to give blocks whole tiles
    }
}
