import Engine
import Tracing

/// The spans of one request: `vlm.request`, and inside it one `vlm.image` for each picture, then `vlm.queue`, `vlm.vision`, `vlm.prefill`
/// and `vlm.decode`.
///
/// Spans of the engine's stages are made when the request ends, from the times that the engine took itself: nothing of tracing runs
/// between two steps.
struct RequestTrace: Sendable {
    private let tracer: any Tracer
    private let root: any Span

    init(tracer: any Tracer, record: RequestRecord, generation: GenerationConfig) {
        self.tracer = tracer
        root = tracer.startSpan("vlm.request", ofKind: .internal)
        root.updateAttributes { attributes in
            attributes["gen_ai.operation.name"] = "chat"
            attributes["gen_ai.request.model"] = record.model
            if let limit = generation.maxNewTokens { attributes["gen_ai.request.max_tokens"] = limit }
            attributes["gen_ai.request.temperature"] = Double(generation.temperature)
            attributes["vlm.request.id"] = record.id
            attributes["vlm.request.index"] = record.index
        }
    }

    /// Where the request's spans hang, for what is logged or traced on its behalf.
    var context: ServiceContext { root.context }

    /// Begins the span of a picture.
    func image(_ index: Int) -> any Span {
        let span = tracer.startSpan("vlm.image", context: root.context, ofKind: .internal)
        span.attributes["vlm.image.index"] = index
        return span
    }

    /// Ends the span of a picture that was prepared.
    static func end(_ span: any Span, _ image: RequestRecord.Image) {
        span.updateAttributes { attributes in
            attributes["vlm.image.width"] = image.width
            attributes["vlm.image.height"] = image.height
            attributes["vlm.image.bytes"] = image.byteCount
            attributes["vlm.image.tiles"] = image.tileCount
            attributes["vlm.image.tokens"] = image.tokenCount
            attributes["vlm.image.load_seconds"] = image.load
            attributes["vlm.image.preprocess_seconds"] = image.preprocess
        }
        span.end()
    }

    /// Ends the span of a picture that was not.
    static func end(_ span: any Span, _ error: any Error) {
        span.recordError(error)
        span.setStatus(SpanStatus(code: .error))
        span.end()
    }

    /// Makes the spans of the engine's stages and ends the request's.
    ///
    /// - Parameters:
    ///   - submitted: when the engine got the request, in nanoseconds since 1970; nil when it never did.
    ///   - error: what ended it early.
    func end(_ record: RequestRecord, submitted: UInt64?, error: (any Error)?) {
        if let submitted { stages(record, from: submitted) }
        root.updateAttributes { attributes in
            attributes["gen_ai.usage.input_tokens"] = record.promptTokenCount
            attributes["gen_ai.usage.output_tokens"] = record.generatedTokenCount
            attributes["gen_ai.response.finish_reasons"] = [record.finishReason.rawValue]
            attributes["vlm.cached_tokens"] = record.cachedTokenCount
            attributes["vlm.images"] = record.images.count
            attributes["vlm.cached_images"] = record.cachedImageCount
            attributes["vlm.tiles"] = record.tileCount
            if let first = record.firstToken { attributes["vlm.first_token_seconds"] = first }
            if let kind = record.errorKind { attributes["error.type"] = kind }
        }
        if let error {
            root.recordError(error)
            root.setStatus(SpanStatus(code: .error, message: record.errorMessage))
        }
        root.end()
    }

    private func stages(_ record: RequestRecord, from submitted: UInt64) {
        var start = submitted
        func stage(_ name: String, _ seconds: Double, _ attributes: SpanAttributes = [:]) {
            let end = start + UInt64(max(0, seconds) * 1e9)
            let span = tracer.startSpan(
                name, context: root.context, ofKind: .internal, at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: start))
            if !attributes.isEmpty { span.attributes = attributes }
            span.end(at: DefaultTracerClock.Timestamp(nanosecondsSinceEpoch: end))
            start = end
        }
        stage("vlm.queue", record.queue)
        // What never began left no times.
        guard record.firstToken != nil else { return }
        if !record.images.isEmpty {
            stage(
                "vlm.vision", record.vision,
                [
                    "vlm.images": .int64(Int64(record.images.count)), "vlm.cached_images": .int64(Int64(record.cachedImageCount)),
                    "vlm.tiles": .int64(Int64(record.tileCount)),
                ])
        }
        stage(
            "vlm.prefill", record.prefill,
            [
                "vlm.prompt_tokens": .int64(Int64(record.promptTokenCount)),
                "vlm.cached_tokens": .int64(Int64(record.cachedTokenCount)),
            ])
        stage("vlm.decode", record.decode, ["vlm.generated_tokens": .int64(Int64(record.generatedTokenCount))])
    }
}
