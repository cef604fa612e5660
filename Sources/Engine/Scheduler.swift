/// Who runs: the waiting queue, the sequences in the batch, and the cache blocks and lanes they hold.
///
/// A sequence is admitted when a lane is free and blocks for its whole prompt are; blocks for the response are taken one by one as it
/// grows. When they run out, sequences give theirs back and wait again (``Preemption``).
final class Scheduler {
    private let plan: MemoryPlan
    private let maxWaiting: Int
    private let cache: BlockCache
    private var freeLanes: [Int]

    private(set) var waiting = WaitingQueue()
    /// In the order of admission; may hold sequences that have left since ``settle()``.
    private var members: [SequenceState] = []
    private var hasLeavers = false
    /// Every sequence that waits or runs, by id.
    private var live: [Int: SequenceState] = [:]
    /// No deadline lies before this.
    private var nextDeadline: ContinuousClock.Instant?

    /// Times a sequence was preempted.
    private(set) var preemptions = 0
    private(set) var peakRunning = 0
    private(set) var peakWaiting = 0
    private(set) var peakUsedBlocks = 0

    /// Tokens of prompts that were looked up in the prefix cache, and those of them that were found; each prompt counts once.
    private(set) var tokensLookedUp = 0
    private(set) var tokensHit = 0

    init(plan: MemoryPlan, config: EngineConfig) {
        self.plan = plan
        maxWaiting = config.maxWaitingRequests
        cache = BlockCache(
            blockCount: plan.blockCount, blockSize: plan.blockSize, cachesPrefixes: config.enablePrefixCaching,
            pictureByteLimit: plan.pictureBytes)
        freeLanes = (0..<plan.maxBatchSize).reversed()
    }

    /// Sequences in the batch, in the order of admission.
    var running: [SequenceState] {
        settle()
        return members
    }

    var isIdle: Bool { live.isEmpty }
    var usedBlocks: Int { cache.heldCount }
    var cachedBlocks: Int { cache.cachedCount }
    var availableBlocks: Int { cache.availableCount }
    func sequence(_ id: Int) -> SequenceState? { live[id] }

    /// Requests that may join those that wait. As many as there are free places in the batch do not count as waiting.
    var room: Int { max(0, maxWaiting + freeLanes.count - waiting.count) }

    // MARK: Coming and going

    func enqueue(_ sequence: SequenceState) {
        live[sequence.id] = sequence
        waiting.insert(sequence)
        peakWaiting = max(peakWaiting, waiting.count)
        if let deadline = sequence.request.deadline { nextDeadline = min(nextDeadline ?? deadline, deadline) }
    }

    /// Takes a sequence out for good. Its blocks are free when this returns: what is still under way for it on the device writes only to its
    /// blocks and its lane, before anything that is submitted for their next owner.
    ///
    /// - Parameter isSound: whether what was computed for it may serve others.
    /// - Returns: whether it was there.
    @discardableResult
    func remove(_ sequence: SequenceState, isSound: Bool = true) -> Bool {
        guard live.removeValue(forKey: sequence.id) != nil else { return false }
        if sequence.isRunning { leave(sequence, isSound: isSound) } else { waiting.remove(sequence) }
        return true
    }

    /// Everything that waits or runs, in the order of arrival.
    var all: [SequenceState] { live.values.sorted { $0.id < $1.id } }

    /// Sequences whose deadline has passed.
    func overdue() -> [SequenceState] {
        guard let earliest = nextDeadline else { return [] }
        let now = ContinuousClock.now
        guard now >= earliest else { return [] }
        nextDeadline = live.values.compactMap(\.request.deadline).filter { $0 > now }.min()
        return all.filter { $0.request.deadline.map { $0 <= now } ?? false }
    }

