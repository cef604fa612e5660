/// The merges of a BPE model: pair of token ids → rank and merged id, by open addressing.
struct MergeTable: Sendable {
    struct Merge { var rank: Int32, id: Int32 }
    private struct Slot { var pair: UInt64, rank: Int32, id: Int32 }
    /// No pair: both ids are -1.
    private static let empty = UInt64.max

    private var slots: [Slot]
    private var mask: Int
    private var used = 0
    /// Merged id by rank.
    private(set) var idOfRank: [Int32] = []

    init(expected: Int = 16) {
        var capacity = 16
        while capacity < expected * 2 { capacity *= 2 }
        slots = [Slot](repeating: Slot(pair: Self.empty, rank: 0, id: 0), count: capacity)
        mask = capacity - 1
        idOfRank.reserveCapacity(expected)
    }

    var count: Int { idOfRank.count }

    /// Adds the merge of the next rank, or of the last one again; a pair given twice takes the later rank.
    mutating func append(_ a: Int32, _ b: Int32, into id: Int32, sharesRank: Bool = false) {
        if !sharesRank { idOfRank.append(id) }
        let rank = Int32(idOfRank.count - 1)
        if used * 2 >= slots.count { grow() }
        let pair = Self.pair(a, b)
        var slot = Int(truncatingIfNeeded: mix(pair)) & mask
        while slots[slot].pair != Self.empty, slots[slot].pair != pair { slot = (slot + 1) & mask }
        if slots[slot].pair == Self.empty { used += 1 }
        slots[slot] = Slot(pair: pair, rank: rank, id: id)
    }

    private mutating func grow() {
        let old = slots
        slots = [Slot](repeating: Slot(pair: Self.empty, rank: 0, id: 0), count: old.count * 2)
        mask = slots.count - 1
        for entry in old where entry.pair != Self.empty {
            var slot = Int(truncatingIfNeeded: mix(entry.pair)) & mask
            while slots[slot].pair != Self.empty { slot = (slot + 1) & mask }
            slots[slot] = entry
        }
    }

    @inline(__always)
    private static func pair(_ a: Int32, _ b: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: a)) << 32 | UInt64(UInt32(bitPattern: b))
    }

    /// The rank of merging `a` and `b` and the id this gives; nil when they do not merge.
    @inline(__always)
    func merge(_ a: Int32, _ b: Int32) -> Merge? {
        let pair = Self.pair(a, b)
        return slots.withUnsafeBufferPointer { slots in
            var slot = Int(truncatingIfNeeded: mix(pair)) & mask
            while true {
                let entry = slots[slot]
                if entry.pair == pair { return Merge(rank: entry.rank, id: entry.id) }
                if entry.pair == Self.empty { return nil }
                slot = (slot + 1) & mask
            }
        }
    }
}
