import Checkpoints
import Layers
import Tensors

/// Qwen2-VL (arXiv 2409.12191) and Qwen2.5-VL (arXiv 2502.13923): pictures at their own resolution, M-RoPE.
/// Transformers 5.17.0 `models/qwen2_vl`, `models/qwen2_5_vl`.
enum QwenVL {
    static let qwen2 = family(
        name: "Qwen2-VL", architecture: "Qwen2VLForConditionalGeneration", vision: QwenVisionConfig.qwen2)
    static let qwen25 = family(
        name: "Qwen2.5-VL", architecture: "Qwen2_5_VLForConditionalGeneration", vision: QwenVisionConfig.qwen25)

    /// Names before and after transformers 4.52; the family asks for the later ones.
    private static let rename = [
        PrefixRename("model.visual", to: "model.visual"),
        PrefixRename("model.language_model", to: "model.language_model"),
        PrefixRename("visual", to: "model.visual"),
        PrefixRename("model", to: "model.language_model"),
    ]

    private static func family(
        name: String, architecture: String, vision: @escaping @Sendable (ConfigReader) throws -> QwenVisionConfig
    ) -> ModelFamily {
        ModelFamily(
            name: name, architectures: [architecture], formats: "as published, and as transformers 5 saves it",
            inputs: [.text, .images], rename: { _ in rename },
            build: { checkpoint, loader in
                let config = checkpoint.config
                let text = try config.objectIfPresent("text_config") ?? config
                let visionConfig = try vision(try config.object("vision_config"))
                var decoder = try decoder(text)
                decoder.tiedHead = try decoder.tiedHead || config.bool("tie_word_embeddings", default: false)
                guard visionConfig.outputWidth == decoder.hiddenSize else {
                    throw config.invalid(
                        "vision_config",
                        "gives features of width \(visionConfig.outputWidth) to a model of width \(decoder.hiddenSize)")
                }
                let language = try DecoderModel(
                    decoder, body: loader.root["model.language_model"], headName: "lm_head")
                let encoder = try QwenVisionEncoder(visionConfig, loader.root["model.visual"])
                let imageToken = try config.token("image_token_id", default: 151_655)
                return LoadedModel(
                    family: name, language: language, vision: encoder,
                    imageProcessor: try QwenImageProcessor(checkpoint, vision: visionConfig),
                    promptRule: promptRule(imageToken: imageToken), eosTokenIDs: try checkpoint.eosTokenIDs(text: text),
                    positionRule: .multimodal(imageTokenID: imageToken, mergeSize: visionConfig.mergeSize))
            })
    }

    private static func decoder(_ config: ConfigReader) throws -> DecoderConfig {
        let defaults = DecoderDefaults(
            vocabularySize: 152_064, intermediateSize: 29_568, hiddenSize: 8192, layers: 80, heads: 64, kvHeads: 8,
            maxPositions: 32_768, epsilon: 1e-5, theta: 1_000_000, maxWindowLayers: 80)
        var decoder = try DecoderConfig(config, defaults: defaults, multimodal: true)
        decoder.qkvBias = true
        try decoder.readWindows(config, defaults: defaults)
        return decoder
    }

    /// The chat template writes one pad token per image between the vision markers.
    private static func promptRule(imageToken: Int32) -> PromptRule {
        let token = "<|image_pad|>"
        return PromptRule(
            imagePlaceholder: token, imageToken: token, configuredImageTokenID: imageToken,
            expansion: { String(repeating: token, count: $0.tokenCount) })
    }
}

/// The vision tower of Qwen2-VL and Qwen2.5-VL in numbers.
struct QwenVisionConfig: Sendable {
    var layers: Int
    var width: Int
    var heads: Int
    var intermediateSize: Int
    var outputWidth: Int
    var channels: Int
    var patchSize: Int
    var temporalPatchSize: Int
    var mergeSize: Int
    var norm: Norm.Kind
    var gated: Bool
    var activation: Activation
    var theta: Double
    /// Side of an attention window in merged patches, and the layers that ignore windows; nil without windows.
    var window: (side: Int, fullLayers: Set<Int>)?

    /// Features of one flattened patch.
    var patchFeatures: Int { channels * temporalPatchSize * patchSize * patchSize }

    static let qwen2: @Sendable (ConfigReader) throws -> QwenVisionConfig = { config in
        let width = try config.size("embed_dim", default: 1280)
        let ratio = try config.double("mlp_ratio", default: 4)
        guard ratio > 0, ratio <= 1024 else { throw config.invalid("mlp_ratio", "is \(ratio), a positive number is needed") }
        return try QwenVisionConfig(
            config, width: width, intermediateSize: Int(Double(width) * ratio),
            outputWidth: config.size("hidden_size", default: 3584), norm: .layer, gated: false, activation: "quick_gelu")
    }

    static let qwen25: @Sendable (ConfigReader) throws -> QwenVisionConfig = { config in
        var vision = try QwenVisionConfig(
            config, width: config.size("hidden_size", default: 3584),
            intermediateSize: config.size("intermediate_size", default: 3420),
            outputWidth: config.size("out_hidden_size", default: 3584), norm: .rms, gated: true, activation: "silu")
        let side = try config.size("window_size", default: 112) / vision.mergeSize / vision.patchSize
        guard side > 0 else { throw config.invalid("window_size", "is smaller than one merged patch") }
        vision.window = (side, Set(try config.ints("fullatt_block_indexes", default: [7, 15, 23, 31])))
        return vision
    }

    private init(
        _ config: ConfigReader, width: Int, intermediateSize: Int, outputWidth: Int, norm: Norm.Kind, gated: Bool,
        activation: String
    ) throws {
        self.width = width
        self.intermediateSize = intermediateSize
        self.outputWidth = outputWidth
        self.norm = norm
        self.gated = gated
        self.activation = try config.activation("hidden_act", default: activation)
        layers = try config.size("depth", default: 32, upTo: 4096)
        heads = try config.size("num_heads", default: 16)
        // Published files say `in_chans`, which transformers ignores in favour of its default.
        channels = try config.size("in_channels", default: 3, upTo: 64)
        patchSize = try config.square("patch_size", default: 14)
        temporalPatchSize = try config.square("temporal_patch_size", default: 2)
        mergeSize = try config.size("spatial_merge_size", default: 2, upTo: 64)
        theta = try config.objectIfPresent("rope_parameters")?.double("rope_theta", default: 10_000) ?? 10_000
        guard width.isMultiple(of: heads), (width / heads).isMultiple(of: 4) else {
            throw config.invalid("num_heads", "is \(heads); the head size \(width)/\(heads) must be a multiple of 4")
        }
    }

    /// The block in the tower's names.
    var block: VisionBlockConfig {
        VisionBlockConfig(
            width: width, heads: heads, intermediateSize: intermediateSize, norm: norm, normEpsilon: 1e-6, attentionNorm: "norm1",
            mlpNorm: "norm2", qkv: .fused("attn.qkv"), qkvBias: true, output: "attn.proj",
            mlp: gated
                ? .gated(gate: "mlp.gate_proj", up: "mlp.up_proj", down: "mlp.down_proj", activation)
                : .plain(first: "mlp.fc1", second: "mlp.fc2", activation))
    }
}
