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

    /// Requests accepted.
    public package(set) var submittedRequests = 0
    /// Of those, requests whose response came to its end.
    public package(set) var finishedRequests = 0
    /// Of those, requests that ended with an error.
    public package(set) var failedRequests = 0
    /// Of those, requests cancelled by their caller or their deadline.
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
    /// Tokens of prompts that were looked up in the prefix cache.
    public package(set) var prefixTokensLookedUp = 0
    /// Of those, tokens that were found and not computed.
    public package(set) var prefixTokensHit = 0
    /// Images whose features were needed.
    public package(set) var imagesLookedUp = 0
    /// Of those, images whose features were there already.
    public package(set) var imagesHit = 0
    /// Images that went through the vision encoder.
    public package(set) var encodedImages = 0
    /// Passes of the vision encoder.
    public package(set) var visionPasses = 0

    // MARK: At most

    /// Most requests that ran together.
    public package(set) var peakRunningRequests = 0
    /// Most requests that waited.
    public package(set) var peakWaitingRequests = 0
    /// Most blocks that running requests held.
    public package(set) var peakUsedBlocks = 0

    package init() {}

    /// Share of prompt tokens that the prefix cache saved; 0 before the first.
    public var prefixHitRate: Double { Self.rate(prefixTokensHit, of: prefixTokensLookedUp) }
    /// Share of images that needed no encoding; 0 before the first.
    public var imageHitRate: Double { Self.rate(imagesHit, of: imagesLookedUp) }

    private static func rate(_ part: Int, of whole: Int) -> Double { whole == 0 ? 0 : Double(part) / Double(whole) }
}
