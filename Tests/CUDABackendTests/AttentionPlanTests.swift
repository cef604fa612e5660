import CUDABackend
import Testing

/// How attention is cut into blocks, for GPUs that this machine need not have.
@Suite struct AttentionPlanTests {
    static func plan(
        tokens: [Int], contexts: [Int], heads: Int, kvHeads: Int, headSize: Int, partialBytes: Int = 32 << 20
    ) -> AttentionPlan {
        var work = AttentionWork(rowsPerToken: heads / kvHeads)
        for (tokens, keys) in zip(tokens, contexts) { work.add(tokens: tokens, keys: keys) }
        return AttentionPlan(
            work, rows: tokens.reduce(0, +), heads: heads, kvHeads: kvHeads, headSize: headSize, multiprocessors: 132,
            partialBytes: partialBytes)
    }

    /// The smallest GPUs that are supported have 99 KB for a block.
    @Test(arguments: [8, 64, 72, 80, 88, 96, 112, 128, 136, 192, 256])
    func everyHeadFitsEveryGPU(headSize: Int) {
        for tokens in [1, 64, 4096] {
            let plan = Self.plan(tokens: [tokens], contexts: [4096], heads: 32, kvHeads: 32, headSize: headSize)
            #expect(plan.sharedBytes <= 99 << 10)
            #expect(!plan.isWide || headSize <= 128, "there is no wide kernel for long heads")
        }
        #expect(ScalarAttentionPlan(headSize: headSize).sharedBytes <= 99 << 10)
        #expect(ScalarAttentionPlan(headSize: 512).sharedBytes <= 99 << 10)
    }

    @Test func partsFitTheirRoom() {
        for context in [1, 63, 1024, 5000, 32768] {
            for tokens in [1, 7, 100, 600] where tokens <= context {
                for (heads, kvHeads, headSize) in [(28, 4, 128), (12, 2, 128), (8, 8, 64), (4, 1, 256)] {
                    for room in [0, 100_000, 32 << 20] {
                        let plan = Self.plan(
                            tokens: [tokens, 1], contexts: [context, context], heads: heads, kvHeads: kvHeads, headSize: headSize,
                            partialBytes: room)
                        #expect(plan.parts >= 1)
                        guard plan.parts > 1 else { continue }
                        let bytes = plan.parts * (tokens + 1) * heads * (headSize * 4 + AttentionPlan.weightBytes)
                        #expect(bytes <= room, "\(tokens) tokens over \(context)")
                        #expect(plan.partKeys >= AttentionPlan.tileKeys && plan.partKeys % AttentionPlan.tileKeys == 0)
                    }
                }
            }
        }
    }

    @Test func fewTilesOverALongContextAreDivided() {
        #expect(Self.plan(tokens: [16], contexts: [16384], heads: 28, kvHeads: 4, headSize: 128).parts > 8)
        #expect(Self.plan(tokens: [331], contexts: [331], heads: 28, kvHeads: 4, headSize: 128).parts == 1)
        #expect(Self.plan(tokens: [4096], contexts: [4096], heads: 28, kvHeads: 4, headSize: 128).parts == 1)
    }

    /// A decoding row beside a prompt's chunk is divided, the chunk is not.
    @Test func stragglersAreDivided() {
        let plan = Self.plan(tokens: [1024, 1], contexts: [1024, 30000], heads: 28, kvHeads: 4, headSize: 128)
        #expect(plan.parts > 1)
        #expect(plan.dividedRows < 1024 * 7)
    }

    /// Every tile of every sequence must be in the grid; see attention.cuh for the numbering.
    @Test(arguments: [
        [64, 64, 64], [63, 64, 1, 0, 17], [1025], [331, 331, 331, 331], [600, 1, 1, 1, 1, 1], [1, 1, 1, 1, 4096], [0, 0, 1],
        [65, 1],
    ])
    func everyTileIsInTheGrid(tokens: [Int]) {
        for (rowsPerToken, tileRows) in [(1, 64), (7, 64), (7, 128), (3, 16)] {
            var work = AttentionWork(rowsPerToken: rowsPerToken)
            for tokens in tokens { work.add(tokens: tokens, keys: tokens) }
            let tiles = AttentionTiles(work, tileRows: tileRows)
            var start = 0
            for (s, tokens) in tokens.enumerated() {
                let needed = (tokens * rowsPerToken + tileRows - 1) / tileRows
                if tiles.perSequence > 0 {
                    #expect(needed <= tiles.perSequence && tiles.count == tiles.perSequence * work.sequences)
                } else {
                    let first = start * rowsPerToken / tileRows + s
                    start += tokens
                    let next = start * rowsPerToken / tileRows + s + 1
                    #expect(first + needed <= next && next <= tiles.count)
                }
            }
        }
        let windows = [Int](repeating: 64, count: 80)
        var work = AttentionWork(rowsPerToken: 1)
        for length in windows { work.add(tokens: length, keys: length) }
        #expect(AttentionTiles(work, tileRows: 64).count == 80)
    }

    @Test func wideTilesAreForManyFullOnes() {
        #expect(Self.plan(tokens: [4096], contexts: [4096], heads: 28, kvHeads: 4, headSize: 128).isWide)
        #expect(!Self.plan(tokens: [331], contexts: [331], heads: 28, kvHeads: 4, headSize: 128).isWide)
        let windows = [Int](repeating: 64, count: 80)
        #expect(!Self.plan(tokens: windows, contexts: windows, heads: 16, kvHeads: 16, headSize: 80).isWide)
    }
}
