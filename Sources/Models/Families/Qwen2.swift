import Checkpoints
import Layers

/// Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with biased queries, keys and values. Transformers 5.17.0 `models/qwen2`.
enum Qwen2 {
    static let language = LanguageFamily(
        modelType: "qwen2", architecture: "Qwen2ForCausalLM", names: .llama, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(vocabularySize: 151_936, intermediateSize: 22_016, kvHeads: 32, maxPositions: 32_768)
            var decoder = try DecoderConfig(config, defaults: defaults)
            decoder.qkvBias = true
            try decoder.readWindows(config, defaults: defaults)
            return decoder
        })

    static let family = language.family(name: "Qwen2", formats: "Qwen2, Qwen2.5 (transformers)")
}
