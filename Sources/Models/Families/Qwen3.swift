import Checkpoints
import Layers

/// Qwen3, dense (arXiv 2505.09388): queries and keys are normed head by head. Transformers 5.17.0 `models/qwen3`.
enum Qwen3 {
    static let language = LanguageFamily(
        modelType: "qwen3", architecture: "Qwen3ForCausalLM", names: .llama, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(
                vocabularySize: 151_936, intermediateSize: 22_016, kvHeads: 32, maxPositions: 32_768, headSize: 128)
            var decoder = try DecoderConfig(config, defaults: defaults)
            decoder.qkvBias = try config.bool("attention_bias", default: false)
            decoder.outputBias = decoder.qkvBias
            decoder.headNorms = true
            try decoder.readWindows(config, defaults: defaults)
            return decoder
        })

    static let family = language.family(name: "Qwen3", formats: "Qwen3 dense (transformers)")
}
