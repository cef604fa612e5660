/// Rules as nondeterministic automata over classes of bytes that call each other, cut down to what can be completed.
struct PushdownAutomaton: Sendable {
    struct ByteEdge {
        let low: UInt8
        let high: UInt8
        let target: Int32
    }

    struct Call {
        let rule: Int32
        let target: Int32
    }

    /// Edges of all states in one array, those of state `s` at `starts[s]..<starts[s + 1]`.
    struct Rows<Edge: Sendable>: Sendable {
        private let starts: [Int32]
        private let edges: [Edge]

        init<Source>(_ all: [Source], states: Int, source: (Source) -> Int32, edge: (Source) -> Edge) {
            var starts = [Int32](repeating: 0, count: states + 1)
            for item in all { starts[Int(source(item)) + 1] += 1 }
            for state in 0..<states { starts[state + 1] += starts[state] }
            var next = starts
            var order = [Int](repeating: 0, count: all.count)
            for (index, item) in all.enumerated() {
                let state = Int(source(item))
                order[Int(next[state])] = index
                next[state] += 1
            }
            self.starts = starts
            edges = order.map { edge(all[$0]) }
        }

        subscript(state: Int32) -> ArraySlice<Edge> { edges[Int(starts[Int(state)])..<Int(starts[Int(state) + 1])] }
    }

    let stateCount: Int
    let epsilons: Rows<Int32>
    /// Edges over ranges of byte classes.
    let byteEdges: Rows<ByteEdge>
    let calls: Rows<Call>
    let starts: [Int32]
    let root: Int
    /// Whether a state ends its rule.
    let isFinal: [Bool]
    /// Whether a state can be completed, by single-byte tokens alone where the vocabulary lacks some.
    let isSafe: [Bool]
    /// Whether every state that is left is safe.
    let allSafe: Bool
    /// Class of each byte; classes are intervals in the order of bytes.
    let classOfByte: [UInt8]
    let classCount: Int

    /// Borders that the trie walk's shortcut for plain text needs: white space, quote, backslash, DEL and the lead bytes of UTF-8.
    private static let fixedBorders: [Int] = [
        0x20, 0x22, 0x23, 0x5C, 0x5D, 0x7F, 0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1, 0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5,
    ]

    /// - Parameter writable: bytes that are tokens of their own.
    /// - Throws: ``GuidanceError`` when no text matches, when the tokens cannot write one, and for left recursion.
    init(_ grammar: Grammar, writable: [Bool], limits: GuidanceLimits) throws(GuidanceError) {
        var builder = AutomatonBuilder(origin: grammar.origin, limits: limits)
        for rule in grammar.rules { try builder.add(rule.expression) }
        try self.init(
            builder, root: grammar.root, writable: writable,
            name: { rule in grammar.rules[rule].name.isEmpty ? grammar.origin : grammar.rules[rule].name })
    }

    /// Roots of unrelated rules over common byte classes, for products.
    init(rules builder: AutomatonBuilder) throws(GuidanceError) {
        try self.init(builder, root: nil, writable: [Bool](repeating: true, count: 256), name: { _ in builder.origin })
    }

    private init(
        _ builder: AutomatonBuilder, root: Int?, writable: [Bool], name: (Int) -> String
    ) throws(GuidanceError) {
        let states = builder.stateCount
        var isBorder = [Bool](repeating: false, count: 257)
        for border in Self.fixedBorders { isBorder[border] = true }
        for edge in builder.byteEdges {
            isBorder[Int(edge.low)] = true
            isBorder[Int(edge.high) + 1] = true
        }
        var classes = [UInt8](repeating: 0, count: 256)
        for byte in 1..<256 { classes[byte] = classes[byte - 1] + (isBorder[byte] ? 1 : 0) }

        let completable = Self.completable(builder) { _ in true }
        let safe =
            writable.contains(false)
            ? Self.completable(builder) { edge in (edge.low...edge.high).contains { writable[Int($0)] } } : completable
        if let root {
            guard completable[Int(builder.starts[root])] else {
                throw GuidanceError(
                    .unsatisfiable, at: builder.origin,
                    "no text can satisfy it: its constraints exclude each other, or a rule never ends")
            }
            guard safe[Int(builder.starts[root])] else {
                throw GuidanceError(
                    .vocabulary, at: builder.origin, "the model's tokens cannot write any text that it allows")
            }
        }
        stateCount = states
        classOfByte = classes
        classCount = Int(classes[255]) + 1
        starts = builder.starts
        self.root = root ?? 0
        isSafe = safe
        allSafe = safe == completable
        var final = [Bool](repeating: false, count: states)
        for state in builder.finals { final[Int(state)] = true }
        isFinal = final
        // What cannot be completed is left out, so that whatever can be entered has an end.
        epsilons = Rows(
            builder.epsilons.filter { completable[Int($0.target)] }, states: states, source: \.source, edge: \.target)
        byteEdges = Rows(builder.byteEdges.filter { completable[Int($0.target)] }, states: states, source: \.source) { edge in
            ByteEdge(low: classes[Int(edge.low)], high: classes[Int(edge.high)], target: edge.target)
        }
        let usefulCalls = builder.callEdges.filter {
            completable[Int($0.target)] && completable[Int(builder.starts[Int($0.rule)])]
        }
        calls = Rows(usefulCalls, states: states, source: \.source) { Call(rule: $0.rule, target: $0.target) }
        try refuseLeftRecursion(Self.completable(builder) { _ in false }, name: name)
    }

