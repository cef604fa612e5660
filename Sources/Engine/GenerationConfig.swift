/// How a response is generated. Names and defaults follow LMDeploy's `GenerationConfig` in Swift spelling.
///
/// Decoding is greedy unless a ``temperature`` above zero is given.
public struct GenerationConfig: Sendable, Equatable {
    /// Which positions an output covers.
    public enum OutputScope: String, Sendable, CaseIterable {
        /// Every position of the prompt and of the response.
        case all
        /// One position for each generated token.
        case generation
    }

    /// Responses to each prompt, which is computed once. The first one is what it would be alone; the others draw other random numbers.
    public var n: Int
    /// Most tokens to generate; nil fills the session, 0 only reads the prompt.
    public var maxNewTokens: Int?
    /// Nothing ends the response before this many tokens: end-of-sequence and stop tokens cannot be chosen, stop words and repeated
    /// n-grams do not count.
    public var minNewTokens: Int
    /// Softmax temperature; 0 chooses the most likely token.
    public var temperature: Float
    /// Keeps the smallest set of tokens whose probability reaches this; 1 keeps all.
    public var topP: Float
    /// Keeps this many most likely tokens; 0 keeps all.
    public var topK: Int
    /// Drops tokens less likely than this fraction of the likeliest; 0 keeps all.
    public var minP: Float
    /// Divides positive and multiplies negative logits of tokens seen in prompt or response (Keskar et al., arXiv 1909.05858); 1 is off.
    public var repetitionPenalty: Float
    /// Subtracted from the logits of tokens that the response has already (not the prompt), as OpenAI defines it; 0 is off.
    public var presencePenalty: Float
    /// Subtracted from a token's logit once for each time that the response has it (not the prompt), as OpenAI defines it; 0 is off.
    public var frequencyPenalty: Float
    /// Seed of the request's random numbers; nil draws one. The same seed gives the same random numbers whatever else runs.
    public var randomSeed: UInt64?
    /// Goes on past end-of-sequence and stop tokens.
    public var ignoreEOS: Bool
    /// Texts that end the response, of any number of tokens.
    public var stopWords: [String]
    /// Further tokens that end the response.
    public var stopTokenIDs: [Int32]
    /// Texts that the response must not have, of any number of tokens.
    ///
    /// A word is banned as the tokens it is written with after a space, after a line break and at the beginning of a text: the last of
    /// them cannot be chosen where the others come before it, in prompt or response. A model that spells a word in other pieces gets past
    /// this, and so does one that writes it as the beginning of a longer token; ``logitsProcessors`` can do more.
    public var badWords: [String]
    /// Tokens that cannot be chosen.
    public var badTokenIDs: [Int32]
    /// Leaves the stop word in the response text.
    public var includeStopWord: Bool
    /// Ends the response, with the finish reason `stop`, when its newest tokens, this many, have occurred in it
    /// ``repetitionNgramThreshold`` times, this time counted; 0 is off.
    public var repetitionNgramSize: Int
    /// How often an n-gram may occur before the response ends; see ``repetitionNgramSize``.
    public var repetitionNgramThreshold: Int
    /// Changes to the logits before a token is chosen, in this order: after the penalties, before bans, temperature and truncation.
    public var logitsProcessors: [LogitsProcessor]
    /// Holds the response to a form, token by token; nil leaves it free. Tokens that would leave the form cannot be chosen, and the
    /// response ends where the form does; one that reaches ``maxNewTokens`` before is cut and incomplete. A form that cannot be held is an
    /// error before anything is generated.
    public var responseFormat: ResponseFormat?
    /// Leaves special tokens out of the text.
    public var skipSpecialTokens: Bool
    /// Log-probabilities of this many most likely tokens at each step, and of the chosen one; nil for none.
    public var logprobs: Int?
    /// Log-probabilities of each prompt token after those before it, and of this many likeliest rivals; nil for none. See
    /// ``Response/promptLogprobs``.
    public var promptLogprobs: Int?
    /// Returns logits.
    public var outputLogits: OutputScope?
    /// Returns the last hidden states, after the final norm.
    public var outputLastHiddenState: OutputScope?

