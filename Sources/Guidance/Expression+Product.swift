extension Expression {
    /// Texts that both match. Neither may call rules.
    func intersection(_ other: Expression, origin: String, limits: GuidanceLimits) throws(GuidanceError) -> Expression {
        try product(other, origin: origin, limits: limits) { $0 && $1 }
    }

    /// Texts that this matches and the other does not. Neither may call rules.
    func subtracting(_ other: Expression, origin: String, limits: GuidanceLimits) throws(GuidanceError) -> Expression {
        try product(other, origin: origin, limits: limits) { $0 && !$1 }
    }

    /// Both made deterministic side by side; a text is in the result as `accepts` says of its being in each.
    private func product(
        _ other: Expression, origin: String, limits: GuidanceLimits, accepts: (Bool, Bool) -> Bool
    ) throws(GuidanceError) -> Expression {
        var builder = AutomatonBuilder(origin: origin, limits: limits)
        try builder.add(self)
        try builder.add(other)
        let automaton = try PushdownAutomaton(rules: builder)
        var sets = StateSets(automaton)
        var firstByte = [Int](repeating: 0, count: automaton.classCount + 1)
        for byte in (0..<256).reversed() { firstByte[Int(automaton.classOfByte[byte])] = byte }
        firstByte[automaton.classCount] = 256

        struct Pair: Hashable {
            let left: Int32
            let right: Int32
        }
        var index: [Pair: Int] = [:]
        var pairs: [Pair] = []
        var result = ByteAutomaton(edges: [], accepts: [])
        func state(_ pair: Pair) -> Int {
            if let known = index[pair] { return known }
            index[pair] = pairs.count
            pairs.append(pair)
            return pairs.count - 1
        }
        _ = state(Pair(left: sets.start(of: 0), right: sets.start(of: 1)))
        var next = 0
        while next < pairs.count {
            guard pairs.count <= limits.deterministicStates else {
                throw GuidanceError(
                    .tooLarge, at: origin,
                    "combining its constraints needs more than \(limits.deterministicStates) states; simplify the pattern or lower the lengths"
                )
            }
            let pair = pairs[next]
            var edges: [ByteAutomaton.Edge] = []
            for byteClass in 0..<automaton.classCount {
                let left = sets.next(pair.left, byteClass)
                guard left != StateSets.none else { continue }
                let right = pair.right == StateSets.none ? StateSets.none : sets.next(pair.right, byteClass)
                let bytes = UInt8(firstByte[byteClass])...UInt8(firstByte[byteClass + 1] - 1)
                let target = state(Pair(left: left, right: right))
                if let last = edges.last, last.target == target, Int(last.bytes.upperBound) + 1 == Int(bytes.lowerBound) {
                    edges[edges.count - 1] = .init(bytes: last.bytes.lowerBound...bytes.upperBound, target: target)
                } else {
                    edges.append(.init(bytes: bytes, target: target))
                }
            }
            result.edges.append(edges)
            let inLeft = sets.traits(of: pair.left).accepts
            let inRight = pair.right != StateSets.none && sets.traits(of: pair.right).accepts
            result.accepts.append(accepts(inLeft, inRight))
            next += 1
        }
        return .automaton(result)
    }
}
