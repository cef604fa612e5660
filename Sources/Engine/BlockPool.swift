/// Hands out the blocks of the KV cache.
package struct BlockPool {
    package let blockSize: Int
    package let blockCount: Int
    private var free: [Int32]

    package init(blockCount: Int, blockSize: Int) {
        self.blockCount = blockCount
        self.blockSize = blockSize
        // Popped from the end, so low numbers go first and a single sequence's blocks lie in order.
        free = (0..<Int32(blockCount)).reversed()
    }

    package var freeCount: Int { free.count }

    /// Blocks that hold `tokens` positions.
    package func blocks(for tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

    /// `count` blocks, or nil when fewer are free.
    package mutating func take(_ count: Int) -> [Int32]? {
        guard count <= free.count else { return nil }
        let taken = Array(free.suffix(count).reversed())
        free.removeLast(count)
        return taken
    }

    package mutating func giveBack(_ blocks: [Int32]) { free.append(contentsOf: blocks.reversed()) }
}
