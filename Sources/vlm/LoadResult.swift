import Engine
import JSON
import VLM

/// What a pipeline did under load. Times are seconds from the start.
struct LoadResult: Sendable {
    /// One request that was answered.
    struct Sample: Sendable {
        /// When the caller asked, or would have had it been free.
        var arrival: Double
        /// When each token reached the caller.
        var tokenTimes: [Double] = []
        var end = 0.0
        var promptTokens = 0
        var cachedTokens = 0
        var images = 0
        var cachedImages = 0

        init(arrival: Double) { self.arrival = arrival }

        /// From the question to the first token.
        var firstToken: Double? { tokenTimes.first.map { $0 - arrival } }
        /// Between each token and the one before.
        var intervals: [Double] { zip(tokenTimes.dropFirst(), tokenTimes).map { $0 - $1 } }
    }

    let plan: LoadBenchmark.Plan
    /// In order of arrival.
    let samples: [Sample]
    let failedCount: Int
    let seconds: Double

    let firstTokens: Percentiles
    let intervals: Percentiles

    init(plan: LoadBenchmark.Plan, samples: [Sample], failedCount: Int, seconds: Double) {
        self.plan = plan
        self.samples = samples
        self.failedCount = failedCount
        self.seconds = seconds
        firstTokens = Percentiles(samples.compactMap(\.firstToken))
        intervals = Percentiles(samples.flatMap(\.intervals))
    }

    var requestsPerSecond: Double { Double(samples.count) / seconds }
    var outputTokensPerSecond: Double { Double(total { $0.tokenTimes.count }) / seconds }
    /// Share of the prompts' tokens whose keys and values were cached.
    var prefixCacheHitRate: Double { share(total(\.cachedTokens), of: total(\.promptTokens)) }
    /// Share of the pictures that the vision encoder did not have to see.
    var imageCacheHitRate: Double { share(total(\.cachedImages), of: total(\.images)) }

    private func total(_ value: (Sample) -> Int) -> Int { samples.reduce(0) { $0 + value($1) } }
    private func share(_ part: Int, of whole: Int) -> Double { whole == 0 ? 0 : Double(part) / Double(whole) }
}
