/// The tokens that a configuration allows: groups of plain tokens that are accepted whole, and single others.
struct TokenMask: Sendable {
    /// Whether each group of ``GuidanceVocabulary/plainMasks`` is in.
    var plain = (short: false, long: false)
    /// Tokens beside the groups, unless they are so many that `words` holds them.
    var tokens: [Int32] = []
    /// `[ceil(V/32)]`, or empty.
    var words: [UInt32] = []

    var isEmpty: Bool { !plain.short && !plain.long && tokens.isEmpty && words.isEmpty }
    var byteCount: Int { 4 * (tokens.count + words.count) + 96 }

    /// Writes the mask over `target` `[ceil(V/32)]`.
    func fill(_ target: UnsafeMutableBufferPointer<UInt32>, vocabulary: GuidanceVocabulary) {
        if !words.isEmpty {
            copy(words, to: target)
            if plain.short { add(vocabulary.plainMasks[0], to: target) }
            if plain.long { add(vocabulary.plainMasks[1], to: target) }
        } else {
            switch plain {
            case (false, false): target.update(repeating: 0)
            case (true, false): copy(vocabulary.plainMasks[0], to: target)
            case (false, true): copy(vocabulary.plainMasks[1], to: target)
            case (true, true):
                copy(vocabulary.plainMasks[0], to: target)
                add(vocabulary.plainMasks[1], to: target)
            }
        }
        for token in tokens { target[Int(token) >> 5] |= 1 << UInt32(token & 31) }
    }

    private func copy(_ source: [UInt32], to target: UnsafeMutableBufferPointer<UInt32>) {
        source.withUnsafeBufferPointer { source in
            for index in source.indices { target[index] = source[index] }
        }
    }

    private func add(_ source: [UInt32], to target: UnsafeMutableBufferPointer<UInt32>) {
        source.withUnsafeBufferPointer { source in
            for index in source.indices { target[index] |= source[index] }
        }
    }
}

extension Configurations {
    /// The tokens that may come in a configuration, stop tokens not among them.
    mutating func mask(of configuration: Int32) -> TokenMask {
        if let known = masks[configuration] { return known }
        let mask = derivedMask(of: configuration)
        masks[configuration] = mask
        maskBytes += mask.byteCount
        return mask
    }

    private mutating func derivedMask(of configuration: Int32) -> TokenMask {
        var mask = TokenMask()
        // Accepted tokens stay singles up to an eighth of the words, where copying words is as fast.
        mask.plain = acceptsPlainText(configuration)
        let words = vocabulary.maskWords
        for (trie, isCovered) in [(0, mask.plain.short), (1, mask.plain.long), (2, false)] where !isCovered {
            walk(vocabulary.tries[trie], from: configuration, into: &mask.tokens)
        }
        if mask.tokens.count > max(16, words / 4) {
            mask.words = [UInt32](repeating: 0, count: words)
            for token in mask.tokens { mask.words[Int(token) >> 5] |= 1 << UInt32(token & 31) }
            mask.tokens = []
        }
        return mask
    }

    private mutating func walk(_ trie: TokenTrie, from configuration: Int32, into tokens: inout [Int32]) {
        if walkStack.count <= trie.longest { walkStack = [Int32](repeating: 0, count: trie.longest + 1) }
        walkStack[0] = configuration
        let classes = automaton.classOfByte
        let checksEnds = !automaton.allSafe
        trie.nodes.withUnsafeBufferPointer { nodes in
            classes.withUnsafeBufferPointer { classes in
                var at = 0
                while at < nodes.count - 1 {
                    if workCount > workLimit { return }
                    let node = nodes[at]
                    let depth = Int(node.depth)
                    let reached = next(walkStack[depth - 1], Int(classes[Int(node.byte)]))
                    guard reached >= 0 else {
                        at = Int(node.end)
                        continue
                    }
                    walkStack[depth] = reached
                    at += 1
                    let own = Int(node.firstToken)..<Int(nodes[at].firstToken)
                    if !own.isEmpty, !checksEnds || canBeCompleted(reached) { tokens.append(contentsOf: trie.tokens[own]) }
                }
            }
        }
    }

    /// Whether any plain text is accepted, of up to ``GuidanceVocabulary/shortLength`` scalars and of any length.
    ///
    /// Follows the automaton over whole UTF-8 sequences, level by level of their count; texts of any length are accepted when the levels
    /// run out of new configurations.
    private mutating func acceptsPlainText(_ configuration: Int32) -> (short: Bool, long: Bool) {
        guard automaton.allSafe else { return (false, false) }
        var seen: Set<Int32> = [configuration]
        var level = [configuration]
        for _ in 0..<GuidanceVocabulary.shortLength {
            var nextLevel: [Int32] = []
            for from in level {
                for form in Self.plainForms {
                    guard follow(form[...], from: from, { if seen.insert($0).inserted { nextLevel.append($0) } }) else {
                        return (false, false)
                    }
                }
                if seen.count > 256 { return (false, false) }
            }
            level = nextLevel
            if level.isEmpty { return (true, true) }
        }
        return (true, false)
    }

    /// The byte sequences of plain scalars.
    private static let plainForms: [[ClosedRange<UInt8>]] = ScalarSet.controls.union(ScalarSet(of: "\"\\\u{7F}")).inverted
        .utf8Sequences()

    /// Follows every text of a form; false as soon as one is refused. `reached` gets the configurations after it.
    private mutating func follow(
        _ form: ArraySlice<ClosedRange<UInt8>>, from configuration: Int32, _ reached: (Int32) -> Void
    ) -> Bool {
        guard let bytes = form.first else {
            reached(configuration)
            return true
        }
        var previous: Int32 = Configurations.dead
        for byteClass in Int(automaton.classOfByte[Int(bytes.lowerBound)])...Int(automaton.classOfByte[Int(bytes.upperBound)]) {
            let after = next(configuration, byteClass)
            guard after != Configurations.dead else { return false }
            // Neighbouring classes mostly lead to the same place.
            if after == previous { continue }
            previous = after
            guard follow(form.dropFirst(), from: after, reached) else { return false }
        }
        return true
    }
}
