import Checkpoints
import Imaging
import Layers
import Tensors

/// InternVL 1.5 to 3.5 in the form of its authors (arXiv 2404.16821, 2412.05271), which is code beside the checkpoint.
/// After OpenGVLab/InternVL `internvl_chat/internvl/model/internvl_chat` (0328579) and `internvl/conversation.py` (0556aa8).
enum InternVLChat {
    static let family = ModelFamily(
        name: "InternVL (original)", architectures: ["InternVLChatModel"],
        formats: "the authors' checkpoints (Qwen2, Qwen3, InternLM2, Llama)", inputs: [.text, .images], rename: { _ in [] },
        build: build)

    private static func build(_ checkpoint: Checkpoint, _ loader: WeightLoader) throws -> LoadedModel {
        let config = checkpoint.config
        let text = try config.object("llm_config")
        let language = try LanguageFamily.of(text)
        var decoder = try language.decoder(text)
        decoder.tiedHead = try decoder.tiedHead || config.bool("tie_word_embeddings", default: false)
        let vision = try towerConfig(config)
        let rows = TileEncoder.Rows(
            merge: try config.mergeOfDownsampleRatio(), transposed: try config.string("ps_version", default: "v1") == "v1")
        try vision.validate(config, merge: rows.merge)
        return LoadedModel(
            family: family.name,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["language_model.model"],
                headName: "language_model.\(language.headName)"),
            vision: try TileEncoder(
                vision, tower: loader.root["vision_model"], rows: rows, connector: loader.root["mlp1"],
                steps: [
                    .merge(rows.merge * rows.merge), .norm("0", .layer, epsilon: 1e-5), .linear("1", out: decoder.hiddenSize),
                    .activation(.gelu), .linear("3", out: decoder.hiddenSize),
                ]),
            imageProcessor: try imageProcessor(config, vision, tokensPerTile: vision.tokens(rows)),
            promptRule: try promptRule(config),
            eosTokenIDs: try checkpoint.eosTokenIDs(text: text, default: [2]))
    }

    private static func towerConfig(_ config: ConfigReader) throws -> TileTowerConfig {
        let vision = try config.object("vision_config")
        let width = try vision.size("hidden_size", default: 3200)
        let heads = try vision.size("num_attention_heads", default: 25)
        guard width.isMultiple(of: heads) else { throw vision.invalid("num_attention_heads", "does not divide \(width)") }
        let fileLayers = try vision.size("num_hidden_layers", default: 48, upTo: 4096)
        let epsilon = try vision.epsilon("layer_norm_eps", default: 1e-6)
        let tableSize = try vision.square("image_size", default: 224)
        let block = VisionBlockConfig(
            width: width, heads: heads, intermediateSize: try vision.size("intermediate_size", default: 12_800),
            norm: try vision.normKind("norm_type", default: "rms_norm"), normEpsilon: epsilon, attentionNorm: "norm1",
            mlpNorm: "norm2", qkv: .fused("attn.qkv"), qkvBias: try vision.bool("qkv_bias", default: false),
            wideNorms: try vision.bool("qk_normalization", default: true) ? ("attn.q_norm", "attn.k_norm") : nil,
            wideNormEpsilon: epsilon, output: "attn.proj",
            mlp: .plain(first: "mlp.fc1", second: "mlp.fc2", try vision.activation("hidden_act", default: "gelu")),
            layerScales: ("ls1", "ls2"))
        return TileTowerConfig(
            width: width, patchSize: try vision.square("patch_size", default: 14),
            tileSize: try config.square("force_image_size", default: tableSize), tableSize: tableSize, fileLayers: fileLayers,
            taps: try config.taps("select_layer", default: -1, of: fileLayers), block: block,
            patchEmbedding: "embeddings.patch_embedding", classToken: ("embeddings.class_embedding", [1, 1]),
            positionTable: ("embeddings.position_embedding", [1]), blocks: "encoder.layers")
    }

    /// `dynamic_preprocess`: settings are in config.json, the numbers of ImageNet in the code.
    private static func imageProcessor(
        _ config: ConfigReader, _ vision: TileTowerConfig, tokensPerTile: Int
    ) throws -> TileImageProcessor {
        guard try !config.bool("pad2square", default: false) else {
            throw config.invalid("pad2square", "is true, which this version does not do")
        }
        let dynamic = try config.bool("dynamic_image_size", default: false)
        let (least, most) = (
            try config.size("min_dynamic_patch", default: 1, upTo: 1024),
            try config.size("max_dynamic_patch", default: 6, upTo: 1024)
        )
        guard least <= most else { throw config.invalid("min_dynamic_patch", "is \(least), more than max_dynamic_patch \(most)") }
        return TileImageProcessor(
            tiling: InternVLTiling(
                form: .huggingFace, tileWidth: vision.tileSize, tileHeight: vision.tileSize, minTiles: dynamic ? least : 1,
                maxTiles: dynamic ? most : 1, usesThumbnail: try config.bool("use_thumbnail", default: false)),
            filter: .bicubic,
            normalization: Normalization(mean: Normalization.imageNetMean, std: Normalization.imageNetStd),
            tokensPerTile: tokensPerTile)
    }

    /// Messages are plain text in which an image is `<image>` and a newline.
    private static func promptRule(_ config: ConfigReader) throws -> PromptRule {
        let context = "<IMG_CONTEXT>"
        return PromptRule(
            imagePlaceholder: "<image>", imageToken: context, configuredImageTokenID: nil, imageContent: "<image>\n",
            fallbackTemplate: try fallbackTemplate(config),
            expansion: { "<img>" + String(repeating: context, count: $0.tokenCount) + "</img>" })
    }

    /// The conversation that config.json names, as Jinja: the system's turn (always there), turns, and the assistant's start.
    private static func fallbackTemplate(_ config: ConfigReader) throws -> String? {
        guard let name = try config.stringIfPresent("template") else { return nil }
        let company = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
        let puyu = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
        switch name {
        case "internvl2_5": return template(system: puyu, start: "<|im_start|>", end: "<|im_end|>\n")
        case "internlm2-chat", "Hermes-2": return template(system: company, start: "<|im_start|>", end: "<|im_end|>")
        case "phi3-chat": return template(system: company, start: "<|", afterRole: "|>", end: "<|end|>")
        default: return nil
        }
    }

    private static func template(system: String, start: String, afterRole: String = "", end: String) -> String {
        let end = end.replacing("\n", with: "\\n")
        return """
            {%- if messages[0]['role'] != 'system' -%}
            {{- '\(start)system\(afterRole)\\n\(system)\(end)' -}}
            {%- endif -%}
            {%- for message in messages -%}
            {{- '\(start)' + message['role'] + '\(afterRole)\\n' + message['content'] + '\(end)' -}}
            {%- endfor -%}
            {%- if add_generation_prompt -%}
            {{- '\(start)assistant\(afterRole)\\n' -}}
            {%- endif -%}
            """
    }
}
