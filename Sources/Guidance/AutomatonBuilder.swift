/// Writes rules as one nondeterministic automaton (Thompson's construction, between given states).
struct AutomatonBuilder {
    struct ByteEdge {
        let source: Int32
        let target: Int32
        let low: UInt8
        let high: UInt8
    }

    struct CallEdge {
        let source: Int32
        let target: Int32
        let rule: Int32
    }

    private(set) var stateCount = 0
    private(set) var epsilons: [(source: Int32, target: Int32)] = []
    private(set) var byteEdges: [ByteEdge] = []
    private(set) var callEdges: [CallEdge] = []
    private(set) var starts: [Int32] = []
    private(set) var finals: [Int32] = []
    let limits: GuidanceLimits
    let origin: String

    init(origin: String, limits: GuidanceLimits) {
        self.origin = origin
        self.limits = limits
    }

    /// Adds a rule; rules are numbered in the order they are added.
    mutating func add(_ expression: Expression) throws(GuidanceError) {
        let start = try newState()
        let final = try newState()
        starts.append(start)
        finals.append(final)
        try emit(expression, from: start, to: final)
    }

    private mutating func newState() throws(GuidanceError) -> Int32 {
        guard stateCount < limits.states, byteEdges.count + epsilons.count < 8 * limits.states else {
            throw GuidanceError(
                .tooLarge, at: origin,
                "needs an automaton of more than \(limits.states) states; lower the counts of its repetitions (maxLength, maxItems, {m,n}) "
                    + "or the number of its alternatives")
        }
        stateCount += 1
        return Int32(stateCount - 1)
    }

    private mutating func link(_ source: Int32, _ target: Int32) {
        if source != target { epsilons.append((source, target)) }
    }

    /// Adds edges out of `from` and into `to`, never into `from` or out of `to` (unless they are one), so that alternatives and loops
    /// may share their ends.
    private mutating func emit(_ expression: Expression, from: Int32, to: Int32) throws(GuidanceError) {
        switch expression {
        case .never: return
        case .bytes(let bytes):
            var state = from
            for (index, byte) in bytes.enumerated() {
                let next = index == bytes.count - 1 ? to : try newState()
                byteEdges.append(ByteEdge(source: state, target: next, low: byte, high: byte))
                state = next
            }
            if bytes.isEmpty { link(from, to) }
        case .scalars(let set): try emit(set, from: from, to: to)
        case .sequence(let parts):
            var state = from
            for (index, part) in parts.enumerated() {
                let next = index == parts.count - 1 ? to : try newState()
                try emit(part, from: state, to: next)
                state = next
            }
            if parts.isEmpty { link(from, to) }
        case .choice(let alternatives):
            for alternative in alternatives { try emit(alternative, from: from, to: to) }
        case .repeated(let inner, let min, let max): try emitRepeated(inner, min: min, max: max, from: from, to: to)
        case .rule(let rule): callEdges.append(CallEdge(source: from, target: to, rule: Int32(rule)))
        case .joined(let items, let separator, let rest, let restMin, let restMax):
            try emitJoined(items, separator: separator, rest: rest, restMin: restMin, restMax: restMax, from: from, to: to)
        case .automaton(let automaton):
            var states: [Int32] = []
            for _ in automaton.edges { states.append(try newState()) }
            if let first = states.first { link(from, first) }
            for (state, edges) in automaton.edges.enumerated() {
                for edge in edges {
                    byteEdges.append(
                        ByteEdge(
                            source: states[state], target: states[edge.target], low: edge.bytes.lowerBound,
                            high: edge.bytes.upperBound))
                }
                if automaton.accepts[state] { link(states[state], to) }
            }
        }
    }

    /// The UTF-8 forms of a set; equal tails share their states.
    private mutating func emit(_ set: ScalarSet, from: Int32, to: Int32) throws(GuidanceError) {
        struct Tail: Hashable {
            let bytes: ClosedRange<UInt8>
            let target: Int32
        }
        var tails: [Tail: Int32] = [:]
        for sequence in set.utf8Sequences() {
            var target = to
            for bytes in sequence.dropFirst().reversed() {
                let tail = Tail(bytes: bytes, target: target)
                if let known = tails[tail] {
                    target = known
                } else {
                    let state = try newState()
                    byteEdges.append(ByteEdge(source: state, target: target, low: bytes.lowerBound, high: bytes.upperBound))
                    tails[tail] = state
                    target = state
                }
            }
            if let first = sequence.first {
                byteEdges.append(ByteEdge(source: from, target: target, low: first.lowerBound, high: first.upperBound))
            }
        }
    }

    private mutating func emitRepeated(
        _ inner: Expression, min: Int, max: Int?, from: Int32, to: Int32
    ) throws(GuidanceError) {
        var state = try newState()
        link(from, state)
        for _ in 0..<min {
            let next = try newState()
            try emit(inner, from: state, to: next)
            state = next
        }
        link(state, to)
        guard let max else {
            return try emit(inner, from: state, to: state)
        }
        for _ in min..<Swift.max(min, max) {
            let next = try newState()
            try emit(inner, from: state, to: next)
            link(next, to)
            state = next
        }
    }

    private mutating func emitJoined(
        _ items: [Expression.Item], separator: Expression, rest: Expression?, restMin: Int, restMax: Int?, from: Int32, to: Int32
    ) throws(GuidanceError) {
        // `none`: no item so far; `some`: the next one needs a separator.
        var none: Int32? = try newState()
        var some: Int32?
        if let none { link(from, none) }
        func nextItem(_ builder: inout AutomatonBuilder, _ expression: Expression, to exit: Int32) throws(GuidanceError) {
            let entry = try builder.newState()
            if let none { builder.link(none, entry) }
            if let some { try builder.emit(separator, from: some, to: entry) }
            try builder.emit(expression, from: entry, to: exit)
        }
        for item in items {
            let after = try newState()
            try nextItem(&self, item.expression, to: after)
            if item.isOptional {
                if let some { link(some, after) }
            } else {
                none = nil
            }
            some = after
        }
        guard let rest else {
            if let none { link(none, to) }
            if let some { link(some, to) }
            return
        }
        for _ in 0..<restMin {
            let after = try newState()
            try nextItem(&self, rest, to: after)
            (none, some) = (nil, after)
        }
        if let none { link(none, to) }
        if let some { link(some, to) }
        if let restMax {
            for _ in restMin..<Swift.max(restMin, restMax) {
                let after = try newState()
                try nextItem(&self, rest, to: after)
                link(after, to)
                (none, some) = (nil, after)
            }
        } else {
            let loop = try newState()
            try nextItem(&self, rest, to: loop)
            let entry = try newState()
            try emit(separator, from: loop, to: entry)
            try emit(rest, from: entry, to: loop)
            link(loop, to)
        }
    }
}
