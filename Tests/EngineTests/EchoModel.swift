import Imaging
import Layers
import Models
import Tensors
import TestKit
import Text

/// A language model whose next token is a hash of everything it can see through the block table: tokens or image features, and their
/// positions. A wrong slot, block, position or chunk border changes its answers.
final class EchoModel: LanguageModel {
    let vocabularySize = 97
    let hiddenSize = 1
    let maxPositions = 4096
    let cacheLayout = KVCacheLayout(layers: 1, kvHeads: 1, headSize: 1)
    let positionAxes = 1
    let parameterCount = 0
    /// Tokens of each pass, to check how work was cut.
    var passes: [Int] = []
    /// How far the rows of each pass see, where some see later positions.
    var ends: [[Int32]] = []
    /// Throws in the pass of this number.
    var failingPass: Int?
    /// Whether the pass that fails does so when it is computed, and not when it is submitted.
    var failsLate = false

    var canBeRecorded = true

    func forward(_ batch: ForwardBatch, cache: KVCache, context: ForwardContext) throws -> Tensor {
        passes.append(batch.tokenCount)
        ends.append(batch.ends)
        let failure =
            passes.count - 1 == failingPass ? TensorError(.deviceFailure, operation: "echo", detail: "was told to fail") : nil
        if let failure, !failsLate { throw failure }
        let hidden = try context.activations(Shape(batch.outputRows.count, 1))
        let inputs = try batch.place(context)
        if context.backend is PlanningBackend { return hidden }
        let (spans, lanes) = (batch.imageSpans, batch.lanes)
        try LateBackend.run(on: context.backend) {
            if let failure {
                // What follows in the stream still runs, over whatever there is.
                hidden.pointer.initializeMemory(as: Float.self, repeating: 0, count: hidden.rows)
                throw failure
            }
            EchoModel.compute(inputs, spans: spans, lanes: lanes, cache: cache, into: hidden)
        }
        return hidden
    }

    /// Reads nothing but what is on the device.
    private static func compute(_ inputs: PassInputs, spans: [ImageSpan], lanes: Tensor?, cache: KVCache, into hidden: Tensor) {
        let keys = cache.layers[0].keys.pointer.assumingMemoryBound(to: Float.self)
        let values = cache.layers[0].values.pointer.assumingMemoryBound(to: Float.self)
        let slots = inputs.slots.int32s
        for row in 0..<inputs.layout.tokens where slots[row] >= 0 {
            var token = inputs.tokenIDs.int32s[row]
            if token < 0, let lanes { token = lanes.int32s[Int(-1 - token)] }
            keys[Int(slots[row])] = Float(token)
            values[Int(slots[row])] = Float(inputs.positions.int32s[row])
        }
        for span in spans {
            let features = span.features.pointer.assumingMemoryBound(to: Float.self)
            for row in 0..<span.features.rows { keys[Int(slots[span.row + row])] = features[row] }
        }
        let starts = (0...inputs.layout.sequences).map { inputs.queryStarts.int32s[$0] }
        for index in 0..<inputs.layout.outputs {
            let row = inputs.outputRows.int32s[index]
            let sequence = starts.lastIndex { $0 <= row } ?? 0
            let length = inputs.contextLengths.int32s[sequence] - (starts[sequence + 1] - 1 - row)
            var hash = EchoHash()
            for position in 0..<max(0, Int(length)) {
                let block = Int(inputs.blockTables.int32s[sequence * inputs.layout.maxBlocks + position / cache.blockSize])
                let slot = block * cache.blockSize + position % cache.blockSize
                hash.add(keys[slot], position: values[slot])
            }
            hidden.pointer.assumingMemoryBound(to: Float.self)[index] = Float(hash.token(of: 97))
        }
    }

