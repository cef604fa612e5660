import Synchronization

/// A guidance compiled for a vocabulary. One value serves any number of sequences and threads; what matchers find out about it, all share.
package final class CompiledGuidance: Sendable {
    /// Tables of one lifetime; a matcher keeps those that its numbers belong to.
    final class Tables: Sendable {
        let configurations: Mutex<Configurations>
        init(_ configurations: consuming sending Configurations) { self.configurations = Mutex(configurations) }
    }

    package let vocabulary: GuidanceVocabulary
    private let automaton: PushdownAutomaton
    private let limits: GuidanceLimits
    private let current: Mutex<Tables>

    /// - Throws: ``GuidanceError`` when no text satisfies the grammar, the tokens cannot write any, or it is too large.
    package init(_ grammar: Grammar, vocabulary: GuidanceVocabulary, limits: GuidanceLimits = GuidanceLimits())
        throws(GuidanceError)
    {
        self.vocabulary = vocabulary
        self.limits = limits
        automaton = try PushdownAutomaton(grammar, writable: vocabulary.writable, limits: limits)
        var configurations = Configurations(automaton, vocabulary: vocabulary)
        // The first mask shows how the automaton behaves over the whole vocabulary.
        configurations.workLimit = limits.firstMaskWork
        _ = configurations.mask(of: configurations.start)
        guard configurations.workCount <= limits.firstMaskWork else {
            throw GuidanceError(
                .tooLarge, at: grammar.origin,
                "is too ambiguous to follow quickly: the first token alone takes more than \(limits.firstMaskWork) steps; lower the counts of "
                    + "its repetitions, or do not repeat what overlaps itself")
        }
        configurations.workLimit = .max
        current = Mutex(Tables(configurations))
    }

    /// A matcher at the beginning of the text.
    package func makeMatcher() -> GuidanceMatcher {
        let tables = currentTables()
        return GuidanceMatcher(guidance: self, tables: tables, configuration: tables.configurations.withLock(\.start))
    }

    /// The tables to work with: new ones when the old ones have outgrown their bound.
    func currentTables() -> Tables {
        current.withLock { tables in
            if tables.configurations.withLock(\.byteCount) > limits.cacheBytes {
                tables = Tables(Configurations(automaton, vocabulary: vocabulary))
            }
            return tables
        }
    }

    /// Transitions worked out so far, to see that caches hold.
    package var derivedTransitions: Int { currentTables().configurations.withLock(\.derivedTransitions) }
}

/// Where one sequence is in its guidance. A value: a copy is a fork, assigning an older copy rolls back.
package struct GuidanceMatcher: Sendable {
    /// What the matcher follows.
    package let guidance: CompiledGuidance
    private var tables: CompiledGuidance.Tables
    private var configuration: Int32
    private var hasStopped = false

    init(guidance: CompiledGuidance, tables: CompiledGuidance.Tables, configuration: Int32) {
        self.guidance = guidance
        self.tables = tables
        self.configuration = configuration
    }

    /// Whether a stop token may come: the text satisfies the guidance as it is.
    package var canEnd: Bool { !hasStopped && tables.configurations.withLock { $0.canEnd(configuration) } }

    /// Whether the text is over: a stop token came, or nothing else may come.
    package var isComplete: Bool { hasStopped || tables.configurations.withLock { $0.mustEnd(configuration) } }

    /// Writes the mask of the next token over `words` `[ceil(V/32)]`: bit v (bit v % 32 of word v / 32) is set when token v may come.
    ///
    /// Stop tokens may come exactly when the text may end. At least one bit is set, unless the vocabulary has no stop token and the text is
    /// over.
    ///
    /// - Parameter stopTokens: those of the request, where they are not the vocabulary's.
    package mutating func fillMask(_ words: UnsafeMutableBufferPointer<UInt32>, stopTokens: [Int32]? = nil) {
        precondition(words.count == guidance.vocabulary.maskWords, "a mask has one bit for each token")
        followTables()
        let (mask, canEnd) = tables.configurations.withLock { configurations in
            hasStopped
                ? (TokenMask(), true) : (configurations.mask(of: configuration), configurations.canEnd(configuration))
        }
        mask.fill(words, vocabulary: guidance.vocabulary)
        for stop in stopTokens ?? guidance.vocabulary.stopTokens where stop >= 0 && Int(stop) < guidance.vocabulary.count {
            let bit: UInt32 = 1 << UInt32(stop & 31)
            if canEnd { words[Int(stop) >> 5] |= bit } else { words[Int(stop) >> 5] &= ~bit }
        }
    }

    /// Takes the token that was chosen.
    ///
    /// - Returns: false when the guidance does not allow it; the matcher is then as it was.
    package mutating func accept(_ token: Int32, stopTokens: [Int32]? = nil) -> Bool {
        guard !hasStopped else { return false }
        if (stopTokens ?? guidance.vocabulary.stopTokens).contains(token) {
            guard canEnd else { return false }
            hasStopped = true
            return true
        }
        guard guidance.vocabulary.tokenBytes.indices.contains(Int(token)), let bytes = guidance.vocabulary.tokenBytes[Int(token)],
            !bytes.isEmpty
        else { return false }
        return accept(bytes: bytes)
    }

    /// Takes bytes of text, as a token with these bytes would be taken.
    package mutating func accept(bytes: some Sequence<UInt8>) -> Bool {
        guard !hasStopped else { return false }
        followTables()
        let start = configuration
        let reached = tables.configurations.withLock { configurations in
            var at = start
            for byte in bytes {
                at = configurations.next(at, Int(configurations.automaton.classOfByte[Int(byte)]))
                if at == Configurations.dead { return at }
            }
            return configurations.canBeCompleted(at) ? at : Configurations.dead
        }
        guard reached != Configurations.dead else { return false }
        configuration = reached
        return true
    }

    /// Moves to new tables when the old ones were given up.
    private mutating func followTables() {
        let newest = guidance.currentTables()
        guard newest !== tables else { return }
        let snapshot = tables.configurations.withLock { $0.snapshot(of: configuration) }
        configuration = newest.configurations.withLock { $0.restore(snapshot) }
        tables = newest
    }
}
