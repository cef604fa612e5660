import Layers
import Models
import Tensors

/// The feature rows `[tokens, D]` of one image and the memory they live in.
struct ImageFeatures {
    let tensor: Tensor
    let owner: any DeviceBuffer
}

/// Runs the vision encoder over images of one or several sequences, a bounded number at a time.
final class ImageEncoder {
    private let encoder: any VisionEncoder
    private let backend: any Backend
    private let maxBatchSize: Int
    private var workspace: Workspace?

    init(encoder: any VisionEncoder, backend: any Backend, maxBatchSize: Int) {
        self.encoder = encoder
        self.backend = backend
        self.maxBatchSize = maxBatchSize
    }

    /// Fills the `features` of `sequences`. A sequence whose images fail is handed to `failed`; the others go on.
    func encode(_ sequences: [SequenceState], failed: (SequenceState, any Error) -> Void) {
        var pending: [(sequence: SequenceState, image: Int)] = []
        for sequence in sequences {
            for image in sequence.features.count..<sequence.request.images.count { pending.append((sequence, image)) }
        }
        var broken: [ObjectIdentifier] = []
        var first = 0
        while first < pending.count {
            let group = pending[first..<min(first + maxBatchSize, pending.count)].filter {
                !broken.contains(ObjectIdentifier($0.sequence))
            }
            first += maxBatchSize
            guard !group.isEmpty else { continue }
            do {
                try run(group)
            } catch {
                for (sequence, _) in group where !broken.contains(ObjectIdentifier(sequence)) {
                    broken.append(ObjectIdentifier(sequence))
                    failed(sequence, error)
                }
            }
        }
    }

    private func run(_ group: [(sequence: SequenceState, image: Int)]) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let outputs = try encodeTogether(group.map { $0.sequence.request.images[$0.image] })
        let seconds = (clock.now - start) / .seconds(1)
        for ((sequence, image), output) in zip(group, outputs) {
            sequence.features.append(output)
            // The pass is every sequence's wait, so each counts it once, with its first image of the group.
            if image == group.first(where: { $0.sequence === sequence })?.image { sequence.response.timings.vision += seconds }
        }
    }

    /// Features of `images`, at most ``maxBatchSize`` at a time.
    func encode(_ images: [ProcessedImage]) throws -> [ImageFeatures] {
        try stride(from: 0, to: images.count, by: maxBatchSize).flatMap {
            try encodeTogether(Array(images[$0..<min($0 + maxBatchSize, images.count)]))
        }
    }

    private func encodeTogether(_ images: [ProcessedImage]) throws -> [ImageFeatures] {
        let outputs = try images.map { image in
            let shape = Shape(image.tokenCount, encoder.featureSize)
            let owner = try backend.allocate(byteCount: shape.count * backend.activationType.size, purpose: "image features")
            return ImageFeatures(
                tensor: Tensor(pointer: owner.pointer, dtype: backend.activationType, shape: shape), owner: owner)
        }
        let features = outputs.map(\.tensor)
        let context = ForwardContext(backend: backend, workspace: try workspace(for: images, features))
        try context.workspace.scope { try encoder.encode(images, context: context, into: features) }
        return outputs
    }

    /// A workspace large enough for these images: the encoder is run without computing to learn what it needs.
    private func workspace(for images: [ProcessedImage], _ features: [Tensor]) throws -> Workspace {
        let needed = try MemoryPlan.visionBytes(encoder, images: images, features: features, like: backend)
        if let workspace, workspace.capacity >= needed { return workspace }
        workspace = nil
        let grown = try Workspace(backend: backend, byteCount: needed)
        workspace = grown
        return grown
    }
}
