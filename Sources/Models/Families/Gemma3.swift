import Checkpoints
import Imaging
import Layers

/// Gemma 3 with images (arXiv 2503.19786): SigLIP's tower, means of 4x4 patches, the Gemma 3 decoder. Transformers 5.17.0 `models/gemma3`.
///
/// The tokens of a picture see one another whole, in layers with a window too. Pictures are squeezed into the tower's square; cutting wide
/// ones ("pan and scan") is off in transformers, whatever the checkpoint's files say.
enum Gemma3 {
    static let family = ModelFamily(
        name: "Gemma 3", architectures: ["Gemma3ForConditionalGeneration"],
        formats: "Gemma 3 4B, 12B and 27B, as published and as transformers 5 saves them", inputs: [.text, .images],
        devicesTested: ["CPU"], rename: { _ in LlavaParts.rename }, build: build)

    private static func build(_ checkpoint: Checkpoint, _ loader: WeightLoader) throws -> LoadedModel {
        let config = checkpoint.config
        let text = try config.object("text_config")
        let language = try LanguageFamily.of(text, default: Gemma.gemma3.modelType)
        let decoder = try language.decoder(text)
        let vision = try config.object("vision_config")
        let tower = try TileTowerConfig(clipOrSiglip: vision, default: "siglip_vision_model", finalNorm: true) { [$0] }
        let merge = try merge(config, tower)
        try tower.validate(config, merge: merge)
        let rows = TileEncoder.Rows(merge: merge)
        let tokens = tower.tokens(rows)
        let encoder = try TileEncoder(
            tower, tower: loader.root["model.vision_tower"], rows: rows, connector: loader.root["model.multi_modal_projector"],
            steps: [
                .average(merge * merge), .norm("mm_soft_emb_norm", .unitRMS, epsilon: tower.block.normEpsilon),
                .product("mm_input_projection_weight", out: decoder.hiddenSize),
            ])
        return LoadedModel(
            family: family.name,
            language: try DecoderModel(
                decoder, names: language.names, body: loader.root["model.language_model"], headName: "lm_head"),
            vision: encoder, imageProcessor: try processor(checkpoint, tower, tokenCount: tokens),
            promptRule: try promptRule(checkpoint), eosTokenIDs: try checkpoint.eosTokenIDs(text: text, default: [1, 106]),
            spanRule: .images)
    }

    /// Patches per side whose mean is a feature row.
    private static func merge(_ config: ConfigReader, _ tower: TileTowerConfig) throws -> Int {
        let tokens = try config.size("mm_tokens_per_image", default: 256)
        let side = Int(Double(tokens).squareRoot())
        guard side * side == tokens, side <= tower.side, tower.side.isMultiple(of: side) else {
            throw config.invalid(
                "mm_tokens_per_image", "is \(tokens); a square is needed whose root divides the \(tower.side) patches of a side")
        }
        return tower.side / side
    }

    private static func processor(
        _ checkpoint: Checkpoint, _ tower: TileTowerConfig, tokenCount: Int
    ) throws -> SquareImageProcessor {
        let config = try PreprocessorConfig(checkpoint)
        let half: [Float] = [0.5, 0.5, 0.5]
        return SquareImageProcessor(
            side: tower.tileSize, shape: .squeeze, border: nil, filter: try config.filter(default: .bilinear), arithmetic: .torch,
            normalization: try config.normalization(mean: half, std: half), tokenCount: tokenCount)
    }

    /// The template writes the begin mark; tokens, end mark and blank lines are put around it as text, because the lines merge with those
    /// beside them into tokens of their own.
    private static func promptRule(_ checkpoint: Checkpoint) throws -> PromptRule {
        let begin = checkpoint.specialToken("boi_token", default: "<start_of_image>")
        let token = checkpoint.specialToken("image_token", default: "<image_soft_token>")
        let end = checkpoint.specialToken("eoi_token", default: "<end_of_image>")
        let id = try checkpoint.config.token("image_token_index", default: 262_144)
        return PromptRule(
            imagePlaceholder: begin, imageToken: token,
            configuredImageTokenID: try checkpoint.config.token("image_token_id", default: id),
            expansion: { "\n\n\(begin)\(String(repeating: token, count: $0.tokenCount))\(end)\n\n" })
    }
}
