/// Sets of states of one rule, interned, with their transitions worked out when first taken: the rule's deterministic automaton.
struct StateSets {
    /// What a set offers beside bytes.
    struct Traits {
        /// Rules that may be called, each with the set to return to.
        let calls: [(rule: Int32, returnSet: Int32)]
        let accepts: Bool
        /// Nothing can be read or called any more.
        let onlyAccepts: Bool
        let readsBytes: Bool
        let isSafe: Bool
    }

    let automaton: PushdownAutomaton
    private var index: [[Int32]: Int32] = [:]
    private(set) var members: [[Int32]] = []
    private var traits: [Traits?] = []
    /// Set × class to set; `unknown`, or `none` where the byte cannot be read.
    private var transitions: [Int32] = []
    private var startSets: [Int32]
    private var stamps: [UInt32]
    private var stamp: UInt32 = 0
    /// States and edges looked at so far.
    private(set) var workCount = 0
    /// Estimated memory of all sets.
    private(set) var byteCount = 0

    static let unknown: Int32 = -2
    static let none: Int32 = -1

    init(_ automaton: PushdownAutomaton) {
        self.automaton = automaton
        startSets = [Int32](repeating: Self.unknown, count: automaton.starts.count)
        stamps = [UInt32](repeating: 0, count: automaton.stateCount)
    }

    /// The set that begins a rule.
    mutating func start(of rule: Int32) -> Int32 {
        if startSets[Int(rule)] == Self.unknown { startSets[Int(rule)] = intern(closure(of: [automaton.starts[Int(rule)]])) }
        return startSets[Int(rule)]
    }

    /// The set after a byte of `byteClass`, or `none`.
    mutating func next(_ set: Int32, _ byteClass: Int) -> Int32 {
        let place = Int(set) * automaton.classCount + byteClass
        let known = transitions[place]
        if known != Self.unknown { return known }
        var targets: [Int32] = []
        for state in members[Int(set)] {
            workCount += 1 + automaton.byteEdges[state].count
            for edge in automaton.byteEdges[state] where Int(edge.low) <= byteClass && byteClass <= Int(edge.high) {
                targets.append(edge.target)
            }
        }
        let result = targets.isEmpty ? Self.none : intern(closure(of: targets))
        transitions[place] = result
        return result
    }

    mutating func traits(of set: Int32) -> Traits {
        if let known = traits[Int(set)] { return known }
        var targets: [Int32: [Int32]] = [:]
        var (accepts, reads, isSafe) = (false, false, false)
        for state in members[Int(set)] {
            for call in automaton.calls[state] { targets[call.rule, default: []].append(call.target) }
            if automaton.isFinal[Int(state)] { accepts = true }
            if !automaton.byteEdges[state].isEmpty { reads = true }
            if automaton.isSafe[Int(state)] { isSafe = true }
        }
        let calls = targets.sorted { $0.key < $1.key }.map { (rule: $0.key, returnSet: intern(closure(of: $0.value))) }
        let result = Traits(
            calls: calls, accepts: accepts, onlyAccepts: accepts && calls.isEmpty && !reads, readsBytes: reads, isSafe: isSafe)
        traits[Int(set)] = result
        return result
    }

    /// A set by its members, which must be closed.
    mutating func intern(_ states: [Int32]) -> Int32 {
        if let known = index[states] { return known }
        let set = Int32(members.count)
        index[states] = set
        members.append(states)
        traits.append(nil)
        transitions.append(contentsOf: repeatElement(Self.unknown, count: automaton.classCount))
        byteCount += 4 * automaton.classCount + 8 * states.count + 160
        return set
    }

    /// All that is reached without reading; only states that can do something are kept, in order.
    private mutating func closure(of states: [Int32]) -> [Int32] {
        stamp += 1
        var work: [Int32] = []
        var kept: [Int32] = []
        for state in states where stamps[Int(state)] != stamp {
            stamps[Int(state)] = stamp
            work.append(state)
        }
        while let state = work.popLast() {
            workCount += 1
            if automaton.isFinal[Int(state)] || !automaton.byteEdges[state].isEmpty || !automaton.calls[state].isEmpty {
                kept.append(state)
            }
            for next in automaton.epsilons[state] where stamps[Int(next)] != stamp {
                stamps[Int(next)] = stamp
                work.append(next)
            }
        }
        kept.sort()
        return kept
    }
}