    /// For each state, whether its rule's end can be reached over edges that `admits`.
    private static func completable(_ builder: AutomatonBuilder, admits: (AutomatonBuilder.ByteEdge) -> Bool) -> [Bool] {
        let states = builder.stateCount
        var reached = [Bool](repeating: false, count: states)
        let backwards = Rows(
            builder.epsilons + builder.byteEdges.filter(admits).map { ($0.source, $0.target) }, states: states,
            source: \.target, edge: \.source)
        let backwardCalls = Rows(builder.callEdges, states: states, source: \.target, edge: \.self)
        var ruleOfStart: [Int32: Int] = [:]
        for (rule, start) in builder.starts.enumerated() { ruleOfStart[start] = rule }
        var ends = [Bool](repeating: false, count: builder.starts.count)
        var waiting = [[Int32]](repeating: [], count: builder.starts.count)
        var work: [Int32] = []
        func reach(_ state: Int32) {
            guard !reached[Int(state)] else { return }
            reached[Int(state)] = true
            work.append(state)
        }
        builder.finals.forEach(reach)
        while let state = work.popLast() {
            backwards[state].forEach(reach)
            for call in backwardCalls[state] {
                if ends[Int(call.rule)] { reach(call.source) } else { waiting[Int(call.rule)].append(call.source) }
            }
            if let rule = ruleOfStart[state] {
                ends[rule] = true
                waiting[rule].forEach(reach)
            }
        }
        return reached
    }

    /// A rule that can call itself before it has read anything would be entered without end.
    ///
    /// - Parameter isEmptyPossible: for each state, whether its rule's end can be reached without reading.
    private func refuseLeftRecursion(_ isEmptyPossible: [Bool], name: (Int) -> String) throws(GuidanceError) {
        // Each rule's states that are reached before anything is read, past calls that may read nothing.
        var calledFirst = [Set<Int32>](repeating: [], count: starts.count)
        for rule in starts.indices {
            var seen: Set<Int32> = [starts[rule]]
            var work = [starts[rule]]
            while let state = work.popLast() {
                for next in epsilons[state] where seen.insert(next).inserted { work.append(next) }
                for call in calls[state] {
                    calledFirst[rule].insert(call.rule)
                    if isEmptyPossible[Int(starts[Int(call.rule)])], seen.insert(call.target).inserted {
                        work.append(call.target)
                    }
                }
            }
        }
        // Depth-first, without recursion: a cycle is a rule that is met again while it is open.
        var state = [UInt8](repeating: 0, count: starts.count)
        for first in starts.indices where state[first] == 0 {
            var path: [(rule: Int, rest: [Int32])] = [(first, Array(calledFirst[first]))]
            state[first] = 1
            while let top = path.last {
                guard let next = top.rest.last else {
                    state[top.rule] = 2
                    path.removeLast()
                    continue
                }
                path[path.count - 1].rest.removeLast()
                switch state[Int(next)] {
                case 0:
                    state[Int(next)] = 1
                    path.append((Int(next), Array(calledFirst[Int(next)])))
                case 1:
                    throw GuidanceError(
                        .unsupported, at: name(Int(next)),
                        "can begin with itself (left recursion), which never ends; write the repetition with * or +, or the recursion on the right"
                    )
                default: break
                }
            }
        }
    }
}
