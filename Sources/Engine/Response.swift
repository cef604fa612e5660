/// Why a response ended.
public enum FinishReason: String, Sendable, Codable {
    /// An end-of-sequence or stop token, a stop word, or an n-gram repeated too often.
    case stop
    /// The token limit or the end of the session.
    case length
    case error
    case abort
}

/// The chosen token of one step and its likeliest rivals, by natural log-probability of the model's own distribution
/// (before penalties, temperature and truncation).
public struct TokenLogprobs: Sendable, Equatable {
    /// A token and its log-probability.
    public struct Entry: Sendable, Equatable {
        /// The token.
        public let tokenID: Int32
        /// Natural logarithm of its probability.
        public let logprob: Float

        package init(tokenID: Int32, logprob: Float) {
            self.tokenID = tokenID
            self.logprob = logprob
        }
    }

    /// The token that was chosen, whatever its rank.
    public let chosen: Entry
    /// Likeliest first.
    public let top: [Entry]

    package init(chosen: Entry, top: [Entry]) {
        self.chosen = chosen
        self.top = top
    }
}

/// A matrix handed out to the user: logits `[positions, vocabulary]` or hidden states `[positions, width]`, row-major.
public struct OutputMatrix: Sendable, Equatable {
    /// Positions.
    public package(set) var rows: Int
    /// Vocabulary or model width.
    public let columns: Int
    /// `rows · columns` values, row after row.
    public package(set) var values: [Float]

    package init(columns: Int) {
        self.rows = 0
        self.columns = columns
        self.values = []
    }
}

/// Where the time of a request went, in seconds.
public struct RequestTimings: Sendable, Equatable {
    /// Reading or fetching the request's images and decoding them, added up: they are loaded side by side.
    public package(set) var imageLoad: Double = 0
    /// Resizing, cutting and normalising them, added up.
    public package(set) var preprocess: Double = 0
    /// Waiting for a place in the batch.
    public package(set) var queue: Double = 0
    /// Encoding the request's images.
    public package(set) var vision: Double = 0
    /// From the start of the prefill to the first token.
    public package(set) var prefill: Double = 0
    /// From the first token to the last.
    public package(set) var decode: Double = 0
    /// From submission to the first token.
    public package(set) var firstToken: Double = 0

    package init() {}
}

/// A finished response.
public struct Response: Sendable {
    /// The generated text, without the stop word.
    public package(set) var text: String = ""
    /// Generated tokens without the stop token.
    public package(set) var tokenIDs: [Int32] = []
    /// Tokens of the prompt, image tokens included.
    public package(set) var inputTokenCount: Int = 0
    /// Tokens of the prompt whose keys and values were found in the prefix cache.
    public package(set) var cachedTokenCount: Int = 0
    /// Images of the prompt that the vision encoder did not have to see: their features or their keys and values were cached.
    public package(set) var cachedImageCount: Int = 0
    /// Why the response ended.
    public package(set) var finishReason: FinishReason = .error
    /// Place of the prompt in its batch.
    public package(set) var index: Int = 0
    /// Which of the prompt's responses this is, where ``GenerationConfig/n`` asks for several.
    public package(set) var choice: Int = 0
    /// One entry for each token, when asked for.
    public package(set) var logprobs: [TokenLogprobs]?
    /// The prompt's own log-probabilities, when asked for: entry i is the token at i + 1, given the tokens up to i, so there is one less
    /// than there are tokens. ``TokenLogprobs/chosen`` is the prompt's token. The mean of their negatives is the logarithm of the
    /// prompt's perplexity.
    public package(set) var promptLogprobs: [TokenLogprobs]?
    /// The prompt's last hidden states in one vector, when the request asked for that; see ``EngineRequest/pooling``.
    package var pooledHiddenState: [Float]?
    /// Logits, when asked for: `all` has a row for each token but the last, `generation` one for each generated token.
    public package(set) var logits: OutputMatrix?
    /// Hidden states after the final norm, when asked for, in the rows of ``logits``.
    public package(set) var lastHiddenState: OutputMatrix?
    /// Where the time went.
    public package(set) var timings = RequestTimings()
    /// What went wrong when ``finishReason`` is `error` or `abort`.
    public package(set) var error: (any Error)?

    package init() {}

    /// The response of a request that never ran.
    package static func failed(_ error: any Error, index: Int, choice: Int = 0) -> Response {
        var response = Response()
        response.index = index
        response.choice = choice
        response.error = error
        return response
    }

    /// Generated tokens, the stop token not counted.
    public var generatedTokenCount: Int { tokenIDs.count }
}

/// A piece of a response while it is generated.
public struct ResponsePiece: Sendable {
    /// New text; whole characters only, and empty while a character or a possible stop word is incomplete.
    public package(set) var text: String
    /// New tokens.
    public package(set) var tokenIDs: [Int32]
    /// Their log-probabilities, when asked for.
    public package(set) var logprobs: [TokenLogprobs]
    /// Place of the prompt in its batch.
    public package(set) var index: Int
    /// Which of the prompt's responses it belongs to, where ``GenerationConfig/n`` asks for several.
    public package(set) var choice: Int
    /// The whole response, in the last piece.
    public package(set) var response: Response?

    package init(
        text: String = "", tokenIDs: [Int32] = [], logprobs: [TokenLogprobs] = [], index: Int = 0, choice: Int = 0,
        response: Response? = nil
    ) {
        self.text = text
        self.tokenIDs = tokenIDs
        self.logprobs = logprobs
        self.index = index
        self.choice = choice
        self.response = response
    }
}
