package import Tensors

/// A decoder-only language model with rotary positions and a paged cache, built from a ``DecoderConfig``.
///
/// Qwen2, Qwen3, Llama, Mistral, InternLM2 and Gemma are this model with different numbers and names.
package final class DecoderModel: LanguageModel {
    package let config: DecoderConfig
    package let parameterCount: Int
    private let embedding: Parameter
    private let layers: [DecoderLayer]
    private let finalNorm: Parameter
    private let head: LinearWeight
    private let rotary: RotaryTables
    /// Of layers with a window, where it is another.
    private let windowRotary: RotaryTables?

    /// Binds the weights.
    ///
    /// - Parameters:
    ///   - body: the scope that holds the embedding, the layers and the final norm.
    ///   - headName: full name of the head, without `.weight`.
    package init(_ config: DecoderConfig, names: DecoderNames = .llama, body: LayerScope, headName: String) throws {
        let loader = body.loader
        let before = loader.parameterCount
        self.config = config
        let table = try body.host("\(names.embedding).weight", [config.vocabularySize, config.hiddenSize])
        embedding = try body.parameter(table, dtype: table.dtype)
        layers = try (0..<config.layers).map { index in
            try DecoderLayer(body[names.layers][index], index: index, config: config, names: names)
        }
        finalNorm = try body.normWeight("\(names.finalNorm).weight", config.hiddenSize, plusOne: config.hasUnitNorms)
        // As transformers 5 ties: a head that is in the file is used, whatever the configuration says.
        if config.tiedHead, !loader.has("\(headName).weight") {
            head = try loader.root.makeLinear([table], bias: nil)
        } else {
            head = try loader.root.linear(headName, in: config.hiddenSize, out: config.vocabularySize, bias: false)
        }
        rotary = try RotaryTables(config.rotary, backend: loader.backend)
        windowRotary = try config.windowRotary.map { try RotaryTables($0, backend: loader.backend) }
        parameterCount = loader.parameterCount - before
    }

    package var vocabularySize: Int { config.vocabularySize }
    package var hiddenSize: Int { config.hiddenSize }
    package var maxPositions: Int { config.maxPositions }
    package var longestSession: Int {
        guard case .dynamic(let factor) = config.rotary.scaling, factor > 1 else { return maxPositions }
        return Int(min(Double(maxPositions) * factor, Double(1 << 30)))
    }
    package var positionAxes: Int { rotary.axisCount }
    package var canBeRecorded: Bool { rotary.dependsOnPositionsOnly && windowRotary?.dependsOnPositionsOnly != false }
    package var cacheLayout: KVCacheLayout {
        KVCacheLayout(layers: config.layers, kvHeads: config.kvHeads, headSize: config.headSize)
    }

    package func forward(_ batch: ForwardBatch, cache: KVCache, context: ForwardContext) throws -> Tensor {
        precondition(batch.tokenCount > 0 && batch.slots.count == batch.tokenCount, "an incomplete batch")
        let trimmed = batch.outputRows.count < batch.tokenCount
        let out = try context.activations(Shape(batch.outputRows.count, config.hiddenSize))
        try context.workspace.scope {
            // Without trimming the residual stream may live in the output itself.
            let x = trimmed ? try context.activations(Shape(batch.tokenCount, config.hiddenSize)) : out
            let inputs = try batch.place(context)
            try embed(batch, inputs: inputs, context: context, into: x)
            let pass = try makePass(batch, inputs: inputs, context: context)
            for (index, (layer, layerCache)) in zip(layers.dropLast(trimmed ? 1 : 0), cache.layers).enumerated() {
                try layer.forward(x, cache: layerCache, pass: pass)
                try addFeatures(of: batch, afterLayer: index, context: context, into: x)
            }
            if trimmed, let layer = layers.last, let layerCache = cache.layers.last {
                try layer.forwardLast(x, rows: inputs.outputRows, cache: layerCache, pass: pass, into: out)
            }
            if out.rows > 0 {
                try context.backend.rmsNorm(out, weight: finalNorm.tensor, epsilon: config.normEpsilon, into: out)
            }
        }
        return out
    }

    package func logits(_ hidden: Tensor, context: ForwardContext) throws -> Tensor {
        let out = try context.workspace.allocateAligned(rows: hidden.rows, width: config.vocabularySize, dtype: .float32)
        try context.backend.linear(hidden, head, epilogue: .store, into: out)
        if let cap = config.logitSoftcap {
            try context.backend.scale(out, by: 1 / cap)
            try context.backend.activate(out, .tanh)
            try context.backend.scale(out, by: cap)
        }
        return out
    }

    /// Token embeddings, with the rows of images replaced by their features.
    private func embed(_ batch: ForwardBatch, inputs: PassInputs, context: ForwardContext, into x: Tensor) throws {
        try context.backend.gatherRows(embedding.tensor, indices: inputs.tokenIDs, lanes: batch.lanes, into: x)
        if let scale = config.embeddingScale { try context.backend.scale(x, by: context.rounded(scale)) }
        for span in batch.imageSpans {
            let features = StackedFeatures(span.features, width: config.hiddenSize)
            try context.backend.copy(features.embeddings, into: x.rows(span.rows))
        }
    }

    /// What images add to the output of a layer.
    private func addFeatures(
        of batch: ForwardBatch, afterLayer index: Int, context: ForwardContext, into x: Tensor
    ) throws {
        for span in batch.imageSpans {
            let features = StackedFeatures(span.features, width: config.hiddenSize)
            guard let addition = features.addition(afterLayer: index) else { continue }
            try context.backend.add(addition, into: x.rows(span.rows))
        }
    }

    private func makePass(_ batch: ForwardBatch, inputs: PassInputs, context: ForwardContext) throws -> DecoderPass {
        let angles = try rotary.tables(batch, inputs: inputs, context: context)
        let windowAngles = try windowRotary.map { try $0.tables(batch, inputs: inputs, context: context) }
        let paged = PagedBatch(
            queryStarts: inputs.queryStarts, contextLengths: inputs.contextLengths, blockTables: inputs.blockTables,
            hostQueryStarts: batch.queryStarts, hostContextLengths: batch.contextLengths, ends: inputs.ends,
            hostEnds: batch.ends)
        return DecoderPass(
            context: context, angles: angles, windowAngles: windowAngles ?? angles, slots: inputs.slots, paged: paged)
    }
}
