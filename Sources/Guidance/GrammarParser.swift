/// Reads grammars in the notation of llama.cpp (GBNF), which xgrammar's EBNF shares: rules `name ::= …` with texts, character classes,
/// groups, alternatives, repetitions and comments.
struct GrammarParser {
    private typealias Token = GrammarLexer.Token
    private typealias Lexeme = GrammarLexer.Lexeme

    private let limits: GuidanceLimits
    private var lexemes: [Lexeme] = []
    private var at = 0
    private var grammar = Grammar(origin: "grammar")
    private var rules: [String: Int] = [:]
    private var defined: Set<Int> = []
    private var firstUse: [(rule: Int, lexeme: Lexeme)] = []
    private var depth = 0

    /// - Throws: ``GuidanceError`` at `grammar:LINE:COLUMN`.
    static func parse(_ text: String, limits: GuidanceLimits) throws(GuidanceError) -> Grammar {
        guard text.utf8.count <= limits.textBytes else {
            throw GuidanceError(.tooLarge, at: "grammar", "is longer than \(limits.textBytes) bytes")
        }
        var parser = GrammarParser(limits: limits)
        parser.lexemes = try GrammarLexer.lexemes(of: text, limits: limits)
        return try parser.parse()
    }

    private init(limits: GuidanceLimits) { self.limits = limits }

    private mutating func parse() throws(GuidanceError) -> Grammar {
        while at < lexemes.count {
            guard case .name(let name) = lexemes[at].token, isDefinition(at) else {
                throw error("a rule is written  name ::= …")
            }
            let rule = number(of: name, at: lexemes[at])
            guard defined.insert(rule).inserted else { throw error("the rule '\(name)' is defined twice; join the two with |") }
            at += 2
            grammar.define(rule, try alternatives())
            if at < lexemes.count, !isDefinition(at) { throw error("an unmatched ')' or misplaced sign") }
        }
        for (rule, lexeme) in firstUse where !defined.contains(rule) {
            throw GuidanceError(
                .invalidSyntax, at: "grammar:\(lexeme.line):\(lexeme.column)",
                "there is no rule '\(grammar.rules[rule].name)'; add  \(grammar.rules[rule].name) ::= …")
        }
        guard let root = rules["root"] else {
            throw GuidanceError(
                .invalidSyntax, at: "grammar", "there is no rule 'root', which the text must match; add  root ::= …")
        }
        grammar.root = root
        return grammar
    }

    private func isDefinition(_ place: Int) -> Bool {
        guard place + 1 < lexemes.count, case .name = lexemes[place].token else { return false }
        return lexemes[place + 1].token == .defines
    }

    private func error(_ message: String) -> GuidanceError {
        let lexeme = at < lexemes.count ? lexemes[at] : lexemes.last
        let place = lexeme.map { "grammar:\($0.line):\($0.column)" } ?? "grammar"
        return GuidanceError(.invalidSyntax, at: place, message)
    }

    private mutating func number(of name: String, at lexeme: Lexeme) -> Int {
        if let rule = rules[name] { return rule }
        let rule = grammar.addRule(name)
        rules[name] = rule
        firstUse.append((rule, lexeme))
        return rule
    }

    private mutating func alternatives() throws(GuidanceError) -> Expression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= limits.nesting else { throw error("groups are nested deeper than \(limits.nesting)") }
        var ways = [try sequence()]
        while at < lexemes.count, lexemes[at].token == .symbol("|") {
            at += 1
            ways.append(try sequence())
        }
        return ways.count == 1 ? ways[0] : .choice(ways)
    }

    private mutating func sequence() throws(GuidanceError) -> Expression {
        var parts: [Expression] = []
        while at < lexemes.count, !isDefinition(at) {
            var part: Expression
            switch lexemes[at].token {
            case .text(let text): part = .text(text)
            case .characters(let set): part = .scalars(set)
            case .name(let name): part = .rule(number(of: name, at: lexemes[at]))
            case .symbol("("):
                at += 1
                part = try alternatives()
                guard at < lexemes.count, lexemes[at].token == .symbol(")") else { throw error("a group has no end; add ')'") }
            case .symbol("|"), .symbol(")"): return .sequence(parts)
            case .symbol(let symbol): throw error("'\(symbol)' repeats nothing")
            case .count: throw error("a count repeats nothing")
            case .defines: throw error("'::=' needs one rule name before it")
            }
            at += 1
            while at < lexemes.count, let (min, max) = repetition(lexemes[at].token) {
                part = .repeated(part, min: min, max: max)
                at += 1
            }
            parts.append(part)
        }
        return .sequence(parts)
    }

    private func repetition(_ token: Token) -> (Int, Int?)? {
        switch token {
        case .symbol("*"): (0, nil)
        case .symbol("+"): (1, nil)
        case .symbol("?"): (0, 1)
        case .count(let min, let max): (min, max)
        default: nil
        }
    }
}
