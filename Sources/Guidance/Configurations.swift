/// Everything that the automaton of a guidance can be in the middle of, interned: its lazily built deterministic form with stacks.
///
/// A frame is a set of states of one rule and where to go on when the rule ends: the number of another configuration, whose frames are
/// those to return to. A configuration is a set of frames. Frames of equal sets are merged (their returns united), so that an ambiguous
/// grammar makes a graph and no forest; equal configurations have one number, so that masks and transitions are worked out once for each,
/// whatever text led there.
struct Configurations {
    /// A set in the upper half, the configuration to return to in the lower.
    typealias Frame = UInt64
    /// Stands for the end of the text in the frames to return to.
    static let bottom: Frame = .max
    static let dead: Int32 = -1
    private static let unknown: Int32 = -2

    let vocabulary: GuidanceVocabulary
    private(set) var sets: StateSets
    private var index: [[Frame]: Int32] = [:]
    private(set) var frames: [[Frame]] = []
    /// Place of a configuration's transitions, or -1 before the first is asked for.
    private var rows: [Int32] = []
    private var transitions: [Int32] = []
    private var isSafe: [Bool?] = []
    /// Masks by configuration.
    var masks: [Int32: TokenMask] = [:]
    var maskBytes = 0
    private(set) var start: Int32 = 0
    /// Transitions that had to be worked out so far.
    private(set) var derivedTransitions = 0
    /// What all of them took, in states, edges and frames looked at; a walk over tokens gives up beyond the limit.
    var workCount: Int { sets.workCount + frameWork }
    private var frameWork = 0
    var workLimit = Int.max

    // Kept to reuse their memory.
    private var work: [Frame] = []
    private var seen: Set<Frame> = []
    var walkStack: [Int32] = []

    init(_ automaton: PushdownAutomaton, vocabulary: GuidanceVocabulary) {
        self.vocabulary = vocabulary
        sets = StateSets(automaton)
        let bottom = intern([Self.bottom])
        work = [Self.frame(sets.start(of: Int32(automaton.root)), bottom)]
        start = close()
    }

    var automaton: PushdownAutomaton { sets.automaton }
    /// Estimated memory.
    var byteCount: Int { sets.byteCount + 4 * transitions.count + 120 * frames.count + maskBytes }

    private static func frame(_ set: Int32, _ returns: Int32) -> Frame { UInt64(UInt32(set)) << 32 | UInt64(UInt32(returns)) }
    private static func set(_ frame: Frame) -> Int32 { Int32(truncatingIfNeeded: frame >> 32) }
    private static func returns(_ frame: Frame) -> Int32 { Int32(truncatingIfNeeded: frame & 0xFFFF_FFFF) }

    /// Whether the text may end here.
    func canEnd(_ configuration: Int32) -> Bool { frames[Int(configuration)].last == Self.bottom }

    /// Whether nothing can be read any more.
    func mustEnd(_ configuration: Int32) -> Bool { frames[Int(configuration)] == [Self.bottom] }

    /// The configuration after a byte of `byteClass`, or `dead`.
    @inline(__always)
    mutating func next(_ configuration: Int32, _ byteClass: Int) -> Int32 {
        let row = rows[Int(configuration)]
        if row >= 0 {
            let known = transitions[Int(row) + byteClass]
            if known != Self.unknown { return known }
        }
        return derive(configuration, byteClass)
    }

    @inline(never)
    private mutating func derive(_ configuration: Int32, _ byteClass: Int) -> Int32 {
        derivedTransitions += 1
        if rows[Int(configuration)] < 0 {
            rows[Int(configuration)] = Int32(transitions.count)
            transitions.append(contentsOf: repeatElement(Self.unknown, count: automaton.classCount))
        }
        work.removeAll(keepingCapacity: true)
        for frame in frames[Int(configuration)] where frame != Self.bottom {
            let next = sets.next(Self.set(frame), byteClass)
            if next != StateSets.none { work.append(Self.frame(next, Self.returns(frame))) }
        }
        let result = work.isEmpty ? Self.dead : close()
        transitions[Int(rows[Int(configuration)]) + byteClass] = result
        return result
    }

