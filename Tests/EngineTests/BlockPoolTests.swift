import Engine
import Testing

struct BlockPoolTests {
    @Test func handsOutEachBlockOnceAndTakesThemBack() throws {
        var pool = BlockPool(blockCount: 5, blockSize: 64)
        let taken = (pool.take(2), pool.take(3), pool.take(1))
        let first = try #require(taken.0)
        #expect(Set(first + (taken.1 ?? [])) == Set(0..<5))
        #expect(taken.2 == nil)
        pool.giveBack(first)
        #expect(pool.freeCount == 2)
        let again = (pool.take(3), pool.take(2))
        #expect(again.0 == nil)
        #expect(again.1.map { Set($0) } == Set(first))
    }

    @Test func countsBlocksUpwards() {
        let pool = BlockPool(blockCount: 1, blockSize: 64)
        #expect([0, 1, 64, 65].map(pool.blocks(for:)) == [0, 1, 1, 2])
    }
}
