import Checkpoints
import Foundation
import Imaging
import JSON
import Layers
import Tensors

/// LLaVA 1.5 to OneVision and Yi-VL in the form of their authors: text settings at the root of config.json, the tower known by name.
/// After haotian-liu/LLaVA `llava/model/llava_arch.py` (7f5287c), `llava/mm_utils.py` (ff09d19) and `llava/conversation.py` (bb7143c),
/// LLaVA-VL/LLaVA-NeXT `llava/model` (0934af6) and 01-ai/Yi `VL/llava` (20e7ba3).
enum LlavaOriginal {
    static let family = ModelFamily(
        name: "LLaVA (original)", architectures: ["LlavaLlamaForCausalLM", "LlavaMistralForCausalLM", "LlavaQwenForCausalLM"],
        formats: "the authors' checkpoints of LLaVA 1.5, 1.6, OneVision and Yi-VL as safetensors with the tower's weights inside",
        inputs: [.text, .images], devicesTested: ["CPU"],
        rename: { _ in [PrefixRename("model.vision_tower.vision_tower.vision_model", to: "model.vision_tower")] }, build: build)

    private static func build(_ checkpoint: Checkpoint, _ loader: WeightLoader) throws -> LoadedModel {
        let config = checkpoint.config
        let language = language(checkpoint)
        let decoder = try language.decoder(config)
        let (vision, isSiglip) = try visionConfig(checkpoint)
        let tower = try TileTowerConfig(clipOrSiglip: vision, default: "clip_vision_model", finalNorm: false) {
            try config.taps("mm_vision_select_layer", default: -2, of: $0)
        }
        let select = try config.string("mm_vision_select_feature", default: "patch")
        guard select == "patch" else { throw config.invalid("mm_vision_select_feature", "is \"\(select)\", \"patch\" is known") }
        try tower.validate(config, merge: 1)
        guard checkpoint.weights != .file || loader.has("model.vision_tower.embeddings.patch_embedding.weight") else {
            throw ModelError(
                .configuration, subject: checkpoint.folder,
                detail:
                    "has no weights of its vision tower \(try config.string("mm_vision_tower")); use a checkpoint with the tower "
                    + "inside, such as the -hf conversion")
        }
        let canvas = try hasCanvas(config)
        if !canvas { loader.ignore("model.image_newline") }
        return LoadedModel(
            family: family.name,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["model"], headName: language.headName),
            vision: try TileEncoder(
                tower, tower: loader.root["model.vision_tower"], connector: loader.root["model"],
                steps: try projector(config, width: decoder.hiddenSize), newline: canvas ? "model.image_newline" : nil),
            imageProcessor: try imageProcessor(config, tower, isSiglip: isSiglip, canvas: canvas),
            promptRule: try promptRule(checkpoint, language, vocabularySize: decoder.vocabularySize),
            eosTokenIDs: try checkpoint.eosTokenIDs(default: [2]))
    }

    private static func language(_ checkpoint: Checkpoint) -> LanguageFamily {
        if checkpoint.architectures.contains("LlavaQwenForCausalLM") { return Qwen2.language }
        return checkpoint.architectures.contains("LlavaMistralForCausalLM") ? Mistral.language : Llama.language
    }

    // MARK: Vision

    /// The tower's settings: in a folder of the checkpoint (Yi-VL), else those of the towers that LLaVA was made with.
    private static func visionConfig(_ checkpoint: Checkpoint) throws -> (config: ConfigReader, isSiglip: Bool) {
        let config = checkpoint.config
        let name = try config.string("mm_vision_tower")
        let parts = name.split(separator: "/").filter { $0 != "." }
        let file = ([checkpoint.folder] + parts.map { String($0) } + ["config.json"]).joined(separator: "/")
        if !parts.contains(".."), !name.hasPrefix("/"), FileManager.default.fileExists(atPath: file) {
            let nested = try ConfigReader(contentsOf: file)
            let vision = try nested.objectIfPresent("vision_config") ?? nested
            return (vision, try vision.string("model_type", default: "").hasPrefix("siglip"))
        }
        let known = towers.first { name.lowercased().contains($0.name) }
        guard let known else {
            throw config.invalid(
                "mm_vision_tower", "is \"\(name)\"", hint: "Known are \(towers.map(\.name).joined(separator: ", "))")
        }
        let object = JSONObject(known.values.map { ($0.key, $0.value) })
        return (ConfigReader(object, file: config.file), known.name.hasPrefix("siglip"))
    }

    /// By what `mm_vision_tower` contains; the first that fits.
    private static let towers: [(name: String, values: KeyValuePairs<String, JSONValue>)] = [
        ("clip-vit-large-patch14-336", clip(1024, layers: 24, inner: 4096, size: 336)),
        ("clip-vit-large-patch14", clip(1024, layers: 24, inner: 4096, size: 224)),
        ("clip-vit-h-14-laion2b", clip(1280, layers: 32, inner: 5120, size: 448, activation: "gelu")),
        (
            "siglip-so400m-patch14-384",
            [
                "model_type": .string("siglip_vision_model"), "hidden_size": .integer(1152), "num_hidden_layers": .integer(27),
                "num_attention_heads": .integer(16), "intermediate_size": .integer(4304), "image_size": .integer(384),
                "patch_size": .integer(14),
            ]
        ),
    ]

    private static func clip(
        _ width: Int, layers: Int, inner: Int, size: Int, activation: String = "quick_gelu"
    ) -> KeyValuePairs<String, JSONValue> {
        [
            "model_type": .string("clip_vision_model"), "hidden_size": .integer(width), "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(16), "intermediate_size": .integer(inner), "image_size": .integer(size),
            "patch_size": .integer(14), "hidden_act": .string(activation),
        ]
    }

    /// `mm_projector_type`: linear, or linears with GELU between and, in Yi-VL, a norm after each.
    private static func projector(_ config: ConfigReader, width: Int) throws -> [ConnectorStep] {
        let type = try config.string("mm_projector_type", default: "linear")
        if type == "linear" { return [.linear("mm_projector", out: width)] }
        let hasNorms = type.hasSuffix("_Norm")
        let plain = hasNorms ? String(type.dropLast("_Norm".count)) : type
        guard plain.hasPrefix("mlp"), plain.hasSuffix("x_gelu"), let depth = Int(plain.dropFirst(3).dropLast(6)),
            (1...16).contains(depth)
        else {
            throw config.invalid("mm_projector_type", "is \"\(type)\"", hint: "Known are linear, mlpNx_gelu and mlpNx_gelu_Norm")
        }
        let stride = hasNorms ? 3 : 2
        return (0..<depth).flatMap { index -> [ConnectorStep] in
            let linear = ConnectorStep.linear("mm_projector.\(index * stride)", out: width)
            let norm = ConnectorStep.norm("mm_projector.\(index * stride + 1)", .layer, epsilon: 1e-5)
            return (index == 0 ? [] : [.activation(.gelu)]) + [linear] + (hasNorms ? [norm] : [])
        }
    }

    // MARK: Pictures

    /// Whether pictures are cut into tiles of a canvas.
    private static func hasCanvas(_ config: ConfigReader) throws -> Bool {
        let ratio = try config.stringIfPresent("image_aspect_ratio") ?? "square"
        let merge = try config.string("mm_patch_merge_type", default: "flat")
        switch (ratio, merge) {
        case (_, "spatial_unpad") where ratio.hasPrefix("anyres"): return true
        case ("square", "flat"), ("pad", "flat"): return false
        default:
            throw config.invalid(
                "image_aspect_ratio", "is \"\(ratio)\" with mm_patch_merge_type \"\(merge)\"",
                hint: "Known are square and pad with flat, and anyres with spatial_unpad")
        }
    }

    /// Pillow resizes here, and canvases are listed width first.
    private static func imageProcessor(
        _ config: ConfigReader, _ tower: TileTowerConfig, isSiglip: Bool, canvas: Bool
    ) throws -> any ImageProcessor {
        let half: [Float] = [0.5, 0.5, 0.5]
        let (mean, std) = isSiglip ? (half, half) : (Normalization.clipMean, Normalization.clipStd)
        let normalization = Normalization(mean: mean, std: std)
        guard canvas else {
            let pads = try config.stringIfPresent("image_aspect_ratio") == "pad"
            return SquareImageProcessor(
                side: tower.tileSize, shape: isSiglip ? .squeeze : .crop(shortestEdge: tower.tileSize),
                border: pads ? mean.map { UInt8(255 * $0) } : nil, filter: .bicubic, arithmetic: .pillow,
                normalization: normalization, tokenCount: tower.tokens(TileEncoder.Rows()))
        }
        let canvases = try config.canvases(
            "image_grid_pinpoints", tile: tower.tileSize,
            default: [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]])
        return AnyResImageProcessor(
            resolution: AnyResolution(
                tile: tower.tileSize, canvases: canvases.map { TileGrid(columns: $0.rows, rows: $0.columns) }),
            filter: .bicubic, arithmetic: .pillow, normalization: normalization, side: tower.side,
            mostTiles: try config.mostTiles("image_aspect_ratio", default: "anyres"))
    }

    // MARK: Prompt

    /// The tokenizers know no image token: text is cut at pictures, whose rows take an id that no text has.
    private static func promptRule(
        _ checkpoint: Checkpoint, _ language: LanguageFamily, vocabularySize: Int
    ) throws -> PromptRule {
        let isYi = try checkpoint.config.string("mm_projector_type", default: "linear").hasSuffix("_Norm")
        let token = isYi ? "<image_placeholder>" : "<image>"
        return PromptRule(
            imagePlaceholder: token, imageToken: token, configuredImageTokenID: Int32(vocabularySize - 1),
            imageContent: token + "\n",
            fallbackTemplate: isYi ? ConversationTemplate.yi : conversation(checkpoint, language), imageTokenIsForeign: true,
            expansion: { String(repeating: token, count: $0.tokenCount) })
    }

    private static func conversation(_ checkpoint: Checkpoint, _ language: LanguageFamily) -> String {
        switch language.modelType {
        case Qwen2.language.modelType: return ConversationTemplate.chatML(system: "You are a helpful assistant.", lineEnd: "\\n")
        case Mistral.language.modelType: return ConversationTemplate.mistral
        default:
            let tokens = checkpoint.tokenizerConfig?.value("added_tokens_decoder")?.objectValue
            let isChatML = tokens?.contains { $0.1["content"]?.stringValue == "<|im_start|>" } ?? false
            // LLaVA 1.6 34B stands on Yi.
            return isChatML
                ? ConversationTemplate.chatML(system: "Answer the questions.", lineEnd: "") : ConversationTemplate.vicuna
        }
    }
}
