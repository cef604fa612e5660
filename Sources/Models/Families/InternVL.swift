import Checkpoints
import Imaging
import Layers

/// InternVL 2.5 to 3.5 as transformers has it (arXiv 2404.16821, 2412.05271). Transformers 5.17.0 `models/internvl`.
enum InternVL {
    static let family = ModelFamily(
        name: "InternVL", architectures: ["InternVLForConditionalGeneration"],
        formats: "the -HF checkpoints (Qwen2, Qwen3, Llama), as published and as transformers 5 saves them",
        inputs: [.text, .images],
        rename: { _ in
            [
                PrefixRename("vision_tower", to: "model.vision_tower"),
                PrefixRename("multi_modal_projector", to: "model.multi_modal_projector"),
                PrefixRename("language_model.model", to: "model.language_model"),
                PrefixRename("language_model.lm_head", to: "lm_head"),
            ]
        }, build: build)

    private static func build(_ checkpoint: Checkpoint, _ loader: WeightLoader) throws -> LoadedModel {
        let config = checkpoint.config
        let text = try config.object("text_config")
        let language = try LanguageFamily.of(text, default: "qwen2")
        var decoder = try language.decoder(text)
        decoder.tiedHead = try config.bool("tie_word_embeddings", default: true)
        let processor = try imageProcessor(checkpoint)
        let vision = try towerConfig(config, tileSize: processor.tiling.tileWidth)
        let rows = TileEncoder.Rows(merge: try config.mergeOfDownsampleRatio())
        try vision.validate(config, merge: rows.merge)
        guard vision.tokens(rows) == processor.tokensPerTile else {
            throw ModelError(
                .configuration, subject: checkpoint.processorConfig?.file ?? config.file,
                detail: "image_seq_length is \(processor.tokensPerTile), but a tile of \(vision.tileSize) pixels gives "
                    + "\(vision.tokens(rows)) features")
        }
        let activation = try config.activation("projector_hidden_act", default: "gelu")
        return LoadedModel(
            family: family.name,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["model.language_model"], headName: "lm_head"),
            vision: try TileEncoder(
                vision, tower: loader.root["model.vision_tower"], rows: rows,
                connector: loader.root["model.multi_modal_projector"],
                steps: [
                    .merge(rows.merge * rows.merge), .norm("layer_norm", .layer, epsilon: 1e-5),
                    .linear("linear_1", out: decoder.hiddenSize), .activation(activation),
                    .linear("linear_2", out: decoder.hiddenSize),
                ]),
            imageProcessor: processor, promptRule: try promptRule(checkpoint),
            eosTokenIDs: try checkpoint.eosTokenIDs(text: text))
    }

    private static func towerConfig(_ config: ConfigReader, tileSize: Int) throws -> TileTowerConfig {
        let vision = try config.object("vision_config")
        let width = try vision.size("hidden_size", default: 1024)
        let heads = try vision.size("num_attention_heads", default: 16)
        guard width.isMultiple(of: heads) else { throw vision.invalid("num_attention_heads", "does not divide \(width)") }
        let fileLayers = try vision.size("num_hidden_layers", default: 24, upTo: 4096)
        let epsilon = try vision.epsilon("layer_norm_eps", default: 1e-6)
        let featureLayer = try config.intOrInts("vision_feature_layer").first ?? -1
        let strategy = try config.string("vision_feature_select_strategy", default: "default")
        guard strategy == "default" else {
            throw config.invalid("vision_feature_select_strategy", "is \"\(strategy)\"; pixel shuffle needs \"default\"")
        }
        let block = VisionBlockConfig(
            width: width, heads: heads, intermediateSize: try vision.size("intermediate_size", default: 4096),
            norm: try vision.normKind("norm_type", default: "layer_norm"), normEpsilon: epsilon,
            attentionNorm: "layernorm_before",
            mlpNorm: "layernorm_after",
            qkv: .separate(query: "attention.q_proj", key: "attention.k_proj", value: "attention.v_proj"),
            qkvBias: try vision.bool("attention_bias", default: false),
            wideNorms: try vision.bool("use_qk_norm", default: false) ? ("attention.q_norm", "attention.k_norm") : nil,
            output: "attention.projection_layer",
            mlp: .plain(first: "mlp.fc1", second: "mlp.fc2", try vision.activation("hidden_act", default: "gelu")),
            layerScales: ("lambda_1", "lambda_2"))
        // Only the last layer's output goes through the final norm, and only where rows are not averaged.
        let normed = try featureLayer == -1 && !vision.bool("use_mean_pooling", default: true)
        let positions = try vision.bool("use_absolute_position_embeddings", default: true)
        return TileTowerConfig(
            width: width, patchSize: try vision.square("patch_size", default: 14), tileSize: tileSize,
            tableSize: try vision.square("image_size", default: 448), fileLayers: fileLayers,
            taps: try config.taps("vision_feature_layer", default: -1, of: fileLayers), block: block,
            patchEmbedding: "embeddings.patch_embeddings.projection", classToken: ("embeddings.cls_token", [1, 1]),
            positionTable: positions ? ("embeddings.position_embeddings", [1]) : nil,
            finalNorm: normed ? ("layernorm", epsilon) : nil, blocks: "encoder.layer", unused: ["embeddings.mask_token"])
    }

    /// The processor tiles whatever preprocessor_config.json says: its own `crop_to_patches` is true.
    private static func imageProcessor(_ checkpoint: Checkpoint) throws -> TileImageProcessor {
        let config = try PreprocessorConfig(checkpoint)
        let size = try config.reader?.objectIfPresent("size")
        let (height, width) = (try size?.square("height", default: 384) ?? 384, try size?.square("width", default: 384) ?? 384)
        let file = config.reader?.file ?? checkpoint.config.file
        guard height == width else {
            throw ModelError(
                .configuration, subject: file, detail: "size is \(width)x\(height); the vision tower needs square tiles")
        }
        let (least, most) = (
            try config.int("min_patches", default: 1, upTo: 1024), try config.int("max_patches", default: 12, upTo: 1024)
        )
        guard least <= most else {
            throw ModelError(.configuration, subject: file, detail: "min_patches \(least) is more than max_patches \(most)")
        }
        return TileImageProcessor(
            tiling: InternVLTiling(form: .huggingFace, tileWidth: width, tileHeight: height, minTiles: least, maxTiles: most),
            filter: try config.filter(default: .bicubic),
            normalization: try config.normalization(mean: Normalization.clipMean, std: Normalization.clipStd),
            tokensPerTile: try checkpoint.processorConfig?.size("image_seq_length", default: 256) ?? 256)
    }

    /// The tokenizer's configuration names the tokens, beside its other keys or among the extra special tokens.
    private static func promptRule(_ checkpoint: Checkpoint) throws -> PromptRule {
        let image = checkpoint.specialToken("context_image_token", default: "<IMG_CONTEXT>")
        let start = checkpoint.specialToken("start_image_token", default: "<img>")
        let end = checkpoint.specialToken("end_image_token", default: "</img>")
        return PromptRule(
            imagePlaceholder: image, imageToken: image,
            configuredImageTokenID: try checkpoint.config.token("image_token_id", default: 151_667),
            expansion: { start + String(repeating: image, count: $0.tokenCount) + end })
    }
}
