package import Models

/// How the engine uses its device. Names and defaults follow LMDeploy's engine configurations in Swift spelling.
public struct EngineConfig: Sendable, Equatable {
    /// Where the model runs.
    public enum DeviceChoice: Sendable, Equatable {
        /// The best device present.
        case auto
        case cpu
        /// One NVIDIA GPU by index.
        case cuda(Int)
    }

    /// The arithmetic of weights and matrix products.
    public enum Precision: String, Sendable, CaseIterable {
        /// The checkpoint's own type: bfloat16 where it is 16-bit.
        case auto
        /// Everything in float32: the exact mode that results are compared in.
        case float32
        case bfloat16
        case float16
    }

    /// Where the model runs.
    public var device: DeviceChoice
    /// The arithmetic of weights and matrix products.
    public var dtype: Precision
    /// Longest prompt plus response in tokens; nil takes the model's, reduced to what memory holds.
    public var sessionLen: Int?
    /// Sequences that run together. nil: 256 on a GPU, 16 on a CPU.
    public var maxBatchSize: Int?
    /// The KV cache's share of the memory that is free once weights and workspaces are placed, between 0 and 1; a number above 1
    /// is a count of blocks.
    public var cacheMaxEntryCount: Double
    /// Positions in one KV block, a power of two.
    public var cacheBlockSeqLen: Int
    /// Most tokens one pass computes; longer prompts are prefilled in chunks. nil: 8192 on a GPU, 2048 on a CPU.
    public var maxPrefillTokenNum: Int?
    /// CPU threads; nil takes the cores this process may use.
    public var threads: Int?
    /// Keeps the KV cache of prompts and responses that have ended, so that a prompt that begins like one of them computes only the rest.
    public var enablePrefixCaching: Bool
    /// Requests that may wait for a place in the batch; one more is refused with an error of kind `busy`.
    public var maxWaitingRequests: Int

    /// The checkpoint's own type on the best device, unless said otherwise.
    public init(
        device: DeviceChoice = .auto, dtype: Precision = .auto, sessionLen: Int? = nil, maxBatchSize: Int? = nil,
        cacheMaxEntryCount: Double = 0.8, cacheBlockSeqLen: Int = 64, maxPrefillTokenNum: Int? = nil, threads: Int? = nil,
        enablePrefixCaching: Bool = true, maxWaitingRequests: Int = 1024
    ) {
        self.device = device
        self.dtype = dtype
        self.sessionLen = sessionLen
        self.maxBatchSize = maxBatchSize
        self.cacheMaxEntryCount = cacheMaxEntryCount
        self.cacheBlockSeqLen = cacheBlockSeqLen
        self.maxPrefillTokenNum = maxPrefillTokenNum
        self.threads = threads
        self.enablePrefixCaching = enablePrefixCaching
        self.maxWaitingRequests = maxWaitingRequests
    }

    private static let mostRequests = 1 << 14

    /// - Throws: ``EngineError`` of kind `invalidConfiguration` naming the option.
    package func validate() throws(EngineError) {
        func require(_ condition: Bool, _ detail: String) throws(EngineError) {
            if !condition { throw EngineError(.invalidConfiguration, detail) }
        }
        try require(sessionLen.map { $0 > 0 } ?? true, "sessionLen must be positive")
        // The upper bounds are far above any use and keep the memory plan's products from overflowing.
        try require(
            maxBatchSize.map { (1...Self.mostRequests).contains($0) } ?? true,
            "maxBatchSize must be between 1 and \(Self.mostRequests)")
        try require(
            cacheMaxEntryCount > 0 && cacheMaxEntryCount <= Double(Int32.max),
            "cacheMaxEntryCount must be a share of free memory up to 1, or a count of blocks above 1, at most \(Int32.max)")
        try require(
            (1...1 << 16).contains(cacheBlockSeqLen) && cacheBlockSeqLen & (cacheBlockSeqLen - 1) == 0,
            "cacheBlockSeqLen must be a power of two up to \(1 << 16)")
        try require(
            maxPrefillTokenNum.map { (1...1 << 20).contains($0) } ?? true, "maxPrefillTokenNum must be between 1 and \(1 << 20)")
        try require(threads.map { (1...1024).contains($0) } ?? true, "threads must be between 1 and 1024")
        try require(maxWaitingRequests >= 0, "maxWaitingRequests must not be negative")
    }
}

/// How images are encoded.
public struct VisionConfig: Sendable, Equatable {
    /// Most images in one pass of the vision encoder. It bounds the encoder's workspace, which is part of the memory plan.
    public var maxBatchSize: Int
    /// Most tiles of an image in families that tile; nil takes the checkpoint's.
    public var maxTiles: Int?
    /// Pixel bounds in families with native resolution; nil takes the checkpoint's.
    public var minPixels: Int?
    /// The upper bound; see ``minPixels``.
    public var maxPixels: Int?
    /// Most bytes of features that are kept so that a picture that comes again needs no encoding; 0 keeps none, nil takes a twentieth of the
    /// free memory, at most 4 GB on a GPU.
    public var cacheBytes: Int?

    /// The checkpoint's own image sizes, unless said otherwise.
    public init(
        maxBatchSize: Int = 8, maxTiles: Int? = nil, minPixels: Int? = nil, maxPixels: Int? = nil, cacheBytes: Int? = nil
    ) {
        self.maxBatchSize = maxBatchSize
        self.maxTiles = maxTiles
        self.minPixels = minPixels
        self.maxPixels = maxPixels
        self.cacheBytes = cacheBytes
    }

    /// What of this an image processor looks at.
    package var imageOptions: ImageOptions { ImageOptions(maxTiles: maxTiles, minPixels: minPixels, maxPixels: maxPixels) }

    /// - Throws: ``EngineError`` of kind `invalidConfiguration` naming the option.
    package func validate() throws(EngineError) {
        for (name, value) in [
            ("maxTiles", maxTiles), ("minPixels", minPixels), ("maxPixels", maxPixels), ("maxBatchSize", maxBatchSize),
        ] {
            if let value, value <= 0 {
                throw EngineError(.invalidConfiguration, "VisionConfig.\(name) must be positive, not \(value)")
            }
        }
        if let cacheBytes, !(0...1 << 50).contains(cacheBytes) {
            throw EngineError(.invalidConfiguration, "VisionConfig.cacheBytes must be between 0 and 2^50, not \(cacheBytes)")
        }
        guard maxBatchSize <= 1 << 14 else {
            throw EngineError(.invalidConfiguration, "VisionConfig.maxBatchSize \(maxBatchSize) is more than \(1 << 14)")
        }
        if let minPixels, let maxPixels, minPixels > maxPixels {
            throw EngineError(.invalidConfiguration, "VisionConfig.minPixels \(minPixels) exceeds maxPixels \(maxPixels)")
        }
    }
}
