import CoreMetrics
import Foundation
import InMemoryLogging
import InMemoryTracing
import Logging
import MetricsTestKit
import Synchronization
import TestKit
import Testing
import Tracing
import VLM

/// What a pipeline tells those who listen, as a service sees it.
struct ObservabilityTests {
    private let model = Fixtures.path("models/qwen2_5_vl/checkpoint")
    private let exact = EngineConfig(device: .cpu, dtype: .float32)
    private let short = GenerationConfig(maxNewTokens: 5, ignoreEOS: true)
    private let picture = ImageSource.path(Fixtures.path("models/images/square.png"))

    /// Records in the order they came.
    private final class Collector: Sendable {
        private let collected = Mutex<[RequestRecord]>([])
        private let arrivals = AsyncStream<Void>.makeStream()

        func add(_ record: RequestRecord) {
            collected.withLock { $0.append(record) }
            arrivals.continuation.yield()
        }
        var records: [RequestRecord] { collected.withLock { $0 } }
        /// Waits for one record.
        func next() async { for await _ in arrivals.stream { return } }
    }

    /// Runs `body` on a pipeline that tells `listening` and nobody else.
    private func observing(
        _ listening: (inout Observability) -> Void, _ body: (Pipeline) async throws -> Void
    ) async throws {
        var observability = Observability(
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }), metrics: NOOPMetricsHandler.instance,
            tracer: NoOpTracer())
        listening(&observability)
        try await withPipeline(
            model: model, engineConfig: exact, options: PipelineOptions(observability: observability), body)
    }

    // MARK: Records

    @Test func aRecordTellsTimesTokensAndPictures() async throws {
        let collector = Collector()
        try await observing {
            $0.onRequest = collector.add
        } _: { pipeline in
            let response = try await pipeline(Prompt("What is this?", images: [picture]), generation: short)
            // It was there before the answer was.
            let record = try #require(collector.records.first)
            #expect(collector.records.count == 1)
            #expect(record.model == model)
            #expect(record.finishReason == .length)
            #expect(record.promptTokenCount == response.inputTokenCount)
            #expect(record.generatedTokenCount == 5)
            #expect(record.cachedTokenCount == response.cachedTokenCount)
            let image = try #require(record.images.first)
            let size = try FileManager.default.attributesOfItem(atPath: Fixtures.path("models/images/square.png"))[.size] as? Int
            let pixels = try await loadImage(picture)
            #expect(image.byteCount == size)
            #expect((image.width, image.height) == (pixels.width, pixels.height))
            #expect(image.tileCount == 1 && image.tokenCount > 0)
            for time in [image.load, image.preprocess, record.vision, record.prefill, record.decode, record.preparation] {
                #expect(time > 0)
            }
            #expect(record.imageLoad == image.load && response.timings.imageLoad == image.load)
            #expect(response.timings.preprocess == image.preprocess)
            let first = try #require(record.firstToken)
            #expect(record.preparation >= image.load + image.preprocess)
            #expect(record.preparation + record.queue + record.vision + record.prefill <= first * 1.001)
            #expect(record.preparation + record.queue + record.vision + record.prefill + record.decode <= record.total * 1.001)
            #expect(first <= record.total)
            #expect(record.errorKind == nil && record.prompt == nil && record.answer == nil)
            // Services keep records as JSON.
            #expect(try JSONDecoder().decode(RequestRecord.self, from: JSONEncoder().encode(record)) == record)
        }
    }

    @Test func everyPromptOfABatchHasItsRecord() async throws {
        let collector = Collector()
        try await observing {
            $0.onRequest = collector.add
        } _: { pipeline in
            let missing = ImageSource.path("/no/such/picture.png")
            _ = try await pipeline(
                ["one", Prompt("two", images: [picture, missing]), "<|image_pad|>"], generation: short)
            let records = collector.records.sorted { $0.index < $1.index }
            #expect(records.map(\.index) == [0, 1, 2])
            #expect(Set(records.map(\.id)).count == 3)
            #expect(records.map(\.finishReason) == [.length, .error, .error])
            #expect(records.map(\.errorKind) == [nil, "image.notFound", "prompt"])
            #expect(records[1].errorMessage?.contains("/no/such/picture.png") == true)
            #expect(records[1].firstToken == nil && records[1].promptTokenCount == 0)
        }
    }

    @Test func refusedAndDroppedRequestsHaveRecords() async throws {
        let collector = Collector()
        try await observing {
            $0.onRequest = collector.add
        } _: { pipeline in
            for try await _ in pipeline.stream("hello", generation: GenerationConfig(maxNewTokens: 400, ignoreEOS: true)) {
                break
            }
            await collector.next()
            let dropped = try #require(collector.records.first)
            #expect(dropped.finishReason == .abort)
            #expect(dropped.errorKind == "engine.cancelled")

            try await pipeline.close()
            await #expect(throws: EngineError.self) { try await pipeline("hello", generation: short) }
            #expect(collector.records.last?.errorKind == "engine.closed")
            #expect(collector.records.count == 2)
        }
    }

    // MARK: Log

    @Test func linesCarryIdsAndNoPrompts() async throws {
        let handler = InMemoryLogHandler()
        var logger = Logger(label: "test", factory: { _ in handler })
        logger.logLevel = .trace
        let collector = Collector()
        try await observing {
            $0.logger = logger
            $0.onRequest = collector.add
        } _: { pipeline in
            _ = try await pipeline(Prompt("a secret question", images: [picture]), generation: short)
            _ = try? await pipeline(Prompt("another secret", images: [.path("/no/such.png")]), generation: short)
        }
        let ids = collector.records.map { Logger.MetadataValue.string($0.id) }
        let lines = handler.entries
        #expect(lines.map(\.message) == ["request began", "request finished", "request began", "request failed"])
        #expect(lines.map(\.level) == [.trace, .debug, .trace, .debug])
        #expect(lines.map { $0.metadata["request_id"] } == [ids[0], ids[0], ids[1], ids[1]])
        #expect(lines[1].metadata["generated_tokens"] == "5")
        #expect(lines[1].metadata["images"] == "1")
        #expect(lines[3].metadata["error_kind"] == "image.notFound")
        #expect(!"\(lines)".contains("secret"))
    }

    @Test func linesCarryTextWhenAsked() async throws {
        let handler = InMemoryLogHandler()
        var logger = Logger(label: "test", factory: { _ in handler })
        logger.logLevel = .debug
        var answer = ""
        try await observing {
            $0.logger = logger
            $0.includesText = true
        } _: { pipeline in
            answer = try await pipeline(Prompt("a question", images: [picture]), generation: short).text
        }
        #expect(handler.entries.map { $0.metadata["prompt"] } == ["user: \(imageToken)a question"])
        #expect(handler.entries.map { $0.metadata["answer"] } == [.string(answer)])
    }

    @Test func quietLoggersGetNothing() async throws {
        let handler = InMemoryLogHandler()
        try await observing {
            $0.logger = Logger(label: "test", factory: { _ in handler })
        } _: { pipeline in
            _ = try await pipeline("hello", generation: short)
        }
        #expect(handler.entries.isEmpty)
    }

    // MARK: Metrics

    @Test func metricsCountWhatRecordsSay() async throws {
        let metrics = TestMetrics()
        let collector = Collector()
        try await observing {
            $0.metrics = metrics
            $0.onRequest = collector.add
        } _: { pipeline in
            _ = try await pipeline(
                ["one", Prompt("two", images: [picture, picture]), Prompt("three", images: [.path("/no/such.png")])],
                generation: short)
        }
        let records = collector.records
        let here = [("model", model)]
        #expect(metrics.counterTotal(label: "vlm_requests_total", dimensions: here + [("outcome", "length")]) == 2)
        #expect(metrics.counterTotal(label: "vlm_requests_total", dimensions: here + [("outcome", "error")]) == 1)
        #expect(metrics.counterTotal(label: "vlm_request_errors_total", dimensions: here + [("kind", "image.notFound")]) == 1)
        func total(_ value: (RequestRecord) -> Int) -> Int64 { Int64(records.reduce(0) { $0 + value($1) }) }
        #expect(metrics.counterTotal(label: "vlm_prompt_tokens_total") == total(\.promptTokenCount))
        #expect(metrics.counterTotal(label: "vlm_generated_tokens_total") == 10)
        #expect(metrics.counterTotal(label: "vlm_images_total") == 2)
        #expect(metrics.counterTotal(label: "vlm_image_bytes_total") == total { $0.images.reduce(0) { $0 + $1.byteCount } })
        #expect(
            metrics.counterTotal(label: "vlm_image_pixels_total") == total { $0.images.reduce(0) { $0 + $1.width * $1.height } })
        #expect(try metrics.expectRecorder("vlm_images_per_request", here).values.sorted() == [0, 0, 2])
        #expect(try metrics.expectTimer("vlm_first_token_seconds", here).values.count == 2)
        #expect(try metrics.expectTimer("vlm_request_seconds", here).values.count == 3)
        #expect(try metrics.expectTimer("vlm_vision_seconds", here).values.count == 1)
        let prefill = try metrics.expectTimer("vlm_prefill_seconds", here).values.reduce(0, +)
        #expect(abs(Double(prefill) / 1e9 - records.reduce(0) { $0 + $1.prefill }) < 1e-6)
        #expect(try metrics.expectMeter("vlm_requests_active", here).values.max() ?? 0 >= 1)
        #expect(try metrics.expectMeter("vlm_requests_active", here).lastValue == 0)
    }

    @Test(.timeLimit(.minutes(1))) func gaugesFollowTheEngine() async throws {
        let metrics = TestMetrics()
        try await observing {
            $0.metrics = metrics
        } _: { pipeline in
            func gauge(_ name: String) throws -> TestMeter { try metrics.expectMeter(name, [("model", model)]) }
            let stream = pipeline.stream("hello", generation: GenerationConfig(maxNewTokens: 400, ignoreEOS: true))
            var pieces = stream.makeAsyncIterator()
            _ = try await pieces.next()
            while try !gauge("vlm_requests_running").values.contains(1) { try await Task.sleep(for: .milliseconds(1)) }
            #expect(try gauge("vlm_cache_blocks_used").values.max() ?? 0 > 0)
            #expect(try gauge("vlm_cache_blocks").lastValue ?? 0 > 0)
            while try await pieces.next() != nil {}
            while try gauge("vlm_requests_running").lastValue != 0 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(try gauge("vlm_cache_blocks_used").lastValue == 0)
            #expect(try gauge("vlm_requests_waiting").lastValue == 0)
        }
    }

    @Test func theArticleNamesEveryMetric() async throws {
        let metrics = TestMetrics()
        try await observing {
            $0.metrics = metrics
        } _: { pipeline in
            _ = try await pipeline(Prompt("two", images: [picture]), generation: short)
            _ = try? await pipeline(Prompt("three", images: [.path("/no/such.png")]), generation: short)
        }
        let made =
            metrics.counters.map(\.label) + metrics.meters.map(\.label) + metrics.recorders.map(\.label)
            + metrics.timers.map(\.label)
        let article = URL(fileURLWithPath: Fixtures.root).appendingPathComponent(
            "../../Sources/VLM/VLM.docc/ObservingRequests.md")
        let described = try String(contentsOf: article.standardizedFileURL, encoding: .utf8).split(separator: "\n")
            .filter { $0.hasPrefix("| `vlm_") }.map { String($0.split(separator: "`")[1]) }
        #expect(described.count == Set(described).count)
        #expect(Set(made) == Set(described))
    }

    // MARK: Traces

    @Test func spansFollowTheRequest() async throws {
        let tracer = InMemoryTracer()
        try await observing {
            $0.tracer = tracer
        } _: { pipeline in
            try await tracer.withSpan("caller") { _ in
                _ = try await pipeline(Prompt("two", images: [picture, picture]), generation: short)
            }
        }
        #expect(tracer.activeSpans.isEmpty)
        let spans = tracer.finishedSpans
        func only(_ name: String) throws -> FinishedInMemorySpan {
            let named = spans.filter { $0.operationName == name }
            #expect(named.count == 1)
            return try #require(named.first)
        }
        let request = try only("vlm.request")
        #expect(request.parentSpanID == (try only("caller")).spanID)
        let images = spans.filter { $0.operationName == "vlm.image" }
        #expect(images.count == 2)
        #expect(Set(images.compactMap { $0.attributes["vlm.image.index"]?.toSpanAttribute() }.map { "\($0)" }).count == 2)
        let stages = try ["vlm.queue", "vlm.vision", "vlm.prefill", "vlm.decode"].map(only)
        for span in images + stages {
            #expect(span.parentSpanID == request.spanID)
            #expect(span.traceID == request.traceID)
            #expect(span.startInstant.nanosecondsSinceEpoch >= request.startInstant.nanosecondsSinceEpoch)
        }
        for (earlier, later) in zip(stages, stages.dropFirst()) {
            #expect(earlier.endInstant.nanosecondsSinceEpoch == later.startInstant.nanosecondsSinceEpoch)
        }
        let latest = try #require(images.map(\.endInstant.nanosecondsSinceEpoch).max())
        #expect(stages[0].startInstant.nanosecondsSinceEpoch >= latest)
        #expect(request.attributes.get("gen_ai.usage.output_tokens")?.toSpanAttribute() == .int64(5))
        #expect(request.attributes.get("vlm.images")?.toSpanAttribute() == .int64(2))
        #expect(request.status == nil)
    }

    @Test func spansOfFailuresSayWhatFailed() async throws {
        let tracer = InMemoryTracer()
        try await observing {
            $0.tracer = tracer
        } _: { pipeline in
            _ = try? await pipeline(Prompt("three", images: [.path("/no/such.png")]), generation: short)
        }
        #expect(tracer.activeSpans.isEmpty)
        #expect(tracer.finishedSpans.map(\.operationName) == ["vlm.image", "vlm.request"])
        for span in tracer.finishedSpans {
            #expect(span.errors.count == 1)
            #expect(span.status?.code == .error)
        }
        #expect(tracer.finishedSpans.last?.attributes.get("error.type")?.toSpanAttribute() == .string("image.notFound"))
    }
}
