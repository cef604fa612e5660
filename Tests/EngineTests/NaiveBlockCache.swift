import Engine

/// What ``BlockCache`` should do, as plainly as it can be said: contents are whole prefixes, compared as such.
struct NaiveBlockCache {
    /// A prefix by the number that a ``PrefixNumbers`` gave it, and its length.
    struct Prefix: Hashable {
        let number: Int
        let count: Int
    }

    let blockCount: Int
    let blockSize: Int
    /// Holders of each published block, by the prefix that ends with it.
    private var holders: [Prefix: Int] = [:]
    /// Published blocks that nobody holds, least recently used first.
    private(set) var idle: [Prefix] = []
    /// Blocks that one sequence holds and nobody can find.
    private var owned = 0
    private(set) var evictions = 0

    struct Held {
        var published: [Prefix] = []
        var owned = 0
    }

    init(blockCount: Int, blockSize: Int) {
        self.blockCount = blockCount
        self.blockSize = blockSize
    }

    private var freeCount: Int { blockCount - owned - holders.count }
    var availableCount: Int { freeCount + idle.count }

    /// - Parameter prefixes: that of each position.
    mutating func admit(_ held: inout Held, prefixes: [Int], limit: Int, reserve: Int) -> Int? {
        var found: [Prefix] = []
        while let prefix = full(found.count, prefixes), prefix.count <= limit, holders[prefix] != nil { found.append(prefix) }
        let start = found.count * blockSize
        let tail = (start..<min(limit, start + blockSize - 1, prefixes.count)).reversed()
            .map { Prefix(number: prefixes[$0], count: $0 + 1) }.first { holders[$0] != nil }
        let blocks = (prefixes.count + blockSize - 1) / blockSize
        let fresh = blocks - found.count - (tail == nil ? 0 : 1)
        let woken = found.filter { holders[$0] == 0 }.count + (tail == nil ? 0 : 1)
        guard fresh + reserve <= availableCount - woken else { return nil }
        for prefix in found { hold(prefix) }
        held.published = found
        if let tail {
            idle.removeAll { $0 == tail }
            holders[tail] = nil
            own(&held)
        }
        for _ in 0..<fresh { take(&held) }
        return tail?.count ?? start
    }

    mutating func extend(_ held: inout Held, to count: Int) -> Bool {
        let fresh = (count + blockSize - 1) / blockSize - held.published.count - held.owned
        guard fresh <= availableCount else { return false }
        for _ in 0..<max(0, fresh) { take(&held) }
        return true
    }

    mutating func publish(_ held: inout Held, prefixes: [Int], computed: Int) {
        while let prefix = full(held.published.count, prefixes), prefix.count <= computed {
            if holders[prefix] == nil { holders[prefix] = 1 } else { hold(prefix) }
            held.published.append(prefix)
            held.owned -= 1
            owned -= 1
        }
    }

    mutating func release(_ held: inout Held, prefixes: [Int], computed: Int) {
        publish(&held, prefixes: prefixes, computed: computed)
        let end = min(computed, prefixes.count)
        if end % blockSize > 0, end / blockSize == held.published.count {
            let tail = Prefix(number: prefixes[end - 1], count: end)
            idle.removeAll { $0 == tail }
            idle.append(tail)
            holders[tail] = 0
        }
        owned -= held.owned
        for prefix in held.published.reversed() {
            let left = (holders[prefix] ?? 0) - 1
            holders[prefix] = left
            if left == 0 { idle.append(prefix) }
        }
        held = Held()
    }

    private func full(_ index: Int, _ prefixes: [Int]) -> Prefix? {
        let count = (index + 1) * blockSize
        return count <= prefixes.count ? Prefix(number: prefixes[count - 1], count: count) : nil
    }

    private mutating func hold(_ prefix: Prefix) {
        idle.removeAll { $0 == prefix }
        holders[prefix, default: 0] += 1
    }

    private mutating func own(_ held: inout Held) {
        held.owned += 1
        owned += 1
    }

    private mutating func take(_ held: inout Held) {
        if freeCount == 0 {
            holders[idle.removeFirst()] = nil
            evictions += 1
        }
        own(&held)
    }
}

/// Gives each content of positions a number of its own, without hashes that could collide.
struct PrefixNumbers {
    private struct Step: Hashable {
        let prefix: Int
        let token: Int32
        let image: InternedImage?
        let row: Int
    }

    private var numbers: [Step: Int] = [:]

    /// The number of each prefix of `content`.
    mutating func numbers(of content: CacheContent) -> [Int] {
        var prefix = 0
        var all: [Int] = []
        for (position, token) in content.tokens.enumerated() {
            let extent = content.images.first { ($0.start..<$0.start + $0.count).contains(position) }
            let step = Step(
                prefix: prefix, token: token, image: extent?.image,
                row: extent.map { $0.featureRow + position - $0.start } ?? -1)
            prefix = numbers[step] ?? numbers.count + 1
            numbers[step] = prefix
            all.append(prefix)
        }
        return all
    }
}
