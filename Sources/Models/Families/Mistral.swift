import Checkpoints
import Layers

/// Mistral 7B (arXiv 2310.06825) and models of its shape: Llama with a sliding window. Transformers 5.17.0 `models/mistral`.
enum Mistral {
    static let language = LanguageFamily(
        modelType: "mistral", architecture: "MistralForCausalLM", names: .llama, headName: "lm_head",
        decoder: { config in
            let defaults = DecoderDefaults(
                vocabularySize: 32_000, intermediateSize: 14_336, kvHeads: 8, maxPositions: 4096 * 32)
            var decoder = try DecoderConfig(config, defaults: defaults)
            // null, as later versions have it, turns the window off.
            if !config.isNull("sliding_window") {
                let window = try config.size("sliding_window", default: 4096, upTo: 1 << 30)
                decoder.windows = [Int?](repeating: window, count: decoder.layers)
            }
            return decoder
        })

    static let family = language.family(
        name: "Mistral", formats: "Mistral 7B and models of its shape (transformers)")
}
