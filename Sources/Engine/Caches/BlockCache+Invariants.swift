extension BlockCache {
    /// What is wrong with the cache's books, for tests; empty when all is well. Takes time in proportion to the blocks.
    ///
    /// - Parameter holders: every sequence that holds blocks.
    package func checkInvariants(holders: [SequenceBlocks]) -> [String] {
        var wrong: [String] = []
        func check(_ condition: Bool, _ text: @autoclosure () -> String) {
            if !condition { wrong.append(text()) }
        }
        var isFree = [Bool](repeating: false, count: blockCount)
        for block in free {
            check(!isFree[Int(block)], "block \(block) is free twice")
            isFree[Int(block)] = true
        }
        var holderCounts = [Int](repeating: 0, count: blockCount)
        for holder in holders {
            for block in holder.blocks { holderCounts[Int(block)] += 1 }
            check(Set(holder.blocks).count == holder.blocks.count, "a sequence holds a block twice: \(holder.blocks)")
            checkChain(holder, check)
        }
        var children = [Int32](repeating: 0, count: blockCount + 1)
        var tails = children
        var alike: [UInt64: Int] = [:]
        for block in 0..<blockCount {
            let node = nodes[block]
            check(
                Int(node.holders) == holderCounts[block],
                "block \(block) counts \(node.holders) holders of \(holderCounts[block])")
            let isCached = cached.contains(Int32(block))
            check(isCached == (node.holders == 0 && node.filled > 0), "block \(block) is cached: \(isCached), \(node)")
            check(isFree[block] == (node.holders == 0 && node.filled == 0), "block \(block) is free: \(isFree[block]), \(node)")
            guard node.filled > 0 else {
                check(node.holders <= 1 || generation > 0, "block \(block) has \(node.holders) holders and is not published")
                check(node.children == 0 && node.parent < 0 && views[block].isEmpty, "block \(block) left traces: \(node)")
                continue
            }
            alike[node.key, default: 0] += 1
            children[Int(node.parent)] += 1
            guard Int(node.filled) < blockSize else { continue }
            tails[Int(node.parent)] += 1
            check(node.holders == 0 && node.children == 0, "tail \(block) is shared or continued: \(node)")
        }
        for block in 0...blockCount {
            check(
                nodes[block].children == children[block],
                "block \(block) counts \(nodes[block].children) of \(children[block]) children")
            check(nodes[block].tails == tails[block], "block \(block) counts \(nodes[block].tails) of \(tails[block]) tails")
        }
        check(
            free.count + cached.count + holderCounts.filter { $0 > 0 }.count == blockCount, "blocks are missing or counted twice")
        checkTable(alike, check)
        checkOrder(check)
        return wrong
    }

    /// The published blocks of a sequence follow each other.
    private func checkChain(_ holder: SequenceBlocks, _ check: (Bool, @autoclosure () -> String) -> Void) {
        guard holder.generation == generation else { return }
        var parent = root
        for block in holder.blocks[..<holder.publishedCount] {
            let node = nodes[Int(block)]
            check(Int(node.filled) == blockSize && node.parent == parent, "block \(block) does not follow \(parent): \(node)")
            parent = block
        }
        for block in holder.blocks[holder.publishedCount...] {
            check(nodes[Int(block)].filled == 0, "block \(block) of a sequence's own is published")
        }
    }

    /// Every published block is in the table once, and beside no other of the same content.
    private func checkTable(_ alike: [UInt64: Int], _ check: (Bool, @autoclosure () -> String) -> Void) {
        check(alike.count == heads.count, "the table has \(heads.count) keys, blocks have \(alike.count)")
        for (key, head) in heads {
            var seen: [Int32] = []
            var block = head
            while block >= 0, seen.count <= blockCount {
                let node = nodes[Int(block)]
                check(node.key == key && node.filled > 0, "block \(block) is in the table as \(key): \(node)")
                for other in seen { check(!haveSameContent(block, other), "blocks \(block) and \(other) hold the same") }
                seen.append(block)
                block = node.nextAlike
            }
            check(seen.count == alike[key], "\(seen.count) of \(alike[key] ?? 0) blocks are found by key \(key)")
        }
    }

    private func haveSameContent(_ a: Int32, _ b: Int32) -> Bool {
        let (first, second) = (nodes[Int(a)], nodes[Int(b)])
        return first.parent == second.parent && first.filled == second.filled && views[Int(a)] == views[Int(b)]
            && (0..<Int(first.filled)).allSatisfy { tokens[Int(a) * blockSize + $0] == tokens[Int(b) * blockSize + $0] }
    }

    /// Whoever holds a block holds those before it, and cached blocks give way before their predecessors.
    private func checkOrder(_ check: (Bool, @autoclosure () -> String) -> Void) {
        var place = [Int](repeating: .max, count: blockCount + 1)
        var block = cached.first
        var count = 0
        while block >= 0, count <= blockCount {
            place[Int(block)] = count
            count += 1
            block = cached.next(block)
        }
        check(count == cached.count, "the order of use has \(count) members of \(cached.count)")
        for block in 0..<blockCount where nodes[block].filled > 0 {
            let parent = Int(nodes[block].parent)
            let isHeld = nodes[block].holders > 0
            check(
                !isHeld || parent == Int(root) || nodes[parent].holders > 0,
                "block \(block) is held and \(parent) before it is not")
            check(isHeld || place[parent] == .max || place[block] < place[parent], "block \(parent) gives way before \(block)")
        }
    }
}