    /// The configuration of the frames in `work` and all that calls and returns lead to.
    private mutating func close() -> Int32 {
        seen.removeAll(keepingCapacity: true)
        var kept: [Frame] = []
        while let frame = work.popLast() {
            frameWork += 4
            guard seen.insert(frame).inserted else { continue }
            guard frame != Self.bottom else {
                kept.append(frame)
                continue
            }
            let traits = sets.traits(of: Self.set(frame))
            // Frames that read nothing have said all they can by what they call and return to.
            if traits.readsBytes { kept.append(frame) }
            for call in traits.calls {
                // A call that is the last thing of its rule returns where the rule returns: right recursion needs no stack.
                let returns =
                    sets.traits(of: call.returnSet).onlyAccepts
                    ? Self.returns(frame) : intern([Self.frame(call.returnSet, Self.returns(frame))])
                work.append(Self.frame(sets.start(of: call.rule), returns))
            }
            if traits.accepts { work.append(contentsOf: frames[Int(Self.returns(frame))]) }
        }
        kept.sort()
        return intern(merged(kept, depth: 0))
    }

    /// Sorted frames with those of equal sets made one.
    private mutating func merged(_ sorted: [Frame], depth: Int) -> [Frame] {
        var result: [Frame] = []
        result.reserveCapacity(sorted.count)
        for frame in sorted {
            guard let last = result.last, frame != Self.bottom, Self.set(last) == Self.set(frame), depth < 64 else {
                result.append(frame)
                continue
            }
            result[result.count - 1] = Self.frame(
                Self.set(frame), union(Self.returns(last), Self.returns(frame), depth: depth + 1))
        }
        return result
    }

    private mutating func union(_ a: Int32, _ b: Int32, depth: Int) -> Int32 {
        if a == b { return a }
        return intern(merged(Set(frames[Int(a)] + frames[Int(b)]).sorted(), depth: depth))
    }

    private mutating func intern(_ list: [Frame]) -> Int32 {
        if let known = index[list] { return known }
        let number = Int32(frames.count)
        index[list] = number
        frames.append(list)
        rows.append(-1)
        isSafe.append(nil)
        return number
    }

    /// Whether the text can be completed from here with the tokens there are.
    mutating func canBeCompleted(_ configuration: Int32) -> Bool {
        if automaton.allSafe { return true }
        if let known = isSafe[Int(configuration)] { return known }
        // Each return was pushed before what returns to it, so this descends.
        var result = false
        for frame in frames[Int(configuration)] where !result {
            result = frame == Self.bottom || (sets.traits(of: Self.set(frame)).isSafe && canBeCompleted(Self.returns(frame)))
        }
        isSafe[Int(configuration)] = result
        return result
    }

    // MARK: Moving between tables

    /// A configuration without its numbers: for each frame the states of its set and the place of its returns in the list (-1 for the end of
    /// the text). The configuration itself is the last of the list.
    struct Snapshot: Sendable {
        var entries: [[(states: [Int32], returns: Int)]] = []
    }

    func snapshot(of configuration: Int32) -> Snapshot {
        var snapshot = Snapshot()
        var place: [Int32: Int] = [:]
        // Returns have smaller numbers than what was made of them, except by unions: order them by need.
        var work = [configuration]
        while let top = work.last {
            if place[top] != nil {
                work.removeLast()
                continue
            }
            let needed = frames[Int(top)].filter { $0 != Self.bottom }.map(Self.returns).filter { place[$0] == nil }
            if needed.isEmpty {
                place[top] = snapshot.entries.count
                snapshot.entries.append(
                    frames[Int(top)].map { frame in
                        frame == Self.bottom
                            ? ([], -1) : (sets.members[Int(Self.set(frame))], place[Self.returns(frame)] ?? -1)
                    })
                work.removeLast()
            } else {
                work.append(contentsOf: needed)
            }
        }
        return snapshot
    }

    mutating func restore(_ snapshot: Snapshot) -> Int32 {
        var numbers: [Int32] = []
        for entry in snapshot.entries {
            let list = entry.map { frame in
                frame.returns < 0 ? Self.bottom : Self.frame(sets.intern(frame.states), numbers[frame.returns])
            }
            numbers.append(intern(list.sorted()))
        }
        return numbers.last ?? start
    }
}
