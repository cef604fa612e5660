import Engine
import Logging
import Synchronization
import Tracing

/// Watches the requests of one pipeline on behalf of those who listen.
final class PipelineObserver: Sendable {
    let observability: Observability
    private let model: String
    /// Tells the ids of this pipeline's requests from those of others, in this process and in others.
    private let prefix: String
    private let metrics: PipelineMetrics?
    private let nextNumber = Atomic(0)
    private let statistics: @Sendable () async throws -> EngineStatistics
    private let gauges = Mutex(Gauges())

    /// - Parameter statistics: asks the engine what it is doing.
    init(_ observability: Observability, model: String, statistics: @escaping @Sendable () async throws -> EngineStatistics) {
        self.statistics = statistics
        self.observability = observability
        self.model = model
        prefix = String(UInt32.random(in: .min ... .max), radix: 36)
        metrics = observability.countsRequests ? PipelineMetrics(factory: observability.metrics, model: model) : nil
    }

    /// Runs `serve` for one prompt and tells everybody who listens how it went: before the last piece leaves, or before an error does.
    func observe(
        _ prompt: Prompt, _ generation: GenerationConfig, index: Int,
        serve: (RequestObserver) async throws -> Void
    ) async throws {
        let number = nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
        var record = RequestRecord(id: "\(prefix)-\(number)", model: model, index: index)
        if observability.includesText { record.prompt = prompt.text }
        let trace =
            observability.tracesRequests
            ? RequestTrace(tracer: observability.tracer, record: record, generation: generation) : nil
        let request = RequestObserver(
            record, trace: trace, collectsText: observability.includesText,
            moved: { [self] in showEngine() }, ended: { [self] in end($0, trace) })
        metrics?.begin()
        log(.trace, "request began", trace) {
            var metadata: Logger.Metadata = ["request_id": "\(record.id)", "index": "\(index)"]
            if let prompt = record.prompt { metadata["prompt"] = "\(prompt)" }
            return metadata
        }
        do {
            try await serve(request)
            // A stream whose reader went away ends without a response.
            request.end(CancellationError())
        } catch {
            request.end(error)
            throw error
        }
    }

    private func end(_ record: RequestRecord, _ trace: RequestTrace?) {
        metrics?.end(record)
        log(.debug, record.errorKind == nil ? "request finished" : "request failed", trace) { record.metadata }
        observability.onRequest?(record)
        showEngine()
    }

    /// Brings the gauges up to date soon. The engine is asked between two of its steps, one question at a time.
    private func showEngine() {
        guard let metrics else { return }
        let isIdle = gauges.withLock { gauges in
            gauges.isStale = true
            defer { gauges.isAsking = true }
            return !gauges.isAsking
        }
        guard isIdle else { return }
        Task {
            while gauges.withLock({ $0.next() }) {
                // A closed engine has nothing to show.
                guard let now = try? await statistics() else { continue }
                metrics.show(now, after: gauges.withLock { $0.shown })
                gauges.withLock { $0.shown = now }
            }
        }
    }

    private struct Gauges {
        /// What they show.
        var shown: EngineStatistics?
        var isAsking = false
        /// Whether something happened since the engine was asked last.
        var isStale = false

        /// Whether to ask once more.
        mutating func next() -> Bool {
            isAsking = isStale
            isStale = false
            return isAsking
        }
    }

    /// Logs inside the request's span, so that metadata providers find it.
    private func log(_ level: Logger.Level, _ message: Logger.Message, _ trace: RequestTrace?, _ metadata: () -> Logger.Metadata)
    {
        guard observability.logger.logLevel <= level else { return }
        let metadata = metadata()
        guard let trace else { return observability.logger.log(level: level, message, metadata: metadata) }
        ServiceContext.$current.withValue(trace.context) {
            observability.logger.log(level: level, message, metadata: metadata)
        }
    }
}

extension RequestRecord {
    /// The record as a line of the log carries it.
    fileprivate var metadata: Logger.Metadata {
        func milliseconds(_ seconds: Double) -> Logger.MetadataValue { "\((seconds * 1e6).rounded() / 1e3)" }
        var metadata: Logger.Metadata = [
            "request_id": "\(id)", "index": "\(index)", "finish_reason": "\(finishReason.rawValue)",
            "prompt_tokens": "\(promptTokenCount)", "cached_tokens": "\(cachedTokenCount)",
            "generated_tokens": "\(generatedTokenCount)", "images": "\(images.count)", "cached_images": "\(cachedImageCount)",
            "tiles": "\(tileCount)", "image_load_ms": milliseconds(imageLoad), "preprocess_ms": milliseconds(preprocess),
            "queue_ms": milliseconds(queue), "vision_ms": milliseconds(vision), "prefill_ms": milliseconds(prefill),
            "decode_ms": milliseconds(decode), "total_ms": milliseconds(total),
        ]
        if let firstToken { metadata["first_token_ms"] = milliseconds(firstToken) }
        if let errorKind { metadata["error_kind"] = "\(errorKind)" }
        if let errorMessage { metadata["error"] = "\(errorMessage)" }
        if let prompt { metadata["prompt"] = "\(prompt)" }
        if let answer { metadata["answer"] = "\(answer)" }
        return metadata
    }
}

extension Prompt {
    /// What was written, without the pictures.
    var text: String {
        messages.map { message in
            message.role + ": "
                + message.content.map { part in
                    if case .text(let text) = part { text } else { imageToken }
                }.joined()
        }.joined(separator: "\n")
    }
}
