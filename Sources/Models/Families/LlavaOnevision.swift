import Checkpoints
import Imaging
import Layers

/// LLaVA-OneVision (arXiv 2408.03326) as transformers has it: SigLIP over the picture and tiles of a canvas, at most so many features, one
/// tile for each of several pictures. Transformers 5.17.0 `models/llava_onevision`.
enum LlavaOnevision {
    static let family = ModelFamily(
        name: "LLaVA-OneVision", architectures: ["LlavaOnevisionForConditionalGeneration"],
        formats: "the -hf checkpoints (Qwen2), as published and as transformers 5 saves them", inputs: [.text, .images],
        devicesTested: ["CPU"], rename: { _ in LlavaParts.rename },
        build: { checkpoint, loader in
            let config = checkpoint.config
            let parts = try LlavaParts(
                checkpoint,
                .init(
                    language: "qwen2", tower: "siglip_vision_model", featureLayer: -1, strategy: "full", imageToken: 151_646))
            guard !parts.rows.keepsClassToken else {
                throw config.invalid("vision_feature_select_strategy", "is \"full\"; features on a grid have no class token")
            }
            let sides = (1...6).map { $0 * 384 }
            var processor = try AnyResImageProcessor(
                checkpoint, tower: parts.tower, defaultCanvases: sides.flatMap { height in sides.map { [height, $0] } })
            guard let most = try config.mostTiles("vision_aspect_ratio", default: "anyres_max_9") else {
                throw config.invalid("vision_aspect_ratio", "is not anyres_max_N")
            }
            processor.mostTiles = most
            processor.borderAmongOthers = try PreprocessorConfig(checkpoint).borderColor(mean: Normalization.clipMean)
            return try parts.model(
                family: "LLaVA-OneVision", loader, imageProcessor: processor, newline: "model.image_newline")
        })
}
