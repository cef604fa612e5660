import Models

/// Owns the blocks of the KV cache: those that sequences hold, and those that keep what they hold for sequences that begin alike.
///
/// A block is free, held by one or several sequences, or cached: its content is known and nobody holds it. The contents form a tree: a
/// published block names its predecessor, its tokens and the pictures that they show. Looking up goes by a hash of all of that and then
/// compares it exactly, pictures by identity (``InternedImage``), so that nothing is ever taken for something else.
///
/// Full blocks are shared and never written again. The last block of a sequence that has ended is mostly filled in part; it is kept as a
/// *tail* that one sequence that goes on exactly there takes over for itself. Cached blocks give way when blocks are needed, the least
/// recently used first and always before their predecessors: whoever holds a block holds those before it.
///
/// Blocks may be shared and handed on as soon as the work that fills or reads them was submitted, because a device works in order.
package final class BlockCache {
    package let blockCount: Int
    /// Positions in a block.
    package let blockSize: Int
    /// Whether contents are kept at all.
    package let cachesPrefixes: Bool

    struct Node {
        /// Sequences that hold the block.
        var holders: Int32 = 0
        /// Positions whose content is published; 0: nobody can find the block.
        var filled: Int32 = 0
        /// The published block before; only of published blocks.
        var parent: Int32 = -1
        /// Published blocks that follow, and those of them that are filled in part.
        var children: Int32 = 0
        var tails: Int32 = 0
        /// What the block is looked up by, and another block of the same key.
        var key: UInt64 = 0
        var nextAlike: Int32 = -1
    }

    /// One for each block, and a last one that stands before the first block of every sequence.
    private(set) var nodes: [Node]
    /// Tokens of published positions, ``blockSize`` for each block.
    private(set) var tokens: [Int32]
    /// What published positions show.
    private(set) var views: [[ImageView]]
    /// First block of each key.
    private(set) var heads: [UInt64: Int32] = [:]
    private let keyMask: UInt64
    /// Times that everything was forgotten.
    private(set) var generation = 0

    private(set) var free: [Int32]
    /// Published blocks that nobody holds.
    private(set) var cached: RecencyList

    /// Tokens of prompts that were looked up, and those of them that were found.
    package private(set) var tokensLookedUp = 0
    package private(set) var tokensHit = 0
    /// Cached blocks that gave way to others.
    package private(set) var evictions = 0

    /// Most bytes of host memory of pictures that cached blocks alone may keep.
    private let pictureByteLimit: Int
    /// Those there are: of each picture the share that cached blocks show.
    package private(set) var pictureByteCount = 0

    /// - Parameters:
    ///   - pictureByteLimit: most bytes of pictures that blocks nobody holds may keep in the host's memory, to be compared with.
    ///   - keyMask: bits of the keys that are used; tests make all keys collide.
    package init(
        blockCount: Int, blockSize: Int, cachesPrefixes: Bool = true, pictureByteLimit: Int = .max, keyMask: UInt64 = .max
    ) {
        self.pictureByteLimit = pictureByteLimit
        self.blockCount = blockCount
        self.blockSize = blockSize
        self.cachesPrefixes = cachesPrefixes
        self.keyMask = keyMask
        nodes = Array(repeating: Node(), count: blockCount + 1)
        tokens = Array(repeating: 0, count: cachesPrefixes ? blockCount * blockSize : 0)
        views = Array(repeating: [], count: blockCount)
        if cachesPrefixes { heads.reserveCapacity(blockCount) }
        // Popped from the end, so low numbers go first and a single sequence's blocks lie in order.
        free = (0..<Int32(blockCount)).reversed()
        cached = RecencyList(capacity: blockCount)
    }

    var root: Int32 { Int32(blockCount) }

    /// Blocks that can be taken: free ones and cached ones.
    package var availableCount: Int { free.count + cached.count }
    /// Blocks that nobody holds and that keep their content.
    package var cachedCount: Int { cached.count }
    /// Blocks that sequences hold.
    package var heldCount: Int { blockCount - availableCount }

    /// Blocks that hold `tokens` positions.
    package func blocks(for tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

    // MARK: Taking

    /// Gives a sequence blocks for all its tokens; those whose content is cached come with it.
    ///
    /// - Parameters:
    ///   - held: holds no blocks.
    ///   - limit: most tokens that may come from the cache; less than there are, because something must be computed to go on from.
    ///   - reserve: blocks that shall be available afterwards.
    /// - Returns: leading tokens that need no computing; nil, with nothing changed, when there are not enough blocks.
    package func admit(_ held: inout SequenceBlocks, tokens: [Int32], limit: Int, reserve: Int = 0) -> Int? {
        precondition(held.blocks.isEmpty, "a sequence is admitted once")
        let match = tokens.withUnsafeBufferPointer { find(&held, $0, limit: min(limit, tokens.count - 1)) }
        let needed = blocks(for: tokens.count)
        // Cached blocks that come with their content are no longer available.
        let idle = held.blocks.reduce(0) { $0 + (nodes[Int($1)].holders == 0 ? 1 : 0) }
        guard needed - held.blocks.count + reserve <= availableCount - idle else {
            held.blocks.removeAll(keepingCapacity: true)
            return nil
        }
        held.generation = generation
        for block in held.blocks { hold(block) }
        held.publishedCount = held.blocks.count
        if let tail = match.tail {
            unpublish(tail)
            held.publishedCount -= 1
        }
        held.blocks.reserveCapacity(needed)
        while held.blocks.count < needed, let block = take() { held.blocks.append(block) }
        tokensLookedUp += tokens.count
        tokensHit += match.tokenCount
        return match.tokenCount
    }

    /// Gives a sequence blocks for `tokenCount` positions in all.
    ///
    /// - Returns: false, with nothing changed, when there are not enough.
    package func extend(_ held: inout SequenceBlocks, to tokenCount: Int) -> Bool {
        let needed = blocks(for: tokenCount)
        guard needed - held.blocks.count <= availableCount else { return false }
        while held.blocks.count < needed, let block = take() { held.blocks.append(block) }
        return true
    }

    /// Finds the longest cached beginning and puts its blocks into `held`, which does not hold them yet.
    private func find(
        _ held: inout SequenceBlocks, _ tokens: UnsafeBufferPointer<Int32>, limit: Int
    ) -> (tokenCount: Int, tail: Int32?) {
        guard cachesPrefixes, held.isShared else { return (0, nil) }
        var parent = root
        var count = 0
        while count + blockSize <= limit, nodes[Int(parent)].children > 0 {
            let key = held.key(before: count / blockSize + 1, tokens: tokens, blockSize: blockSize)
            guard let block = published(key, after: parent, held, tokens, count..<count + blockSize) else { break }
            held.blocks.append(block)
            parent = block
            count += blockSize
        }
        guard nodes[Int(parent)].tails > 0 else { return (count, nil) }
        _ = held.key(before: count / blockSize, tokens: tokens, blockSize: blockSize)
        var key = SequenceBlocks.KeyBuilder(held, block: count / blockSize, blockSize: blockSize)
        var tail: Int32?
        var end = count
        for position in count..<max(count, min(limit, count + blockSize - 1)) {
            key.add(tokens)
            if let block = published(key.key, after: parent, held, tokens, count..<position + 1) {
                (tail, end) = (block, position + 1)
            }
        }
        if let tail { held.blocks.append(tail) }
        return (end, tail)
    }

    /// The published block that follows `parent` and holds exactly the positions of `range`.
    private func published(
        _ key: UInt64, after parent: Int32, _ held: SequenceBlocks, _ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>
    ) -> Int32? {
        guard var block = heads[key & keyMask] else { return nil }
        while block >= 0 {
            let node = nodes[Int(block)]
            if node.parent == parent, Int(node.filled) == range.count, hasTokens(block, tokens, range),
                held.shows(views[Int(block)], in: range)
            {
                return block
            }
            block = node.nextAlike
        }
        return nil
    }

    private func hasTokens(_ block: Int32, _ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>) -> Bool {
        let start = Int(block) * blockSize
        return self.tokens.withUnsafeBufferPointer { published in
            published[start..<start + range.count].elementsEqual(tokens[range])
        }
    }

    private func hold(_ block: Int32) {
        if nodes[Int(block)].holders == 0 { uncache(block) }
        nodes[Int(block)].holders += 1
    }

    /// A free block, or the least recently used of the cached ones.
    private func take() -> Int32? {
        guard let block = free.popLast() ?? evict() else { return nil }
        nodes[Int(block)].holders = 1
        return block
    }

    private func evict() -> Int32? {
        guard cached.count > 0 else { return nil }
        let block = cached.first
        uncache(block)
        unpublish(block)
        evictions += 1
        return block
    }

    // MARK: Giving

    /// Lets others find the full blocks of a sequence whose computation was submitted. Cheap when there is nothing new.
    ///
    /// Where another sequence published the same content before, the sequence goes on with that block and its own is free: work under way
    /// may still use it, but what is submitted from now on must name the blocks anew.
    ///
    /// - Parameters:
    ///   - tokens: the sequence's tokens; positions beyond them have unknown content.
    ///   - computed: leading positions that are computed.
    package func publish(_ held: inout SequenceBlocks, tokens: [Int32], computed: Int) {
        guard (held.publishedCount + 1) * blockSize <= computed, keepsContent(of: held) else { return }
        tokens.withUnsafeBufferPointer { publish(&held, $0, upTo: min(computed, $0.count) / blockSize) }
    }

    private func publish(_ held: inout SequenceBlocks, _ tokens: UnsafeBufferPointer<Int32>, upTo end: Int) {
        while held.publishedCount < end {
            let index = held.publishedCount
            let parent = index == 0 ? root : held.blocks[index - 1]
            let key = held.key(before: index + 1, tokens: tokens, blockSize: blockSize)
            let range = index * blockSize..<(index + 1) * blockSize
            let block = held.blocks[index]
            if let same = published(key, after: parent, held, tokens, range) {
                hold(same)
                held.blocks[index] = same
                letGo(block)
            } else {
                insert(block, key, after: parent, held, tokens, range)
            }
            held.publishedCount += 1
        }
    }

    /// Takes back all blocks of a sequence; what is computed stays to be found.
    ///
    /// - Parameters:
    ///   - tokens: the sequence's tokens; positions beyond them have unknown content.
    ///   - computed: leading positions that are computed; 0 where that failed, and nothing more is kept.
    package func release(_ held: inout SequenceBlocks, tokens: [Int32], computed: Int) {
        if keepsContent(of: held) {
            tokens.withUnsafeBufferPointer { tokens in
                let known = min(computed, tokens.count)
                publish(&held, tokens, upTo: known / blockSize)
                if known % blockSize > 0, known / blockSize == held.publishedCount { publishTail(&held, tokens, end: known) }
            }
        }
        // Last blocks first: they are to give way before their predecessors.
        for block in held.blocks.reversed() { letGo(block) }
        held.blocks.removeAll()
        held.publishedCount = 0
    }

    private func keepsContent(of held: SequenceBlocks) -> Bool {
        cachesPrefixes && held.isShared && held.generation == generation
    }

    private func publishTail(_ held: inout SequenceBlocks, _ tokens: UnsafeBufferPointer<Int32>, end: Int) {
        let index = end / blockSize
        let parent = index == 0 ? root : held.blocks[index - 1]
        let range = index * blockSize..<end
        _ = held.key(before: index, tokens: tokens, blockSize: blockSize)
        var key = SequenceBlocks.KeyBuilder(held, block: index, blockSize: blockSize)
        for _ in range { key.add(tokens) }
        if let same = published(key.key, after: parent, held, tokens, range) {
            cached.touch(same)
        } else {
            insert(held.blocks[index], key.key, after: parent, held, tokens, range)
        }
    }

    private func letGo(_ block: Int32) {
        nodes[Int(block)].holders -= 1
        guard nodes[Int(block)].holders == 0 else { return }
        guard nodes[Int(block)].filled > 0 else { return free.append(block) }
        cached.append(block)
        pictureByteCount += pictureBytes(block)
        // Pictures are large beside the blocks that show them, and lie where the memory plan of a device does not look.
        while pictureByteCount > pictureByteLimit, let block = evict() { free.append(block) }
    }

    private func uncache(_ block: Int32) {
        cached.remove(block)
        pictureByteCount -= pictureBytes(block)
    }

    /// A block's share of the pictures that it shows.
    private func pictureBytes(_ block: Int32) -> Int {
        views[Int(block)].reduce(0) { sum, view in
            let content = view.image.content
            return sum + content.byteCount * Int(view.count) / max(1, content.tokenCount)
        }
    }

    // MARK: The tree

    private func insert(
        _ block: Int32, _ key: UInt64, after parent: Int32, _ held: SequenceBlocks, _ tokens: UnsafeBufferPointer<Int32>,
        _ range: Range<Int>
    ) {
        let key = key & keyMask
        nodes[Int(block)].key = key
        nodes[Int(block)].filled = Int32(range.count)
        nodes[Int(block)].parent = parent
        nodes[Int(block)].nextAlike = heads[key] ?? -1
        heads[key] = block
        nodes[Int(parent)].children += 1
        if range.count < blockSize { nodes[Int(parent)].tails += 1 }
        let start = Int(block) * blockSize
        self.tokens.withUnsafeMutableBufferPointer { published in
            for offset in 0..<range.count { published[start + offset] = tokens[range.lowerBound + offset] }
        }
        views[Int(block)] = held.views(in: range)
    }

    /// Makes a block that nothing follows impossible to find.
    private func unpublish(_ block: Int32) {
        let node = nodes[Int(block)]
        precondition(node.children == 0, "blocks go before their predecessors")
        nodes[Int(node.parent)].children -= 1
        if node.filled < blockSize { nodes[Int(node.parent)].tails -= 1 }
        unlink(block, node)
        nodes[Int(block)].filled = 0
        nodes[Int(block)].parent = -1
        nodes[Int(block)].nextAlike = -1
        if !views[Int(block)].isEmpty { views[Int(block)] = [] }
    }

    private func unlink(_ block: Int32, _ node: Node) {
        guard var other = heads[node.key] else { preconditionFailure("published blocks are in the table") }
        if other == block {
            heads[node.key] = node.nextAlike >= 0 ? node.nextAlike : nil
            return
        }
        while nodes[Int(other)].nextAlike != block { other = nodes[Int(other)].nextAlike }
        nodes[Int(other)].nextAlike = node.nextAlike
    }

    // MARK: Forgetting

    /// Forgets all content, as after a device failed: what was submitted may never have been computed.
    ///
    /// Sequences keep their blocks, and nobody finds them later either.
    package func forget() {
        while let block = evict() { free.append(block) }
        heads.removeAll(keepingCapacity: true)
        for index in nodes.indices {
            nodes[index] = Node(holders: nodes[index].holders)
            if index < blockCount { views[index] = [] }
        }
        generation += 1
    }
}
