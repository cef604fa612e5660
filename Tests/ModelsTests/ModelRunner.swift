import Layers
import Models
import Tensors
import TestKit

/// Drives a model as an engine would, one pass at a time, with blocks that are deliberately out of order.
final class ModelRunner {
    /// A sequence with its cached length and its blocks.
    struct Sequence {
        fileprivate var blocks: [Int32]
        var length = 0
    }

    /// Tokens of one sequence in a pass.
    struct Part {
        let sequence: Int
        let tokens: [Int32]
        let positions: [[Int32]]
        /// Feature rows with their row inside `tokens`.
        var images: [(row: Int, features: Tensor)] = []
        /// Rows of `tokens` whose logits are wanted.
        var outputs: [Int]
    }

    let model: LoadedModel
    let backend: any Backend
    private let workspace: Workspace
    private let cache: KVCache
    private let blockSize = 16
    private(set) var sequences: [Sequence] = []
    private var freeBlocks: [Int32]
    private var featureMemory: [any DeviceBuffer] = []

    init(_ model: LoadedModel, backend: any Backend, blocks: Int = 48, workspaceBytes: Int = 8 << 20) throws {
        self.model = model
        self.backend = backend
        workspace = try Workspace(backend: backend, byteCount: workspaceBytes)
        cache = try KVCache(layout: model.language.cacheLayout, blockCount: blocks, blockSize: blockSize, backend: backend)
        // Neighbours in a sequence are not neighbours in memory.
        freeBlocks = (0..<Int32(blocks)).map { $0 * 7 % Int32(blocks) }
    }

    var workspaceHighWater: Int { workspace.highWater }

    func addSequence() -> Int {
        sequences.append(Sequence(blocks: []))
        return sequences.count - 1
    }

    /// Logits `[V]` of each wanted row, in order.
    func run(_ parts: [Part]) throws -> [[Float]] {
        var batch = ForwardBatch()
        batch.positions = [[Int32]](repeating: [], count: model.language.positionAxes)
        var tables: [[Int32]] = []
        for part in parts {
            let first = batch.tokenCount
            var sequence = sequences[part.sequence]
            batch.tokenIDs += part.tokens
            for axis in batch.positions.indices { batch.positions[axis] += part.positions[axis] }
            while sequence.blocks.count * blockSize < sequence.length + part.tokens.count {
                sequence.blocks.append(freeBlocks.removeLast())
            }
            for index in 0..<part.tokens.count {
                let position = sequence.length + index
                batch.slots.append(sequence.blocks[position / blockSize] * Int32(blockSize) + Int32(position % blockSize))
            }
            if model.spanRule != .causal {
                let start = sequence.length
                let spans =
                    model.spanRule == .prompt
                    ? [0..<part.tokens.count] : part.images.map { start + $0.row..<start + $0.row + $0.features.rows }
                batch.appendEnds(of: start..<start + part.tokens.count, spans: start == 0 ? spans : [])
            }
            sequence.length += part.tokens.count
            batch.queryStarts.append(Int32(batch.tokenCount))
            batch.contextLengths.append(Int32(sequence.length))
            batch.imageSpans += part.images.map { ImageSpan(row: first + $0.row, features: $0.features) }
            batch.outputRows += part.outputs.map { Int32(first + $0) }
            tables.append(sequence.blocks)
            sequences[part.sequence] = sequence
        }
        batch.maxBlocks = tables.map(\.count).max() ?? 0
        batch.blockTables = tables.flatMap { $0 + [Int32](repeating: 0, count: batch.maxBlocks - $0.count) }
        return try workspace.scope {
            let context = ForwardContext(backend: backend, workspace: workspace)
            let hidden = try model.language.forward(batch, cache: cache, context: context)
            guard hidden.rows > 0 else { return [] }
            let logits = try download(try model.language.logits(hidden, context: context))
            let width = model.language.vocabularySize
            return (0..<hidden.rows).map { Array(logits[$0 * width..<($0 + 1) * width]) }
        }
    }

    /// Feature rows of images, encoded in one call, in memory that lives as long as this object.
    func encode(_ images: [ProcessedImage]) throws -> [Tensor] {
        guard let vision = model.vision, !images.isEmpty else { return [] }
        let features = try images.map { image in
            let shape = Shape(image.tokenCount, vision.featureSize)
            let buffer = try backend.allocate(byteCount: shape.count * backend.activationType.size, purpose: "features")
            featureMemory.append(buffer)
            return Tensor(pointer: buffer.pointer, dtype: backend.activationType, shape: shape)
        }
        try vision.encode(images, context: ForwardContext(backend: backend, workspace: workspace), into: features)
        return features
    }

    func download(_ tensor: Tensor) throws -> [Float] {
        precondition(tensor.dtype == .float32, "tests read float32")
        return try [Float](unsafeUninitializedCapacity: tensor.count) { buffer, count in
            try backend.download(tensor, into: UnsafeMutableRawBufferPointer(buffer))
            count = tensor.count
        }
    }

    /// A prompt as one part: image tokens get the features in order, which may lie in several runs.
    func prompt(
        _ tokens: [Int32], images: [ProcessedImage], features: [Tensor], imageTokenID: Int32?, allRows: Bool = false
    ) throws -> (part: Part, nextPosition: Int32) {
        let (positions, next) = try model.positions(tokenIDs: tokens, images: images)
        var spans: [(row: Int, features: Tensor)] = []
        var row = 0
        var (used, taken) = (0, 0)
        while row < tokens.count {
            guard tokens[row] == imageTokenID, used < features.count else {
                row += 1
                continue
            }
            let run = tokens[row...].prefix { $0 == imageTokenID }.count
            let count = min(run, features[used].rows - taken)
            spans.append((row, features[used].rows(taken..<taken + count)))
            row += count
            taken += count
            if taken == features[used].rows { (used, taken) = (used + 1, 0) }
        }
        precondition(used == features.count, "the prompt has places for \(used) of \(features.count) images")
        let outputs = allRows ? Array(tokens.indices) : [tokens.count - 1]
        return (Part(sequence: addSequence(), tokens: tokens, positions: positions, images: spans, outputs: outputs), next)
    }

    /// One decoding step of a sequence.
    func step(_ sequence: Int, token: Int32, position: Int32) throws -> [Float] {
        let positions = [[Int32]](repeating: [position], count: model.language.positionAxes)
        return try run([Part(sequence: sequence, tokens: [token], positions: positions, outputs: [0])])[0]
    }
}

/// Splits a part into consecutive parts of at most `size` tokens; only the last gives outputs.
func chunks(_ part: ModelRunner.Part, size: Int) -> [ModelRunner.Part] {
    stride(from: 0, to: part.tokens.count, by: size).map { start in
        let range = start..<min(start + size, part.tokens.count)
        let images = part.images.compactMap { image -> (row: Int, features: Tensor)? in
            let rows = (image.row..<image.row + image.features.rows).clamped(to: range)
            guard !rows.isEmpty else { return nil }
            return (rows.lowerBound - start, image.features.rows(rows.lowerBound - image.row..<rows.upperBound - image.row))
        }
        return ModelRunner.Part(
            sequence: part.sequence, tokens: Array(part.tokens[range]), positions: part.positions.map { Array($0[range]) },
            images: images, outputs: part.outputs.filter { range.contains($0) }.map { $0 - start })
    }
}
