/// What one encoding call needs beside the model: symbol storage and the cache of words already seen.
struct BPEScratch {
    var symbols: [Int32] = []
    var cache = WordCache()
    private var ranks: [Int32] = []
    private var next: [Int32] = []
    private var previous: [Int32] = []
    private var heap: [UInt64] = []

    /// Above this length a heap finds the next merge; below, a scan is faster.
    private static let scanLimit = 48
    private static let none = Int32.max

    /// Applies merges to `symbols` until no adjacent pair merges.
    mutating func mergeAll(_ merges: MergeTable) {
        if symbols.count <= Self.scanLimit { mergeByScan(merges) } else { mergeByHeap(merges) }
    }

    private mutating func mergeByScan(_ merges: MergeTable) {
        var count = symbols.count
        guard count > 1 else { return }
        ranks.removeAll(keepingCapacity: true)
        for at in 0..<count - 1 { ranks.append(merges.merge(symbols[at], symbols[at + 1])?.rank ?? Self.none) }
        symbols.withUnsafeMutableBufferPointer { symbols in
            ranks.withUnsafeMutableBufferPointer { ranks in
                while count > 1 {
                    var best = Self.none
                    var bestAt = 0
                    for at in 0..<count - 1 where ranks[at] < best {
                        best = ranks[at]
                        bestAt = at
                    }
                    guard best != Self.none else { break }
                    symbols[bestAt] = merges.idOfRank[Int(best)]
                    count -= 1
                    for at in bestAt + 1..<max(bestAt + 1, count) { symbols[at] = symbols[at + 1] }
                    for at in bestAt..<max(bestAt, count - 1) { ranks[at] = ranks[at + 1] }
                    if bestAt > 0 {
                        ranks[bestAt - 1] = merges.merge(symbols[bestAt - 1], symbols[bestAt])?.rank ?? Self.none
                    }
                    if bestAt < count - 1 {
                        ranks[bestAt] = merges.merge(symbols[bestAt], symbols[bestAt + 1])?.rank ?? Self.none
                    }
                }
            }
        }
        symbols.removeLast(symbols.count - count)
    }

    /// The library's algorithm (models/bpe/word.rs): a queue of merges ordered by rank, then position, in which entries
    /// made stale by other merges are recognised when they come up.
    private mutating func mergeByHeap(_ merges: MergeTable) {
        let count = symbols.count
        next.removeAll(keepingCapacity: true)
        previous.removeAll(keepingCapacity: true)
        heap.removeAll(keepingCapacity: true)
        for at in 0..<count {
            next.append(at + 1 < count ? Int32(at + 1) : -1)
            previous.append(Int32(at - 1))
            if at + 1 < count, let merge = merges.merge(symbols[at], symbols[at + 1]) {
                heap.append(UInt64(UInt32(merge.rank)) << 32 | UInt64(at))
            }
        }
        // A sorted array is a heap.
        heap.sort()
        let removed: Int32 = -1
        while let top = popHeap() {
            let at = Int(top & 0xFFFF_FFFF)
            let right = Int(next[at])
            guard symbols[at] != removed, right >= 0 else { continue }
            let id = merges.idOfRank[Int(top >> 32)]
            guard let merge = merges.merge(symbols[at], symbols[right]), merge.id == id else { continue }
            symbols[at] = id
            symbols[right] = removed
            let after = next[right]
            next[at] = after
            if after >= 0 {
                previous[Int(after)] = Int32(at)
                if let merge = merges.merge(id, symbols[Int(after)]) { pushHeap(merge.rank, at) }
            }
            let before = previous[at]
            if before >= 0, let merge = merges.merge(symbols[Int(before)], id) { pushHeap(merge.rank, Int(before)) }
        }
        symbols.removeAll { $0 == removed }
    }

    private mutating func pushHeap(_ rank: Int32, _ position: Int) {
        heap.append(UInt64(UInt32(rank)) << 32 | UInt64(position))
        heap.withUnsafeMutableBufferPointer { heap in
            var at = heap.count - 1
            while at > 0 {
                let parent = (at - 1) / 2
                if heap[parent] <= heap[at] { break }
                heap.swapAt(parent, at)
                at = parent
            }
        }
    }

    private mutating func popHeap() -> UInt64? {
        guard let top = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return top }
        heap.withUnsafeMutableBufferPointer { heap in
            var at = 0
            while true {
                var child = 2 * at + 1
                if child >= heap.count { break }
                if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
                if heap[child] >= last { break }
                heap[at] = heap[child]
                at = child
            }
            heap[at] = last
        }
        return top
    }
}
