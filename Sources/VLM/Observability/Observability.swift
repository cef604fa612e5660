public import CoreMetrics
public import Logging
public import Tracing

/// Who is told what a pipeline does: a handler of your own, a logger, metrics and a tracer.
///
/// Logger, metrics and tracer are by default what the process was bootstrapped with when these options were made; a process that
/// bootstrapped nothing pays for clock readings only.
///
///     var options = PipelineOptions()
///     options.observability.onRequest = { record in print(record.id, record.firstToken ?? 0) }
///     let pipeline = try await Pipeline(model: "demo", options: options)
public struct Observability: Sendable {
    /// Gets a line at `debug` for each request that ends, with the numbers of its ``RequestRecord`` and its id as metadata, and one at
    /// `trace` for each that begins.
    public var logger: Logger
    /// Makes the counters, gauges, histograms and timers of <doc:ObservingRequests>.
    public var metrics: any MetricsFactory
    /// Gets a span for each request, and one inside for each of its stages.
    public var tracer: any Tracer
    /// Whether lines of the log and records carry what was asked and answered. Off unless said otherwise: prompts are the users'.
    public var includesText: Bool
    /// Called once for each request, after its last piece was handed out, from the task that served it. It should return soon.
    public var onRequest: (@Sendable (RequestRecord) -> Void)?

    /// What the process was bootstrapped with, unless said otherwise.
    public init(
        logger: Logger = Logger(label: "vlm"), metrics: any MetricsFactory = MetricsSystem.factory,
        tracer: any Tracer = InstrumentationSystem.tracer, includesText: Bool = false,
        onRequest: (@Sendable (RequestRecord) -> Void)? = nil
    ) {
        self.logger = logger
        self.metrics = metrics
        self.tracer = tracer
        self.includesText = includesText
        self.onRequest = onRequest
    }

    /// Whether anybody but the log listens to metrics.
    var countsRequests: Bool { !(metrics is NOOPMetricsHandler) }
    var tracesRequests: Bool { !(tracer is NoOpTracer) }
}
