import Imaging
import Layers
import Models
import Tensors

/// The feature rows `[tokens, D]` of one image and the memory they live in.
struct ImageFeatures {
    let tensor: Tensor
    let owner: any DeviceBuffer
}

/// Runs the vision encoder over images of one or several sequences, a bounded number and a bounded workspace at a time.
final class ImageEncoder {
    private let encoder: any VisionEncoder
    private let backend: any Backend
    /// Most images in a pass.
    let maxBatchSize: Int
    /// Most bytes of workspace, from the memory plan.
    private let byteLimit: Int
    private var workspace: Workspace?
    private var knownBytes: [[[Int]]: Int] = [:]

    init(encoder: any VisionEncoder, backend: any Backend, maxBatchSize: Int, byteLimit: Int) {
        self.encoder = encoder
        self.backend = backend
        self.maxBatchSize = maxBatchSize
        self.byteLimit = byteLimit
    }

    /// Images encoded and passes run since the start.
    private(set) var imageCount = 0
    private(set) var passCount = 0

    /// Bytes of an image's features.
    func featureBytes(_ image: ProcessedImage) -> Int {
        image.tokenCount * encoder.featureSize * backend.activationType.size
    }

    /// Encodes the items' images, each of which must be another, and hands out their features, or what went wrong for each that failed;
    /// the others go on.
    func encode(
        _ items: [ImageFeatureStore.Item], done: (ImageFeatureStore.Item, ImageFeatures) -> Void,
        failed: (ImageFeatureStore.Item, any Error) -> Void
    ) {
        for first in stride(from: 0, to: items.count, by: maxBatchSize) {
            let group = items[first..<min(first + maxBatchSize, items.count)].filter { !$0.sequence.isDone }
            if let outputs = try? run(group) {
                for (item, output) in zip(group, outputs) { done(item, output) }
                continue
            }
            // Something in the group failed: each image alone tells whose it was.
            for item in group where !item.sequence.isDone {
                do {
                    for output in try run([item]) { done(item, output) }
                } catch {
                    failed(item, error)
                }
            }
        }
    }

    private func run(_ group: [ImageFeatureStore.Item]) throws -> [ImageFeatures] {
        let asynchronous = backend as? any AsynchronousBackend
        let clock = ContinuousClock()
        let start = clock.now
        let before = try asynchronous?.mark()
        let outputs = try encodeTogether(group.map { $0.sequence.images[$0.image].content })
        let after = try asynchronous?.mark()
        let seconds = (clock.now - start) / .seconds(1)
        for item in group {
            // The pass is every sequence's wait, so each counts it once, with its first image of the group.
            guard item.image == group.first(where: { $0.sequence === item.sequence })?.image else { continue }
            if let before, let after {
                item.sequence.visionPasses.append((before, after))
            } else {
                item.sequence.response.timings.vision += seconds
            }
        }
        return outputs
    }

    /// Encodes as many blank pictures as a pass takes, so that the first request finds kernels compiled and memory allocated.
    func warmUp(_ processor: any ImageProcessor) throws {
        let side = 448
        let blank = try RGBImage(width: side, height: side, pixels: [UInt8](repeating: 0, count: side * side * 3))
        let image = try processor.process(blank, options: ImageOptions(maxTiles: 1))
        // The second time a pass may be recorded.
        for _ in 0..<2 { _ = try encode([image]) }
        try backend.synchronize()
    }

    /// Features of `images`, at most ``maxBatchSize`` at a time.
    func encode(_ images: [ProcessedImage]) throws -> [ImageFeatures] {
        try stride(from: 0, to: images.count, by: maxBatchSize).flatMap {
            try encodeTogether(Array(images[$0..<min($0 + maxBatchSize, images.count)]))
        }
    }

    /// One pass, or several when the images together need more workspace than there may be.
    private func encodeTogether(_ images: [ProcessedImage]) throws -> [ImageFeatures] {
        guard !images.isEmpty else { return [] }
        let outputs = try images.map { image in
            let shape = Shape(image.tokenCount, encoder.featureSize)
            let owner = try backend.allocate(byteCount: shape.count * backend.activationType.size, purpose: "image features")
            return ImageFeatures(
                tensor: Tensor(pointer: owner.pointer, dtype: backend.activationType, shape: shape), owner: owner)
        }
        let features = outputs.map(\.tensor)
        let needed = try workspaceBytes(images, features)
        if needed > byteLimit {
            guard images.count > 1 else { throw tooLarge(images[0], "the image", needed: needed) }
            let half = images.count / 2
            return try encodeTogether(Array(images[..<half])) + encodeTogether(Array(images[half...]))
        }
        let context = ForwardContext(backend: backend, workspace: try workspace(of: needed))
        try context.workspace.scope { try encoder.encode(images, context: context, into: features) }
        imageCount += images.count
        passCount += 1
        return outputs
    }

    /// - Throws: ``EngineError`` of kind `outOfMemory` when the image can never be encoded in the memory there is.
    func check(_ image: ProcessedImage, index: Int) throws {
        // Only the shape counts, which no memory is needed to tell.
        let planner = PlanningBackend(
            device: backend.device, activationType: backend.activationType, cacheType: backend.cacheType, weightType: .float32)
        let features = try Workspace(backend: planner, byteCount: .max / 4)
            .allocate(Shape(image.tokenCount, encoder.featureSize), dtype: backend.activationType)
        let needed = try workspaceBytes([image], [features])
        guard needed <= byteLimit else { throw tooLarge(image, "image \(index)", needed: needed) }
    }

    private func tooLarge(_ image: ProcessedImage, _ name: String, needed: Int) -> EngineError {
        EngineError(
            .outOfMemory,
            "encoding \(name) of \(image.tokenCount) tokens needs \(MemoryPlan.format(needed)) of workspace, "
                + "\(MemoryPlan.format(byteLimit)) are planned; use a smaller image, or lower maxPixels or maxTiles")
    }

    /// What the encoder needs for images of these shapes, learned by running it without computing, and remembered.
    private func workspaceBytes(_ images: [ProcessedImage], _ features: [Tensor]) throws -> Int {
        let shapes = images.map { $0.dimensions + $0.grid + [$0.pendingBytes] }
        if let bytes = knownBytes[shapes] { return bytes }
        let bytes = try MemoryPlan.visionBytes(encoder, images: images, features: features, like: backend)
        if knownBytes.count >= 256 { knownBytes.removeAll() }
        knownBytes[shapes] = bytes
        return bytes
    }

    private func workspace(of byteCount: Int) throws -> Workspace {
        if let workspace, workspace.capacity >= byteCount { return workspace }
        workspace = nil
        let grown = try Workspace(backend: backend, byteCount: byteCount)
        workspace = grown
        return grown
    }
}
