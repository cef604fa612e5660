import Checkpoints
import Layers

/// LLaVA-NeXT, also called LLaVA 1.6, as transformers has it: the picture and tiles of a canvas that fits it.
/// Transformers 5.17.0 `models/llava_next`.
enum LlavaNext {
    static let family = ModelFamily(
        name: "LLaVA-NeXT", architectures: ["LlavaNextForConditionalGeneration"],
        formats: "LLaVA 1.6 and LLaVA-NeXT, the -hf checkpoints (Vicuna, Mistral, Llama, Qwen2), "
            + "as published and as transformers 5 saves them",
        inputs: [.text, .images], rename: { _ in LlavaParts.rename },
        build: { checkpoint, loader in
            let parts = try LlavaParts(checkpoint)
            guard !parts.rows.keepsClassToken else {
                throw checkpoint.config.invalid(
                    "vision_feature_select_strategy", "is \"full\"; features on a grid need \"default\"")
            }
            let processor = try AnyResImageProcessor(
                checkpoint, tower: parts.tower,
                defaultCanvases: [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]])
            return try parts.model(
                family: "LLaVA-NeXT", loader, imageProcessor: processor, newline: "model.image_newline")
        })
}
