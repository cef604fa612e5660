import CoreMetrics
import Engine

/// The counters, gauges, histograms and timers of one pipeline; the article Observability describes each.
struct PipelineMetrics: Sendable {
    private let factory: any MetricsFactory
    /// On every metric, so that pipelines of one process can be told apart.
    private let model: (String, String)

    private let promptTokens, cachedTokens, generatedTokens: Counter
    private let images, cachedImages, imageTiles, imagePixels, imageBytes: Counter
    private let preemptions: Counter
    private let active, running, waiting, blocks, usedBlocks, cachedBlocks: Meter
    private let promptTokensPerRequest, generatedTokensPerRequest, imagesPerRequest: Recorder
    private let tilesPerImage, pixelsPerImage, bytesPerImage: Recorder
    private let total, firstToken, tokenInterval, preparation, imageLoad, imagePreprocess: Timer
    private let queue, vision, prefill, decode: Timer

    init(factory: any MetricsFactory, model: String) {
        self.factory = factory
        let dimensions = [("model", model)]
        self.model = dimensions[0]
        func counter(_ name: String) -> Counter { Counter(label: "vlm_\(name)_total", dimensions: dimensions, factory: factory) }
        func meter(_ name: String) -> Meter { Meter(label: "vlm_\(name)", dimensions: dimensions, factory: factory) }
        func histogram(_ name: String) -> Recorder { Recorder(label: "vlm_\(name)", dimensions: dimensions, factory: factory) }
        func timer(_ name: String) -> Timer { Timer(label: "vlm_\(name)_seconds", dimensions: dimensions, factory: factory) }
        promptTokens = counter("prompt_tokens")
        cachedTokens = counter("cached_tokens")
        generatedTokens = counter("generated_tokens")
        images = counter("images")
        cachedImages = counter("cached_images")
        imageTiles = counter("image_tiles")
        imagePixels = counter("image_pixels")
        imageBytes = counter("image_bytes")
        preemptions = counter("preemptions")
        active = meter("requests_active")
        running = meter("requests_running")
        waiting = meter("requests_waiting")
        blocks = meter("cache_blocks")
        usedBlocks = meter("cache_blocks_used")
        cachedBlocks = meter("cache_blocks_cached")
        promptTokensPerRequest = histogram("prompt_tokens_per_request")
        generatedTokensPerRequest = histogram("generated_tokens_per_request")
        imagesPerRequest = histogram("images_per_request")
        tilesPerImage = histogram("tiles_per_image")
        pixelsPerImage = histogram("pixels_per_image")
        bytesPerImage = histogram("bytes_per_image")
        total = timer("request")
        firstToken = timer("first_token")
        tokenInterval = timer("token_interval")
        preparation = timer("preparation")
        imageLoad = timer("image_load")
        imagePreprocess = timer("image_preprocess")
        queue = timer("queue")
        vision = timer("vision")
        prefill = timer("prefill")
        decode = timer("decode")
    }

    /// A request was called for.
    func begin() { active.increment() }

    /// Counts a request that ended.
    func end(_ record: RequestRecord) {
        active.decrement()
        Counter(
            label: "vlm_requests_total", dimensions: [model, ("outcome", record.finishReason.rawValue)], factory: factory
        ).increment()
        if let kind = record.errorKind {
            Counter(label: "vlm_request_errors_total", dimensions: [model, ("kind", kind)], factory: factory).increment()
        }
        record.images.forEach(count)
        imagesPerRequest.record(record.images.count)
        preparation.recordSeconds(record.preparation)
        total.recordSeconds(record.total)
        guard record.promptTokenCount > 0 else { return }
        promptTokens.increment(by: record.promptTokenCount)
        cachedTokens.increment(by: record.cachedTokenCount)
        generatedTokens.increment(by: record.generatedTokenCount)
        cachedImages.increment(by: record.cachedImageCount)
        promptTokensPerRequest.record(record.promptTokenCount)
        generatedTokensPerRequest.record(record.generatedTokenCount)
        guard let first = record.firstToken else { return }
        firstToken.recordSeconds(first)
        queue.recordSeconds(record.queue)
        if !record.images.isEmpty { vision.recordSeconds(record.vision) }
        prefill.recordSeconds(record.prefill)
        decode.recordSeconds(record.decode)
        if record.generatedTokenCount > 1 {
            tokenInterval.recordSeconds(record.decode / Double(record.generatedTokenCount - 1))
        }
    }

    private func count(_ image: RequestRecord.Image) {
        images.increment()
        imageTiles.increment(by: image.tileCount)
        imagePixels.increment(by: image.width * image.height)
        tilesPerImage.record(image.tileCount)
        pixelsPerImage.record(image.width * image.height)
        imageLoad.recordSeconds(image.load)
        imagePreprocess.recordSeconds(image.preprocess)
        // Pixels that the caller decoded have no file.
        guard image.byteCount > 0 else { return }
        imageBytes.increment(by: image.byteCount)
        bytesPerImage.record(image.byteCount)
    }

    /// Shows what the engine is doing.
    ///
    /// - Parameter before: what was shown last.
    func show(_ now: EngineStatistics, after before: EngineStatistics?) {
        running.set(now.runningRequests)
        waiting.set(now.waitingRequests)
        blocks.set(now.totalBlocks)
        usedBlocks.set(now.usedBlocks)
        cachedBlocks.set(now.cachedBlocks)
        preemptions.increment(by: max(0, now.preemptions - (before?.preemptions ?? 0)))
    }
}
