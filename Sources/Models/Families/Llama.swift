import Checkpoints
import Layers

/// Llama 1 to 3 and models of their shape. Transformers 5.17.0 `models/llama`.
enum Llama {
    static let language = LanguageFamily(
        modelType: "llama", architecture: "LlamaForCausalLM", names: .llama, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(vocabularySize: 32_000, intermediateSize: 11_008, maxPositions: 2_048)
            var decoder = try DecoderConfig(config, defaults: defaults)
            decoder.qkvBias = try config.bool("attention_bias", default: false)
            decoder.outputBias = decoder.qkvBias
            decoder.mlpBias = try config.bool("mlp_bias", default: false)
            return decoder
        })

    static let family = language.family(name: "Llama", formats: "Llama 1, 2, 3 and models of their shape (transformers)")
}
