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

    /// Most tokens to generate; nil fills the session.
    public var maxNewTokens: Int?
    /// End-of-sequence and stop tokens cannot be chosen before this many tokens.
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
    /// Seed of the request's random numbers; nil draws one.
    public var randomSeed: UInt64?
    /// Goes on past end-of-sequence and stop tokens.
    public var ignoreEOS: Bool
    /// Texts that end the response, of any number of tokens.
    public var stopWords: [String]
    /// Further tokens that end the response.
    public var stopTokenIDs: [Int32]
    /// Leaves the stop word in the response text.
    public var includeStopWord: Bool
    /// Leaves special tokens out of the text.
    public var skipSpecialTokens: Bool
    /// Log-probabilities of this many most likely tokens at each step, and of the chosen one; nil for none.
    public var logprobs: Int?
    /// Returns logits.
    public var outputLogits: OutputScope?
    /// Returns the last hidden states, after the final norm.
    public var outputLastHiddenState: OutputScope?

    /// Greedy decoding of up to 512 tokens, unless said otherwise.
    public init(
        maxNewTokens: Int? = 512, minNewTokens: Int = 0, temperature: Float = 0, topP: Float = 1, topK: Int = 50, minP: Float = 0,
        repetitionPenalty: Float = 1, randomSeed: UInt64? = nil, ignoreEOS: Bool = false, stopWords: [String] = [],
        stopTokenIDs: [Int32] = [], includeStopWord: Bool = false, skipSpecialTokens: Bool = true, logprobs: Int? = nil,
        outputLogits: OutputScope? = nil, outputLastHiddenState: OutputScope? = nil
    ) {
        self.maxNewTokens = maxNewTokens
        self.minNewTokens = minNewTokens
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.randomSeed = randomSeed
        self.ignoreEOS = ignoreEOS
        self.stopWords = stopWords
        self.stopTokenIDs = stopTokenIDs
        self.includeStopWord = includeStopWord
        self.skipSpecialTokens = skipSpecialTokens
        self.logprobs = logprobs
        self.outputLogits = outputLogits
        self.outputLastHiddenState = outputLastHiddenState
    }

    /// Checks ranges and combinations.
    ///
    /// - Throws: ``EngineError`` of kind `invalidRequest` naming the option.
    package func validate() throws(EngineError) {
        func require(_ condition: Bool, _ option: String, _ rule: String) throws(EngineError) {
            if !condition { throw EngineError(.invalidRequest, "\(option) \(rule)") }
        }
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
        try require(logprobs.map { (0...1024).contains($0) } ?? true, "logprobs", "must be between 0 and 1024")
        try require(!stopWords.contains(""), "stopWords", "must not contain an empty text")
    }
}
