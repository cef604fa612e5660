/// Turns a syntax tree into code for the backtracking machine.
struct RegexCompiler {
    private(set) var code: [Regex.Instruction] = []
    private(set) var classes: [RegexClass] = []
    private(set) var slotCount = 0
    private let culprit: String

    /// Counted groups are written out, so a hostile pattern could grow without bound.
    private static let codeLimit = 20_000

    init(culprit: String) { self.culprit = culprit }

    mutating func compile(_ node: RegexNode) throws(TokenizerError) {
        guard code.count < Self.codeLimit else { throw TokenizerError(culprit, "regular expression: too large") }
        switch node {
        case .empty: break
        case .characters(let set):
            code.append(.characters(index(of: set)))
        case .concatenation(let nodes):
            for node in nodes { try compile(node) }
        case .alternation(let nodes):
            var jumps: [Int] = []
            for (position, node) in nodes.enumerated() {
                guard position < nodes.count - 1 else {
                    try compile(node)
                    break
                }
                let split = emit(.jump(0))
                try compile(node)
                jumps.append(emit(.jump(0)))
                code[split] = .split(first: split + 1, second: code.count)
            }
            for jump in jumps { code[jump] = .jump(code.count) }
        case .repeat(let body, let minimum, let maximum, let greed):
            try compileRepeat(body, minimum, maximum, greed)
        case .look(let body, let ahead, let negative):
            if ahead {
                try compileSubprogram(body) { .look(ahead: true, negative: negative, length: 0, after: $0) }
            } else {
                try compileLookBehind(body, negative: negative)
            }
        case .atomic(let body):
            try compileSubprogram(body) { .atomic(after: $0) }
        case .assertion(let assertion):
            code.append(.assertion(assertion))
        }
    }

    private mutating func index(of set: RegexClass) -> Int {
        classes.append(set)
        return classes.count - 1
    }

    private mutating func emit(_ instruction: Regex.Instruction) -> Int {
        code.append(instruction)
        return code.count - 1
    }

    private mutating func compileSubprogram(
        _ body: RegexNode, _ make: (Int) -> Regex.Instruction
    ) throws(TokenizerError) {
        let start = emit(.accept)
        try compile(body)
        code.append(.accept)
        code[start] = make(code.count)
    }

    /// Alternatives of different lengths become alternatives of look-behinds.
    private mutating func compileLookBehind(_ body: RegexNode, negative: Bool) throws(TokenizerError) {
        var branches = [body]
        if case .alternation(let nodes) = body, body.fixedLength == nil { branches = nodes }
        if branches.count > 1 {
            let looks = branches.map { RegexNode.look($0, ahead: false, negative: negative) }
            return try compile(negative ? .concatenation(looks) : .alternation(looks))
        }
        guard let length = body.fixedLength else {
            throw TokenizerError(culprit, "regular expression: look-behind of variable length is not supported")
        }
        try compileSubprogram(body) { .look(ahead: false, negative: negative, length: length, after: $0) }
    }

    private mutating func compileRepeat(
        _ body: RegexNode, _ minimum: Int, _ maximum: Int?, _ greed: RegexNode.Greed
    ) throws(TokenizerError) {
        if case .characters(let set) = body, greed != .lazy || minimum == maximum {
            code.append(.loop(index(of: set), minimum: minimum, maximum: maximum ?? .max, greed))
            return
        }
        if greed == .possessive {
            return try compileSubprogram(.repeat(body, minimum: minimum, maximum: maximum, .greedy)) { .atomic(after: $0) }
        }
        for _ in 0..<minimum { try compile(body) }
        if let maximum {
            // Each further repetition is optional and stands inside the one before.
            var splits: [Int] = []
            for _ in minimum..<max(minimum, maximum) {
                splits.append(emit(.accept))
                try compile(body)
            }
            for split in splits { code[split] = choice(split + 1, code.count, greed) }
            return
        }
        let split = emit(.accept)
        if body.isNullable {
            let slot = slotCount
            slotCount += 1
            code.append(.enterLoop(slot: slot))
            try compile(body)
            let check = emit(.accept)
            code.append(.jump(split))
            code[check] = .checkLoop(slot: slot, exit: code.count)
        } else {
            try compile(body)
            code.append(.jump(split))
        }
        code[split] = choice(split + 1, code.count, greed)
    }

    private func choice(_ body: Int, _ exit: Int, _ greed: RegexNode.Greed) -> Regex.Instruction {
        greed == .lazy ? .split(first: exit, second: body) : .split(first: body, second: exit)
    }
}

extension RegexNode {
    /// The bytes that a non-empty match of this node can start with; every lead byte counts where that is hard to tell.
    var firstBytes: [Bool] {
        switch self {
        case .characters(let set): return (0..<256).map { $0 >= 0x80 || set.contains(ascii: UInt8($0)) }
        case .concatenation(let nodes):
            var result = [Bool](repeating: false, count: 256)
            for node in nodes {
                result = zip(result, node.firstBytes).map { $0 || $1 }
                if !node.isNullable { return result }
            }
            return result
        case .alternation(let nodes):
            return nodes.reduce([Bool](repeating: false, count: 256)) { zip($0, $1.firstBytes).map { $0 || $1 } }
        case .repeat(let node, _, _, _), .atomic(let node): return node.firstBytes
        case .empty, .look, .assertion: return [Bool](repeating: false, count: 256)
        }
    }
}
