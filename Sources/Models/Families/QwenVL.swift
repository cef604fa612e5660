import Checkpoints
import Layers

/// Qwen2-VL (arXiv 2409.12191) and Qwen2.5-VL (arXiv 2502.13923): pictures at their own resolution, M-RoPE.
/// Transformers 5.17.0 `models/qwen2_vl`, `models/qwen2_5_vl`.
enum QwenVL {
    static let qwen2 = family(name: "Qwen2-VL", architecture: "Qwen2VLForConditionalGeneration", vision: vision2)
    static let qwen25 = family(name: "Qwen2.5-VL", architecture: "Qwen2_5_VLForConditionalGeneration", vision: vision25)

    private static func family(
        name: String, architecture: String, vision: @escaping @Sendable (ConfigReader) throws -> QwenVisionConfig
    ) -> ModelFamily {
        QwenParts.family(
            name: name, architecture: architecture, formats: "as published, and as transformers 5 saves it",
            devicesTested: ["CPU", "H100"],
            // Names before and after transformers 4.52; the later ones are asked for.
            rename: [
                PrefixRename("model.visual", to: "model.visual"),
                PrefixRename("model.language_model", to: "model.language_model"),
                PrefixRename("visual", to: "model.visual"),
                PrefixRename("model", to: "model.language_model"),
            ],
            decoder: decoder, vision: vision)
    }

    private static func decoder(_ config: ConfigReader) throws -> DecoderConfig {
        let defaults = DecoderDefaults(
            vocabularySize: 152_064, intermediateSize: 29_568, hiddenSize: 8192, layers: 80, heads: 64, kvHeads: 8,
            maxPositions: 32_768, epsilon: 1e-5, theta: 1_000_000, maxWindowLayers: 80)
        var decoder = try DecoderConfig(config, defaults: defaults, sections: [16, 24, 24])
        decoder.qkvBias = true
        try decoder.readWindows(config, defaults: defaults)
        return decoder
    }

    private static func vision2(_ config: ConfigReader) throws -> QwenVisionConfig {
        let width = try config.size("embed_dim", default: 1280)
        let ratio = try config.double("mlp_ratio", default: 4)
        guard ratio > 0, ratio <= 1024 else { throw config.invalid("mlp_ratio", "is \(ratio), a positive number is needed") }
        let activation = try config.activation("hidden_act", default: "quick_gelu")
        return try QwenVisionConfig(
            config, width: width, intermediateSize: Int(Double(width) * ratio),
            outputWidth: config.size("hidden_size", default: 3584), norm: .layer,
            mlp: .plain(first: "mlp.fc1", second: "mlp.fc2", activation))
    }

    private static func vision25(_ config: ConfigReader) throws -> QwenVisionConfig {
        let activation = try config.activation("hidden_act", default: "silu")
        var vision = try QwenVisionConfig(
            config, width: config.size("hidden_size", default: 3584),
            intermediateSize: config.size("intermediate_size", default: 3420),
            outputWidth: config.size("out_hidden_size", default: 3584), norm: .rms,
            mlp: .gated(gate: "mlp.gate_proj", up: "mlp.up_proj", down: "mlp.down_proj", activation))
        let side = try config.size("window_size", default: 112) / vision.mergeSize / vision.patchSize
        guard side > 0 else { throw config.invalid("window_size", "is smaller than one merged patch") }
        vision.window = (side, Set(try config.ints("fullatt_block_indexes", default: [7, 15, 23, 31])))
        return vision
    }
}
