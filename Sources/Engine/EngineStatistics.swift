/// What an engine has done since it was loaded, and what it is doing.
public struct EngineStatistics: Sendable, Equatable, Codable {
    // MARK: Now

    /// Requests in the batch.
    public package(set) var runningRequests = 0
    /// Requests that wait for a place in the batch.
    public package(set) var waitingRequests = 0
    /// Blocks of the KV cache.
    public package(set) var totalBlocks = 0
    /// Blocks that running requests hold.
    public package(set) var usedBlocks = 0
    /// Blocks that nobody holds and that keep what they hold for prompts that begin alike.
    public package(set) var cachedBlocks = 0

    // MARK: Since loading

    /// Requests accepted, and how they ended.
    public package(set) var submittedRequests = 0
    public package(set) var finishedRequests = 0
    public package(set) var failedRequests = 0
    public package(set) var cancelledRequests = 0
    /// Requests refused because too many waited.
    public package(set) var refusedRequests = 0
    /// Passes of the language model.
    public package(set) var steps = 0
    /// Tokens computed as part of prompts, those of preempted requests again.
    public package(set) var prefilledTokens = 0
    /// Tokens computed one at a time, as responses grow.
    public package(set) var decodedTokens = 0
    /// Times a request gave its blocks to others.
    public package(set) var preemptions = 0
    /// Tokens of prompts that were looked up in the prefix cache, and those that were found.
    public package(set) var prefixTokensLookedUp = 0
    public package(set) var prefixTokensHit = 0
    /// Images whose features were needed, and those that were there already.
    public package(set) var imagesLookedUp = 0
    public package(set) var imagesHit = 0
    /// Images that went through the vision encoder, and its passes.
    public package(set) var encodedImages = 0
    public package(set) var visionPasses = 0

    // MARK: At most

    public package(set) var peakRunningRequests = 0
    public package(set) var peakWaitingRequests = 0
    public package(set) var peakUsedBlocks = 0

    package init() {}

    /// Share of prompt tokens that the prefix cache saved; 0 before the first.
    public var prefixHitRate: Double { Self.rate(prefixTokensHit, of: prefixTokensLookedUp) }
    /// Share of images that needed no encoding; 0 before the first.
    public var imageHitRate: Double { Self.rate(imagesHit, of: imagesLookedUp) }

    private static func rate(_ part: Int, of whole: Int) -> Double { whole == 0 ? 0 : Double(part) / Double(whole) }
}
