import Synchronization

/// What a text must satisfy.
package enum GuidanceSpec: Sendable, Hashable {
    /// Any JSON object.
    case jsonObject
    /// JSON text of a JSON Schema.
    case jsonSchema(String)
    /// A regular expression that the whole text must match.
    case regex(String)
    /// A grammar in the notation of llama.cpp (GBNF), beginning with the rule `root`.
    case grammar(String)
}

/// Spaces and line breaks between the tokens of JSON.
package enum GuidanceWhitespace: Sendable, Hashable {
    /// None at all: the shortest text.
    case compact
    /// Where JSON is usually spaced, one space or a line break with up to ``maxIndent`` spaces, or nothing. Bounded, so that no model can
    /// fill its answer with blanks.
    case flexible

    package static let maxIndent = 32
}

/// Compiles guidances for one vocabulary and keeps the last ones.
package final class GuidanceCompiler: Sendable {
    private struct Key: Hashable {
        let spec: GuidanceSpec
        let whitespace: GuidanceWhitespace
    }

    private struct Cache {
        var compiled: [Key: (guidance: CompiledGuidance, lastUse: Int)] = [:]
        var clock = 0
    }

    package let vocabulary: GuidanceVocabulary
    private let limits: GuidanceLimits
    private let capacity: Int
    private let cache = Mutex(Cache())

    /// - Parameter capacity: how many compiled guidances are kept; the one not used for longest makes room.
    package init(_ vocabulary: GuidanceVocabulary, capacity: Int = 64, limits: GuidanceLimits = GuidanceLimits()) {
        self.vocabulary = vocabulary
        self.capacity = max(1, capacity)
        self.limits = limits
    }

    /// The compiled form of `spec`.
    ///
    /// - Throws: ``GuidanceError`` naming the place in the schema, expression or grammar, and what to do.
    package func compile(_ spec: GuidanceSpec, whitespace: GuidanceWhitespace = .flexible) throws(GuidanceError)
        -> CompiledGuidance
    {
        let key = Key(spec: spec, whitespace: whitespace)
        let known: CompiledGuidance? = cache.withLock { cache in
            cache.clock += 1
            cache.compiled[key]?.lastUse = cache.clock
            return cache.compiled[key]?.guidance
        }
        if let known { return known }
        // Outside the lock: a large schema must not hold up others. Two threads may compile the same; the first stays.
        let grammar = try Self.grammar(of: spec, whitespace: whitespace, limits: limits)
        let compiled = try CompiledGuidance(grammar, vocabulary: vocabulary, limits: limits)
        return cache.withLock { cache in
            if let known = cache.compiled[key] { return known.guidance }
            if cache.compiled.count >= capacity, let oldest = cache.compiled.min(by: { $0.value.lastUse < $1.value.lastUse }) {
                cache.compiled[oldest.key] = nil
            }
            cache.compiled[key] = (compiled, cache.clock)
            return compiled
        }
    }

    /// How many compiled guidances are kept now.
    package var cachedCount: Int { cache.withLock(\.compiled.count) }

    /// The rules of a guidance, without a vocabulary.
    package static func grammar(
        of spec: GuidanceSpec, whitespace: GuidanceWhitespace = .flexible, limits: GuidanceLimits = GuidanceLimits()
    ) throws(GuidanceError) -> Grammar {
        switch spec {
        case .jsonObject:
            var json = JSONRules(origin: "JSON object", whitespace: whitespace)
            json.grammar.root = json.anyObject
            return json.grammar
        case .jsonSchema(let text):
            var compiler = try SchemaCompiler(text: text, whitespace: whitespace, limits: limits)
            return try compiler.compile()
        case .regex(let pattern):
            var grammar = Grammar(origin: "regex")
            let expression = try RegexParser.parse(pattern, origin: "regex", limits: limits).wholeMatch
            grammar.root = grammar.addRule("regex", expression)
            return grammar
        case .grammar(let text):
            return try GrammarParser.parse(text, limits: limits)
        }
    }
}
