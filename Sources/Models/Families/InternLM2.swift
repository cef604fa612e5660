import Checkpoints
import Layers

/// InternLM2 and 2.5 (arXiv 2403.17297): Llama whose queries, keys and values are packed by group in `wqkv`.
/// After `modeling_internlm2.py` of internlm/internlm2-chat-7b.
enum InternLM2 {
    static let language = LanguageFamily(
        modelType: "internlm2", architecture: "InternLM2ForCausalLM", names: .internLM2, headName: "output",
        decoder: { config in
            let defaults = DecoderDefaults(vocabularySize: 103_168, intermediateSize: 11_008, maxPositions: 2_048)
            var decoder = try DecoderConfig(config, defaults: defaults)
            decoder.qkvBias = try config.bool("bias", default: true)
            decoder.outputBias = decoder.qkvBias
            return decoder
        })

    static let family = language.family(name: "InternLM2", formats: "InternLM2, InternLM2.5 (remote code)")
}
