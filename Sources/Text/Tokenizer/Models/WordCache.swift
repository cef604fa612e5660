/// Ids of words already encoded. Bounded: when full it starts anew.
struct WordCache {
    private struct Slot {
        var hash: UInt64 = 0
        var keyStart: Int32 = 0
        var keyLength: UInt16 = 0
        /// Number of ids; 0 marks a free slot.
        var idCount: UInt16 = 0
        /// The id itself when there is one, else the start in `ids`.
        var value: Int32 = 0
    }

    private static let smallest = 1 << 12
    private static let largest = 1 << 17
    private static let longestWord = 128

    private var slots: [Slot] = []
    private var keys: [UInt8] = []
    private var ids: [Int32] = []
    private var used = 0

    @inline(__always)
    func find(_ word: UnsafeBufferPointer<UInt8>, hash: UInt64, into output: inout [Int32]) -> Bool {
        guard !slots.isEmpty, word.count <= Self.longestWord else { return false }
        var at = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        return slots.withUnsafeBufferPointer { slots in
            while true {
                let slot = slots[at]
                if slot.idCount == 0 { return false }
                if slot.hash == hash, Int(slot.keyLength) == word.count, hasKey(slot.keyStart, word) {
                    if slot.idCount == 1 {
                        output.append(slot.value)
                    } else {
                        output.append(contentsOf: ids[Int(slot.value)..<Int(slot.value) + Int(slot.idCount)])
                    }
                    return true
                }
                at = (at + 1) & (slots.count - 1)
            }
        }
    }

    @inline(__always)
    private func hasKey(_ start: Int32, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
        keys.withUnsafeBufferPointer { keys in
            for offset in 0..<word.count where keys[Int(start) + offset] != word[offset] { return false }
            return true
        }
    }

    mutating func insert(_ word: UnsafeBufferPointer<UInt8>, hash: UInt64, ids new: ArraySlice<Int32>) {
        guard word.count <= Self.longestWord, let first = new.first else { return }
        if slots.isEmpty || used * 4 >= slots.count * 3 {
            // Starting anew costs less than moving: what matters is soon seen again.
            let capacity = min(max(Self.smallest, slots.count * 4), Self.largest)
            slots = [Slot](repeating: Slot(), count: capacity)
            keys.removeAll(keepingCapacity: true)
            ids.removeAll(keepingCapacity: true)
            used = 0
        }
        var at = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[at].idCount != 0 { at = (at + 1) & (slots.count - 1) }
        var value = first
        if new.count > 1 {
            value = Int32(ids.count)
            ids.append(contentsOf: new)
        }
        slots[at] = Slot(
            hash: hash, keyStart: Int32(keys.count), keyLength: UInt16(word.count), idCount: UInt16(new.count), value: value)
        keys.append(contentsOf: word)
        used += 1
    }
}
