import CUDABackend
import Testing

/// How attention on Hopper is cut, for a GPU that this machine need not have.
@Suite struct HopperAttentionPlanTests {
    static func plan(
        new: [Int32], contexts: [Int32]? = nil, window: Int? = nil, heads: Int, kvHeads: Int, headSize: Int
    ) throws -> HopperAttentionPlan {
        var starts: [Int32] = [0]
        for count in new { starts.append((starts.last ?? 0) + count) }
        return try #require(
            HopperAttentionPlan(
                starts: starts, contexts: contexts, window: window, heads: heads, kvHeads: kvHeads, headSize: headSize,
                multiprocessors: 132))
    }

    /// The numbering of attention_hopper.cu's find_tile: tiles of each sequence, its last up to lastTokens long.
    @Test(arguments: [(16, 16, 64), (28, 4, 128), (12, 2, 128), (14, 2, 64), (16, 16, 80), (64, 1, 128)])
    func tilesCoverEveryToken(heads: Int, kvHeads: Int, headSize: Int) throws {
        for new: [Int32] in [[1], [1025], [1, 0, 192, 193, 128, 129], [331, 331, 17], Array(repeating: 64, count: 80)] {
            let plan = try Self.plan(new: new, heads: heads, kvHeads: kvHeads, headSize: headSize)
            var tiles = 0
            for count in new where count > 0 {
                var left = Int(count)
                while left > plan.lastTokens {
                    left -= plan.tileTokens
                    tiles += 1
                }
                tiles += 1
            }
            #expect(plan.tiles == tiles)
            #expect(plan.tileTokens > 0 && plan.lastTokens >= plan.tileTokens)
            #expect(plan.lastTokens * heads / kvHeads <= 64 * plan.groups)
            #expect(plan.blocks == min(132, tiles * kvHeads))
        }
    }

    @Test func sharedMemoryFitsHopper() throws {
        for headSize in HopperAttentionPlan.headSizes {
            let plan = try Self.plan(new: [100], heads: 4, kvHeads: 4, headSize: headSize)
            #expect(plan.sharedBytes <= 226 << 10)
        }
    }

    @Test func moreHeadsThanRowsAreLeftToOthers() {
        #expect(
            HopperAttentionPlan(
                starts: [0, 5], contexts: [5], window: nil, heads: 256, kvHeads: 1, headSize: 128, multiprocessors: 132) == nil)
    }

    @Test func promptsAndPicturesAreDoneHere() throws {
        #expect(try Self.plan(new: [4096], contexts: [4096], heads: 28, kvHeads: 4, headSize: 128).isWorthIt)
        #expect(try Self.plan(new: [331], contexts: [331], heads: 28, kvHeads: 4, headSize: 128).isWorthIt)
        #expect(try Self.plan(new: [512], contexts: [8192], heads: 28, kvHeads: 4, headSize: 128).isWorthIt)
        #expect(try Self.plan(new: [1025], heads: 16, kvHeads: 16, headSize: 64).isWorthIt)
        #expect(try Self.plan(new: Array(repeating: 1025, count: 64), heads: 16, kvHeads: 16, headSize: 64).isWorthIt)
    }

    /// Few queries over a long context occupy few multiprocessors, since keys are not divided here.
    @Test func fewQueriesOverALongContextAreLeftToOthers() throws {
        #expect(try !Self.plan(new: [16], contexts: [16384], heads: 28, kvHeads: 4, headSize: 128).isWorthIt)
    }

    /// Windows of 64 rows would leave most of a tile empty.
    @Test func smallWindowsAreLeftToOthers() throws {
        #expect(try !Self.plan(new: Array(repeating: 64, count: 80), heads: 16, kvHeads: 16, headSize: 80).isWorthIt)
    }

    /// A sliding window bounds the work however long the context is.
    @Test func windowsBoundTheWork() throws {
        #expect(try Self.plan(new: [16], contexts: [16384], window: 128, heads: 28, kvHeads: 4, headSize: 128).isWorthIt)
    }
}
