/// Token texts and their ids, kept as bytes in one buffer: no string per token.
///
/// Ids may have gaps and several texts may share an id (the last one added names it), as in the `tokenizers` library's maps.
struct Vocabulary: Sendable {
    /// All texts end to end.
    private var arena: [UInt8] = []
    /// Start and length in `arena`, by entry.
    private var entries: [(start: Int32, length: Int32, id: Int32)] = []
    /// Open addressing by text: entry number, or -1.
    private var slots: [Int32]
    private var mask: Int
    /// Entry that names each id, or -1.
    private var entryOfID: [Int32] = []
    private(set) var longest = 0

    /// Ids above this bound are refused: they would size tables by a number read from a file.
    static let idLimit = 1 << 24

    init(expected: Int = 16) {
        let capacity = Self.capacity(for: expected)
        slots = [Int32](repeating: -1, count: capacity)
        mask = capacity - 1
        entries.reserveCapacity(expected)
        arena.reserveCapacity(expected * 8)
        entryOfID.reserveCapacity(expected)
    }

    private static func capacity(for count: Int) -> Int {
        var capacity = 16
        while capacity < count * 2 { capacity *= 2 }
        return capacity
    }

    /// Number of distinct texts.
    var count: Int { entries.count }
    /// One more than the greatest id.
    var idBound: Int { entryOfID.count }

    mutating func insert(_ text: some Sequence<UInt8>, id: Int32) {
        let start = arena.count
        arena.append(contentsOf: text)
        let length = arena.count - start
        let (slot, found) = arena.withUnsafeBufferPointer {
            find(UnsafeBufferPointer(rebasing: $0[start..<start + length]), in: $0)
        }
        let entry: Int
        if let found {
            arena.removeLast(length)
            entry = found
            entries[found].id = id
        } else {
            entry = entries.count
            entries.append((Int32(start), Int32(length), id))
            longest = max(longest, length)
            slots[slot] = Int32(entry)
            if entries.count * 2 > slots.count { grow() }
        }
        while entryOfID.count <= Int(id) { entryOfID.append(-1) }
        entryOfID[Int(id)] = Int32(entry)
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: slots.count * 2)
        mask = slots.count - 1
        arena.withUnsafeBufferPointer { arena in
            for (entry, place) in entries.enumerated() {
                let text = UnsafeBufferPointer(rebasing: arena[Int(place.start)..<Int(place.start + place.length)])
                var slot = Int(truncatingIfNeeded: hashBytes(text)) & mask
                while slots[slot] >= 0 { slot = (slot + 1) & mask }
                slots[slot] = Int32(entry)
            }
        }
    }

    @inline(__always)
    private func find(_ text: UnsafeBufferPointer<UInt8>, in arena: UnsafeBufferPointer<UInt8>) -> (slot: Int, entry: Int?) {
        var slot = Int(truncatingIfNeeded: hashBytes(text)) & mask
        while true {
            let entry = Int(slots[slot])
            if entry < 0 { return (slot, nil) }
            let place = entries[entry]
            if Int(place.length) == text.count, sameBytes(text, arena, at: Int(place.start)) { return (slot, entry) }
            slot = (slot + 1) & mask
        }
    }

    /// The id of a token's exact text.
    func id(of text: UnsafeBufferPointer<UInt8>) -> Int32? {
        guard text.count <= longest else { return nil }
        return arena.withUnsafeBufferPointer { find(text, in: $0).entry.map { entries[$0].id } }
    }

    func id(of text: [UInt8]) -> Int32? { text.withUnsafeBufferPointer { id(of: $0) } }
    func id(of text: String) -> Int32? { id(of: Array(text.utf8)) }

    /// Whether an id names a token.
    func contains(id: Int32) -> Bool { id >= 0 && Int(id) < entryOfID.count && entryOfID[Int(id)] >= 0 }

    /// Calls `body` with a token's text, if the id names one.
    func withText<R>(of id: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        guard contains(id: id) else { return nil }
        let place = entries[Int(entryOfID[Int(id)])]
        return try arena.withUnsafeBufferPointer {
            try body(UnsafeBufferPointer(rebasing: $0[Int(place.start)..<Int(place.start + place.length)]))
        }
    }

    func text(of id: Int32) -> [UInt8]? { withText(of: id) { Array($0) } }

    /// Calls `body` with every text and its id, in the order of insertion.
    func forEach(_ body: (UnsafeBufferPointer<UInt8>, Int32) -> Void) {
        arena.withUnsafeBufferPointer { arena in
            for place in entries {
                body(UnsafeBufferPointer(rebasing: arena[Int(place.start)..<Int(place.start + place.length)]), place.id)
            }
        }
    }
}

@inline(__always)
private func sameBytes(_ a: UnsafeBufferPointer<UInt8>, _ b: UnsafeBufferPointer<UInt8>, at start: Int) -> Bool {
    for offset in 0..<a.count where a[offset] != b[start + offset] { return false }
    return true
}

/// A 64-bit hash of short byte strings: eight bytes at a time, each multiplied in and folded.
@inline(__always)
func hashBytes(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash = UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
    guard let base = bytes.baseAddress else { return hash }
    let raw = UnsafeRawPointer(base)
    var at = 0
    while at + 8 <= bytes.count {
        hash = mix(hash ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        at += 8
    }
    var tail: UInt64 = 0
    while at < bytes.count {
        tail = tail << 8 | UInt64(bytes[at])
        at += 1
    }
    return mix(hash ^ tail)
}

@inline(__always)
func mix(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return product.high ^ product.low
}
