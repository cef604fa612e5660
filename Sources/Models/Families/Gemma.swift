import Checkpoints
import Layers

/// Gemma 2 (arXiv 2408.00118) and 3 (arXiv 2503.19786), the language models. Transformers 5.17.0 `models/gemma2`, `models/gemma3`.
///
/// Norms before and after each part, multiplying by `1 + weight`; embeddings scaled by `√D`; layers with a window between layers that see
/// everything: every other one in Gemma 2, five of six in Gemma 3, where those with a window turn by frequencies of their own.
enum Gemma {
    static let gemma2 = LanguageFamily(
        modelType: "gemma2", architecture: "Gemma2ForCausalLM", names: .gemma, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(
                vocabularySize: 256_000, intermediateSize: 9216, hiddenSize: 2304, layers: 26, heads: 8, kvHeads: 4,
                maxPositions: 8192, headSize: 256)
            var decoder = try Gemma.decoder(config, defaults, windowEvery: 2)
            decoder.attentionSoftcap = try Gemma.softcap(config, "attn_logit_softcapping", default: 50)
            decoder.logitSoftcap = try Gemma.softcap(config, "final_logit_softcapping", default: 30)
            return decoder
        })

    static let gemma3 = LanguageFamily(
        modelType: "gemma3_text", architecture: "Gemma3ForCausalLM", names: .gemma, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(
                vocabularySize: 262_208, intermediateSize: 9216, hiddenSize: 2304, layers: 26, heads: 8, kvHeads: 4,
                maxPositions: 131_072, theta: 1_000_000, headSize: 256)
            let pattern = try config.size("sliding_window_pattern", default: 6, upTo: 4096)
            var decoder = try Gemma.decoder(config, defaults, windowEvery: pattern)
            decoder.headNorms = true
            decoder.attentionSoftcap = try Gemma.softcap(config, "attn_logit_softcapping", default: nil)
            decoder.logitSoftcap = try Gemma.softcap(config, "final_logit_softcapping", default: nil)
            decoder.windowRotary = try Gemma.windowRotary(config, decoder)
            return decoder
        })

    static let family2 = gemma2.family(name: "Gemma 2", formats: "Gemma 2 (transformers)", devicesTested: ["CPU"])
    static let family3 = gemma3.family(
        name: "Gemma 3 text", formats: "Gemma 3 without images (transformers)")

    /// What both share. All layers but the last of each `windowEvery` have a window, unless `layer_types` says which.
    private static func decoder(
        _ config: ConfigReader, _ defaults: DecoderDefaults, windowEvery: Int
    ) throws -> DecoderConfig {
        // Transformers 5 writes an object for each kind of layer.
        let kinds = try config.objectIfPresent("rope_parameters")
        let full = try kinds?.objectIfPresent("full_attention")
        var decoder = try DecoderConfig(config, defaults: defaults, rope: full)
        decoder.activation = try config.activation("hidden_activation", default: "gelu_pytorch_tanh")
        decoder.tiedHead = try config.bool("tie_word_embeddings", default: true)
        decoder.qkvBias = try config.bool("attention_bias", default: false)
        decoder.outputBias = decoder.qkvBias
        decoder.hasUnitNorms = true
        decoder.hasOutputNorms = true
        decoder.embeddingScale = Float(decoder.hiddenSize).squareRoot()
        let scalar = try config.double("query_pre_attn_scalar", default: 256)
        guard scalar > 0 else { throw config.invalid("query_pre_attn_scalar", "is \(scalar), a positive number is needed") }
        decoder.attentionScale = Float(1 / scalar.squareRoot())
        let window = try config.size("sliding_window", default: 4096, upTo: 1 << 30)
        if let types = try config.stringsIfPresent("layer_types") {
            guard types.count == decoder.layers else {
                throw config.invalid("layer_types", "has \(types.count) entries for \(decoder.layers) layers")
            }
            decoder.windows = types.map { $0 == "sliding_attention" ? window : nil }
        } else {
            decoder.windows = (0..<decoder.layers).map { ($0 + 1).isMultiple(of: windowEvery) ? nil : window }
        }
        return decoder
    }

    /// Unscaled frequencies of a base of their own.
    private static func windowRotary(_ config: ConfigReader, _ decoder: DecoderConfig) throws -> RotaryConfig {
        let given = try config.objectIfPresent("rope_parameters")?.objectIfPresent("sliding_attention")
        if let given {
            return try RotaryConfig(
                config, headSize: decoder.headSize, maxPositions: decoder.maxPositions, defaultTheta: 10_000, parameters: given)
        }
        let theta = try config.double("rope_local_base_freq", default: 10_000)
        guard theta > 0 else { throw config.invalid("rope_local_base_freq", "is \(theta), a positive number is needed") }
        return RotaryConfig(rotarySize: decoder.headSize, theta: theta, maxPositions: decoder.maxPositions)
    }

    /// nil where the configuration has null.
    private static func softcap(_ config: ConfigReader, _ key: String, default fallback: Double?) throws -> Float? {
        guard let cap = try config.isNull(key) ? nil : config.doubleIfPresent(key) ?? fallback else { return nil }
        guard cap > 0 else { throw config.invalid(key, "is \(cap), a positive number is needed") }
        return Float(cap)
    }
}