    func logits(_ hidden: Tensor, context: ForwardContext) throws -> Tensor {
        let logits = try context.workspace.allocate(Shape(hidden.rows, vocabularySize), dtype: .float32)
        if context.backend is PlanningBackend { return logits }
        let vocabularySize = vocabularySize
        try LateBackend.run(on: context.backend) {
            let values = logits.pointer.assumingMemoryBound(to: Float.self)
            for row in 0..<hidden.rows {
                let token = Int(hidden.pointer.assumingMemoryBound(to: Float.self)[row])
                for id in 0..<vocabularySize { values[row * vocabularySize + id] = id == token ? 4 : Float(id % 7) / 7 }
            }
        }
        return logits
    }
}

extension Tensor {
    var int32s: UnsafeMutablePointer<Int32> { pointer.assumingMemoryBound(to: Int32.self) }
}

/// The rule ``EchoModel`` answers by.
struct EchoHash {
    private var state: UInt64 = 1469

    mutating func add(_ value: Float, position: Float) {
        state = (state &* 1_099_511_628_211) ^ UInt64(value.bitPattern) ^ (UInt64(position.bitPattern) << 17)
    }

    func token(of vocabulary: Int) -> Int { Int((state ^ (state >> 29)) % UInt64(vocabulary)) }

    /// What the model answers to a prompt, computed without an engine.
    static func answer(to prompt: [Float], count: Int, vocabulary: Int = 97) -> [Int32] {
        var hash = EchoHash()
        for (position, value) in prompt.enumerated() { hash.add(value, position: Float(position)) }
        var answer: [Int32] = []
        for step in 0..<count {
            let token = hash.token(of: vocabulary)
            answer.append(Int32(token))
            hash.add(Float(token), position: Float(prompt.count + step))
        }
        return answer
    }
}

/// Writes each image's pixels as its feature rows.
final class EchoEncoder: VisionEncoder {
    let featureSize = 1
    let parameterCount = 0
    /// Images of each pass.
    var passes: [Int] = []

    /// Bytes of workspace it takes for each row.
    var bytesPerRow = 0

    func encode(_ images: [ProcessedImage], context: ForwardContext, into features: [Tensor]) throws {
        let rows = images.reduce(0) { $0 + $1.dimensions[0] }
        if bytesPerRow > 0 { _ = try context.workspace.allocate(Shape(rows, bytesPerRow), dtype: .uint8) }
        if context.backend is PlanningBackend { return }
        passes.append(images.count)
        for (image, feature) in zip(images, features) {
            guard !image.pixels.contains(-1) else {
                throw ModelError(.unsupportedImage, subject: "image", detail: "was made to fail")
            }
            try LateBackend.run(on: context.backend) {
                for (row, value) in image.pixels.enumerated() {
                    feature.pointer.assumingMemoryBound(to: Float.self)[row] = value
                }
            }
        }
    }
}

/// One row for each picture; the largest has eight.
struct EchoImageProcessor: ImageProcessor {
    func process(_ image: RGBImage, options: ImageOptions) -> ProcessedImage {
        ProcessedImage(pixels: [1], dimensions: [1], tokenCount: 1)
    }

    func mostRows(_ options: ImageOptions) -> Int { 8 }
}

/// Token 1 is "a", 2 is "b" … in a repeating alphabet; token 0 is special.
struct LetterTokenizer: Tokenizer {
    let vocabularySize = 97
    let bosToken: String? = nil
    let eosToken: String? = nil
    let padToken: String? = nil
    let unkToken: String? = nil

    func encode(_ text: String, addSpecialTokens: Bool) -> [Int32] { text.utf8.map { Int32($0) - 96 } }
    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String { ids.compactMap(token).joined() }
    func tokenID(_ token: String) -> Int32? { token == "<image>" ? 0 : nil }
    func token(_ id: Int32) -> String? { String(UnicodeScalar(UInt8(97 + (id + 25) % 26))) }
    func isSpecial(_ id: Int32) -> Bool { id == 0 }
    func makeStreamDecoder(skipSpecialTokens: Bool) -> any TokenStreamDecoder { Letters(tokenizer: self) }

    private struct Letters: TokenStreamDecoder {
        let tokenizer: LetterTokenizer
        func append(_ id: Int32) -> String { tokenizer.decode([id], skipSpecialTokens: true) }
        func flush() -> String { "" }
    }
}