    /// Moves waiting sequences into the batch while a lane and blocks for the prompt are free.
    ///
    /// The first in line is never passed by, so it cannot starve. Beside others a few blocks are left free for them to grow: who comes in
    /// should not drive out who is there, nor be driven out at once.
    ///
    /// - Parameter admitted: called with each sequence that came in.
    func admit(_ admitted: (SequenceState) -> Void) {
        settle()
        while let next = waiting.first, !freeLanes.isEmpty {
            let running = plan.maxBatchSize - freeLanes.count
            let reserve = min(running, max(1, plan.blockCount / 16))
            guard let found = cache.admit(&next.held, tokens: next.tokens, limit: next.prefixLimit, reserve: reserve) else {
                break
            }
            if !next.wasAdmitted {
                tokensLookedUp += next.promptCount
                tokensHit += found
                next.response.cachedTokenCount = found
            }
            _ = waiting.removeFirst()
            next.enter(computed: found, lane: freeLanes.removeLast())
            members.append(next)
            admitted(next)
        }
        peakRunning = max(peakRunning, plan.maxBatchSize - freeLanes.count)
        peakUsedBlocks = max(peakUsedBlocks, usedBlocks)
    }

    // MARK: Blocks

    /// Gives each decoding sequence the block its next token needs.
    ///
    /// - Returns: false, with nothing taken, when there are not enough.
    func grow() -> Bool {
        let needy = running.filter { $0.wantsToken && $0.computed >= $0.held.blocks.count * plan.blockSize }
        guard !needy.isEmpty else { return true }
        guard needy.count <= cache.availableCount else { return false }
        for sequence in needy where !cache.extend(&sequence.held, to: sequence.computed + 1) { return false }
        peakUsedBlocks = max(peakUsedBlocks, usedBlocks)
        return true
    }

    /// Lets others find what was submitted for a sequence.
    func publish(_ sequence: SequenceState) {
        cache.publish(&sequence.held, tokens: sequence.tokens, computed: sequence.computed)
    }

    /// Forgets what ended sequences left, as after a device failed.
    func forget() { cache.forget() }

    /// Preempts sequences until the others can grow. Nothing may be under way for any of them.
    func preemptToGrow() {
        while !grow() {
            guard let victim = Preemption.victim(among: running) else { return }
            preempt(victim)
        }
    }

    /// Sends a sequence back to wait, with the tokens it has; it computes them again when its turn comes.
    func preempt(_ sequence: SequenceState) {
        precondition(sequence.inFlight == 0, "a sequence is preempted once its tokens are known")
        leave(sequence, isSound: true)
        waiting.insert(sequence)
        preemptions += 1
    }

    private func leave(_ sequence: SequenceState, isSound: Bool) {
        cache.release(&sequence.held, tokens: sequence.tokens, computed: isSound ? sequence.computed : 0)
        freeLanes.append(sequence.lane)
        sequence.leave()
        hasLeavers = true
    }

    /// Drops who has left from the list, once for all of them.
    private func settle() {
        guard hasLeavers else { return }
        members.removeAll { !$0.isRunning }
        hasLeavers = false
    }

    // MARK: Tests

    /// What is wrong with the books; empty when all is well.
    func checkInvariants() -> [String] {
        var wrong = cache.checkInvariants(holders: running.map(\.held))
        let lanes = running.map(\.lane) + freeLanes
        if lanes.sorted() != Array(0..<plan.maxBatchSize) { wrong.append("lanes are \(lanes)") }
        if live.count != running.count + waiting.count {
            wrong.append("\(live.count) live, \(running.count) run, \(waiting.count) wait")
        }
        for sequence in running {
            let room = sequence.held.blocks.count * plan.blockSize
            if sequence.computed > room {
                wrong.append("request \(sequence.id) computed \(sequence.computed) positions in room for \(room)")
            }
            if sequence.isDone || !sequence.isRunning { wrong.append("request \(sequence.id) has ended and runs") }
        }
        for sequence in waiting.all where sequence.isDone || sequence.isRunning || !sequence.held.blocks.isEmpty {
            wrong.append("request \(sequence.id) waits, and has ended, runs or holds blocks")
        }
        return wrong
    }
}
