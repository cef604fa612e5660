import Engine
import Foundation
import Imaging
import Synchronization
import VLM

/// Keeps a pipeline busy as many users at once would, from decoded pictures in the callers' hands to tokens in the callers' hands.
///
/// Without a rate each of `concurrency` callers asks again as soon as it was answered. With one, requests arrive at random (Poisson)
/// times, whoever is free takes the next, and its clock runs from the arrival: waiting for a free caller counts.
struct LoadBenchmark: Sendable {
    /// What is measured.
    struct Plan: Sendable {
        /// Most requests at once.
        var concurrency: Int
        /// Requests in all.
        var requestCount: Int
        /// Arrivals per second; nil asks again at once.
        var rate: Double?
        /// Tokens of each answer; end tokens are passed over.
        var newTokens: Int
        /// Whether the pictures are a few that come again and again, with other questions. Otherwise no picture comes twice.
        var repeatsImages: Bool
        /// Whether the answers are held to ``guidedSchema``.
        var isGuided = false
    }

    let pipeline: Pipeline
    let requests: SyntheticRequests
    let plan: Plan

    /// A list of what stands on an invoice, longer than any answer of a measurement.
    static let guidedSchema = """
        {"type": "array", "minItems": 10000, "items": {"type": "object", "properties": {
            "text": {"type": "string", "maxLength": 40}, "count": {"type": "integer", "minimum": 1, "maximum": 999},
            "price": {"type": "number", "minimum": 0}, "currency": {"enum": ["EUR", "USD", "GBP"]},
            "delivered": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}},
            "required": ["text", "count", "price", "currency", "delivered"]}}
        """

    /// How many pictures ``Plan/repeatsImages`` asks about.
    static let repeatedPictures = 4

    /// Warms up with as many requests as run at once, then measures.
    ///
    /// - Throws: the error of a request, when all fail.
    func run() async throws -> LoadResult {
        // Seeds of their own, so that what warms up leaves nothing that helps.
        var warming = plan
        warming.requestCount = plan.concurrency
        warming.rate = nil
        _ = try await measure(warming, firstSeed: 1 << 32, firstPicture: 1 << 32)
        return try await measure(plan, firstSeed: 1, firstPicture: 1)
    }

    /// Measures without warming up.
    ///
    /// - Parameters:
    ///   - firstSeed: of the questions, which count on from here, and their pictures unless they repeat.
    ///   - firstPicture: of the pictures that repeat.
    func measure(_ plan: Plan, firstSeed: Int, firstPicture: Int) async throws -> LoadResult {
        let arrivals = LoadBenchmark.arrivals(plan)
        let shared = Shared()
        let clock = ContinuousClock()
        let start = clock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<min(plan.concurrency, plan.requestCount) {
                group.addTask {
                    while true {
                        guard let index = shared.next(below: plan.requestCount) else { return }
                        let picture = plan.repeatsImages ? firstPicture + index % Self.repeatedPictures : nil
                        let prompt = try requests.prompt(firstSeed + index, pictureSeed: picture)
                        var arrival = clock.now
                        if let arrivals {
                            arrival = start + .seconds(arrivals[index])
                            try await clock.sleep(until: arrival, tolerance: .zero)
                        }
                        do {
                            shared.add(.success(try await ask(prompt, plan.newTokens, arrived: arrival, start: start)))
                        } catch {
                            shared.add(.failure(error))
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        let seconds = (clock.now - start) / .seconds(1)
        let finished = shared.results.compactMap { try? $0.get() }.sorted { $0.arrival < $1.arrival }
        if finished.isEmpty, let first = shared.results.first { _ = try first.get() }
        return LoadResult(plan: plan, samples: finished, failedCount: plan.requestCount - finished.count, seconds: seconds)
    }

    /// Seconds from the start at which requests arrive: exponential gaps, the same ones every time.
    private static func arrivals(_ plan: Plan) -> [Double]? {
        guard let rate = plan.rate else { return nil }
        let random = RandomSource(seed: 1)
        var time = 0.0
        return (0..<plan.requestCount).map { index in
            time -= log(1 - random.uniform(step: index)) / rate
            return time
        }
    }

    private func ask(
        _ prompt: Prompt, _ newTokens: Int, arrived: ContinuousClock.Instant, start: ContinuousClock.Instant
    ) async throws -> LoadResult.Sample {
        let clock = ContinuousClock()
        // No end token is possible where the list is not full, so a guided answer is as long as a free one.
        let generation =
            plan.isGuided
            ? GenerationConfig(maxNewTokens: newTokens, responseFormat: .jsonSchema(Self.guidedSchema))
            : GenerationConfig(maxNewTokens: newTokens, ignoreEOS: true)
        var sample = LoadResult.Sample(arrival: (arrived - start) / .seconds(1))
        for try await piece in pipeline.stream(prompt, generation: generation) {
            let time = (clock.now - start) / .seconds(1)
            for _ in piece.tokenIDs { sample.tokenTimes.append(time) }
            guard let response = piece.response else { continue }
            if let error = response.error { throw error }
            sample.end = time
            sample.promptTokens = response.inputTokenCount
            sample.cachedTokens = response.cachedTokenCount
            sample.images = prompt.messages.reduce(0) { $0 + $1.imageCount }
            sample.cachedImages = response.cachedImageCount
            return sample
        }
        throw CancellationError()
    }
}

/// What callers have between them.
private final class Shared: Sendable {
    private let nextIndex = Atomic(0)
    private let collected = Mutex<[Result<LoadResult.Sample, any Error>]>([])

    /// The next request that nobody took.
    func next(below count: Int) -> Int? {
        let index = nextIndex.wrappingAdd(1, ordering: .relaxed).oldValue
        return index < count ? index : nil
    }

    func add(_ result: Result<LoadResult.Sample, any Error>) { collected.withLock { $0.append(result) } }

    var results: [Result<LoadResult.Sample, any Error>] { collected.withLock { $0 } }
}

extension ChatMessage {
    /// Pictures in the message.
    fileprivate var imageCount: Int {
        content.count { part in
            if case .image = part { true } else { false }
        }
    }
}