    /// Greedy decoding of up to 512 tokens, unless said otherwise.
    public init(
        n: Int = 1, maxNewTokens: Int? = 512, minNewTokens: Int = 0, temperature: Float = 0, topP: Float = 1, topK: Int = 50,
        minP: Float = 0,
        repetitionPenalty: Float = 1, presencePenalty: Float = 0, frequencyPenalty: Float = 0, randomSeed: UInt64? = nil,
        ignoreEOS: Bool = false, stopWords: [String] = [], stopTokenIDs: [Int32] = [], badWords: [String] = [],
        badTokenIDs: [Int32] = [], includeStopWord: Bool = false, repetitionNgramSize: Int = 0, repetitionNgramThreshold: Int = 0,
        logitsProcessors: [LogitsProcessor] = [], responseFormat: ResponseFormat? = nil, skipSpecialTokens: Bool = true,
        logprobs: Int? = nil, promptLogprobs: Int? = nil, outputLogits: OutputScope? = nil,
        outputLastHiddenState: OutputScope? = nil
    ) {
        self.n = n
        self.maxNewTokens = maxNewTokens
        self.minNewTokens = minNewTokens
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.randomSeed = randomSeed
        self.ignoreEOS = ignoreEOS
        self.stopWords = stopWords
        self.stopTokenIDs = stopTokenIDs
        self.badWords = badWords
        self.badTokenIDs = badTokenIDs
        self.includeStopWord = includeStopWord
        self.repetitionNgramSize = repetitionNgramSize
        self.repetitionNgramThreshold = repetitionNgramThreshold
        self.logitsProcessors = logitsProcessors
        self.responseFormat = responseFormat
        self.skipSpecialTokens = skipSpecialTokens
        self.logprobs = logprobs
        self.promptLogprobs = promptLogprobs
        self.outputLogits = outputLogits
        self.outputLastHiddenState = outputLastHiddenState
    }

    /// Whether a token's count in the response changes its logit.
    package var countsTokens: Bool { presencePenalty != 0 || frequencyPenalty != 0 }

    /// Checks ranges and combinations, and tokens against a vocabulary where one is given.
    ///
    /// - Throws: ``EngineError`` of kind `invalidRequest` naming the option.
    package func validate(vocabularySize: Int? = nil) throws(EngineError) {
        func require(_ condition: Bool, _ option: String, _ rule: String) throws(EngineError) {
            if !condition { throw EngineError(.invalidRequest, "\(option) \(rule)") }
        }
        try require((1...1024).contains(n), "n", "must be between 1 and 1024, not \(n)")
        try require(
            responseFormat == nil || !ignoreEOS, "ignoreEOS", "contradicts responseFormat: a response of a given form has an end")
        try require(maxNewTokens.map { $0 >= 0 } ?? true, "maxNewTokens", "must not be negative")
        try require(minNewTokens >= 0, "minNewTokens", "must not be negative")
        try require(minNewTokens <= maxNewTokens ?? .max, "minNewTokens", "must not exceed maxNewTokens")
        try require(temperature >= 0 && temperature.isFinite, "temperature", "must be 0 or a positive number, not \(temperature)")
        try require(topP > 0 && topP <= 1, "topP", "must be above 0 and at most 1, not \(topP)")
        try require(topK >= 0, "topK", "must be 0 (all) or positive, not \(topK)")
        try require(minP >= 0 && minP <= 1, "minP", "must be between 0 and 1, not \(minP)")
        try require(
            repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetitionPenalty", "must be positive, not \(repetitionPenalty)"
        )
        try require(presencePenalty.isFinite, "presencePenalty", "must be a number, not \(presencePenalty)")
        try require(frequencyPenalty.isFinite, "frequencyPenalty", "must be a number, not \(frequencyPenalty)")
        try require(logprobs.map { (0...1024).contains($0) } ?? true, "logprobs", "must be between 0 and 1024")
        try require(promptLogprobs.map { (0...1024).contains($0) } ?? true, "promptLogprobs", "must be between 0 and 1024")
        try require(!stopWords.contains(""), "stopWords", "must not contain an empty text")
        try require(!badWords.contains(""), "badWords", "must not contain an empty text")
        try require(repetitionNgramSize >= 0, "repetitionNgramSize", "must not be negative")
        try require(repetitionNgramThreshold >= 0, "repetitionNgramThreshold", "must not be negative")
        try require(
            (repetitionNgramSize > 0) == (repetitionNgramThreshold > 0), "repetitionNgramSize",
            "and repetitionNgramThreshold go together: set both, or neither")
        try require(
            repetitionNgramThreshold != 1, "repetitionNgramThreshold",
            "must be at least 2: an n-gram has occurred once when it first comes")
        for (option, tokens) in [("badTokenIDs", badTokenIDs), ("stopTokenIDs", stopTokenIDs)] {
            for token in tokens where token < 0 || Int(token) >= vocabularySize ?? .max {
                throw EngineError(
                    .invalidRequest,
                    "\(option) has token \(token), which is outside the model's vocabulary"
                        + (vocabularySize.map { " of \($0)" } ?? ""))
            }
        }
    }
}
