/// A compiled regular expression, matched by backtracking over UTF-8.
///
/// The general path for split and replace patterns without a hand-written scanner. Alternatives and quantifiers have
/// Oniguruma's order of preference, so the match found is the one that it finds.
struct Regex: Sendable {
    enum Instruction: Sendable {
        case characters(Int)
        /// A class repeated: the whole loop in one instruction.
        case loop(Int, minimum: Int, maximum: Int, RegexNode.Greed)
        /// Tries `first`, later `second`.
        case split(first: Int, second: Int)
        case jump(Int)
        /// Runs the code from the next instruction to its `accept`, then goes on at `after`.
        case look(ahead: Bool, negative: Bool, length: Int, after: Int)
        case atomic(after: Int)
        case assertion(RegexNode.Assertion)
        /// Notes the position on entering a loop body that can match nothing.
        case enterLoop(slot: Int)
        /// Leaves the loop for `exit` if its body matched nothing.
        case checkLoop(slot: Int, exit: Int)
        case accept
    }

    private let code: [Instruction]
    private let classes: [RegexClass]
    private let slotCount: Int
    /// Bytes that a match can start with; nil when a match can be empty.
    private let firstBytes: [Bool]?
    private let culprit: String

    /// One match may take this many steps; published patterns need a few per character.
    private static let stepLimit = 20_000_000

    init(_ source: String, culprit: String) throws(TokenizerError) {
        var parser = RegexParser(source, culprit: culprit)
        let tree = try parser.parse()
        var compiler = RegexCompiler(culprit: culprit)
        try compiler.compile(tree)
        code = compiler.code + [.accept]
        classes = compiler.classes
        slotCount = compiler.slotCount
        firstBytes = tree.isNullable ? nil : tree.firstBytes
        self.culprit = culprit
    }

    /// Calls `body` with start and end of each match, from left to right, as Oniguruma's find loop does.
    func forEachMatch(in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) -> Void) throws(TokenizerError) {
        // The library looks for nothing in an empty text, not even for the empty match.
        guard !text.isEmpty else { return }
        var machine = Machine(slotCount: slotCount)
        var at = 0
        var lastEnd: Int?
        while at <= text.count {
            if let firstBytes {
                while at < text.count, !firstBytes[Int(text[at])] { at += 1 }
                if at == text.count { return }
            }
            guard let end = try run(from: 0, at: at, text, &machine) else {
                at += at < text.count ? scalarLength(lead: text[at]) : 1
                continue
            }
            if end == at {
                // An empty match right after another match is skipped.
                if lastEnd != at { body(at, at) }
                lastEnd = at
                at += at < text.count ? scalarLength(lead: text[at]) : 1
            } else {
                body(at, end)
                lastEnd = end
                at = end
            }
        }
    }

    private struct Machine {
        /// A point to go back to. `code` ≥ 0: continue there at `at`; while `at` > `low`, also at each character before.
        /// `code` < 0: restore a slot.
        struct Choice {
            var code: Int
            var at: Int
            var low: Int
        }
        var stack: [Choice] = []
        var slots: [Int]
        var steps = 0

        init(slotCount: Int) { slots = [Int](repeating: -1, count: slotCount) }
    }

    /// The end of the match that starts at `start` when the code from `entry` runs to an `accept`; nil without a match.
    private func run(
        from entry: Int, at start: Int, _ text: UnsafeBufferPointer<UInt8>, _ machine: inout Machine
    ) throws(TokenizerError) -> Int? {
        let base = machine.stack.count
        if base == 0 { machine.steps = 0 }
        var pc = entry
        var at = start
        while true {
            machine.steps += 1
            guard machine.steps < Self.stepLimit else {
                throw TokenizerError(culprit, "regular expression: matching takes too many steps on this text")
            }
            var matched = true
            switch code[pc] {
            case .accept:
                machine.stack.removeLast(machine.stack.count - base)
                return at
            case .characters(let index):
                if at < text.count {
                    let (scalar, length) = decodeScalar(text, at)
                    if classes[index].contains(scalar) {
                        at += length
                        pc += 1
                    } else {
                        matched = false
                    }
                } else {
                    matched = false
                }
            case .loop(let index, let minimum, let maximum, let greed):
                var count = 0
                var low = at
                let most = greed == .lazy ? minimum : maximum
                classes.withUnsafeBufferPointer { classes in
                    while count < most, at < text.count {
                        let (scalar, length) = decodeScalar(text, at)
                        guard classes[index].contains(scalar) else { break }
                        at += length
                        count += 1
                        if count == minimum { low = at }
                    }
                }
                if count < minimum {
                    matched = false
                } else {
                    if greed == .greedy, at > low { machine.stack.append(.init(code: pc + 1, at: at, low: low)) }
                    pc += 1
                }
            case .split(let first, let second):
                machine.stack.append(.init(code: second, at: at, low: at))
                pc = first
            case .jump(let target): pc = target
            case .look(let ahead, let negative, let length, let after):
                var from: Int? = at
                if !ahead {
                    for _ in 0..<length { from = from.flatMap { $0 > 0 ? scalarStart(before: $0, in: text) : nil } }
                }
                let end = if let from { try run(from: pc + 1, at: from, text, &machine) } else { Int?.none }
                let found = end != nil && (ahead || end == at)
                if found != negative { pc = after } else { matched = false }
            case .atomic(let after):
                if let end = try run(from: pc + 1, at: at, text, &machine) {
                    at = end
                    pc = after
                } else {
                    matched = false
                }
            case .assertion(let assertion):
                if holds(assertion, at, text) { pc += 1 } else { matched = false }
            case .enterLoop(let slot):
                machine.stack.append(.init(code: -1 - slot, at: machine.slots[slot], low: 0))
                machine.slots[slot] = at
                pc += 1
            case .checkLoop(let slot, let exit):
                pc = machine.slots[slot] == at ? exit : pc + 1
            }
            if matched { continue }
            // Back to the latest choice.
            while true {
                guard machine.stack.count > base else { return nil }
                let top = machine.stack.count - 1
                let choice = machine.stack[top]
                if choice.code < 0 {
                    machine.slots[-1 - choice.code] = choice.at
                    machine.stack.removeLast()
                    continue
                }
                pc = choice.code
                at = choice.at
                if choice.at > choice.low {
                    // The first visit of a loop's choice gives up one character; the last leaves the minimum.
                    at = scalarStart(before: choice.at, in: text)
                    if at > choice.low { machine.stack[top].at = at } else { machine.stack.removeLast() }
                } else {
                    machine.stack.removeLast()
                }
                break
            }
        }
    }

    private func holds(_ assertion: RegexNode.Assertion, _ at: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        func isWord(_ at: Int) -> Bool { RegexClass.word.contains(decodeScalar(text, at).scalar) }
        switch assertion {
        case .textStart: return at == 0
        case .textEnd: return at == text.count
        case .textEndOrFinalNewline: return at == text.count || (at == text.count - 1 && text[at] == 0x0A)
        case .lineStart: return at == 0 || (text[at - 1] == 0x0A && at < text.count)
        case .lineEnd: return at == text.count || text[at] == 0x0A
        case .wordBoundary, .notWordBoundary:
            let before = at > 0 && isWord(scalarStart(before: at, in: text))
            let after = at < text.count && isWord(at)
            return (before != after) == (assertion == .wordBoundary)
        }
    }
}
