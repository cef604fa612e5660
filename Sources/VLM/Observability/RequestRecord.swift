public import Engine

/// What became of one request, and where its time went. Times are seconds.
public struct RequestRecord: Sendable, Equatable, Codable {
    /// A picture of the request.
    public struct Image: Sendable, Equatable, Codable {
        /// Size of the decoded picture in pixels.
        public var width = 0
        /// See ``width``.
        public var height = 0
        /// Bytes of the file, body or data URL that was decoded; 0 when the caller gave pixels.
        public var byteCount = 0
        /// Tiles it was cut into, a thumbnail included; 1 in families that do not tile.
        public var tileCount = 0
        /// Tokens it takes in the prompt.
        public var tokenCount = 0
        /// Reading or fetching, and decoding.
        public var load = 0.0
        /// Resizing, cutting and normalising, as far as the CPU does it.
        public var preprocess = 0.0
    }

    /// Names the request in log, spans and records of this process.
    public let id: String
    /// The model as the pipeline was asked for it.
    public let model: String
    /// Place of the prompt in its batch.
    public let index: Int
    /// The pictures, in the order of the prompt, as far as they could be prepared.
    public internal(set) var images: [Image] = []

    /// Tokens of the prompt, image tokens included; 0 when it could not be prepared.
    public internal(set) var promptTokenCount = 0
    /// Tokens of the prompt whose keys and values were cached already.
    public internal(set) var cachedTokenCount = 0
    /// Pictures that the vision encoder did not have to see.
    public internal(set) var cachedImageCount = 0
    /// Tokens handed out.
    public internal(set) var generatedTokenCount = 0

    /// Loading all pictures, added up: they are loaded side by side, so a request may have waited less.
    public internal(set) var imageLoad = 0.0
    /// Preprocessing all pictures, added up.
    public internal(set) var preprocess = 0.0
    /// From the call to the engine: pictures, template and tokenizer.
    public internal(set) var preparation = 0.0
    /// Waiting for a place in the batch.
    public internal(set) var queue = 0.0
    /// Encoding pictures.
    public internal(set) var vision = 0.0
    /// From the start of the prefill to the first token.
    public internal(set) var prefill = 0.0
    /// From the first token to the last.
    public internal(set) var decode = 0.0
    /// From the call to the first token in the caller's hands; nil when none came.
    public internal(set) var firstToken: Double?
    /// From the call to the end.
    public internal(set) var total = 0.0

    /// Why the response ended.
    public internal(set) var finishReason = FinishReason.abort
    /// What sort of error ended it, such as `engine.busy` or `image.notFound`; nil when it finished.
    public internal(set) var errorKind: String?
    /// The error in words.
    public internal(set) var errorMessage: String?

    /// The texts of the prompt's messages, when ``Observability/includesText`` is on.
    public internal(set) var prompt: String?
    /// The answer as far as it came, when ``Observability/includesText`` is on.
    public internal(set) var answer: String?

    init(id: String, model: String, index: Int) {
        self.id = id
        self.model = model
        self.index = index
    }

    /// All pictures' tiles.
    public var tileCount: Int { images.reduce(0) { $0 + $1.tileCount } }
}
