import Checkpoints
import Layers

/// LLaVA 1.5 (arXiv 2310.03744) as transformers has it: one tile per picture. Transformers 5.17.0 `models/llava`.
enum Llava {
    static let family = ModelFamily(
        name: "LLaVA 1.5", architectures: ["LlavaForConditionalGeneration"],
        formats:
            "the -hf checkpoints (CLIP or SigLIP; Llama, Vicuna, Mistral, Qwen2), as published and as transformers 5 saves them",
        inputs: [.text, .images], rename: { _ in LlavaParts.rename },
        build: { checkpoint, loader in
            let parts = try LlavaParts(checkpoint)
            let processor = try SquareImageProcessor(checkpoint, tower: parts.tower, tokenCount: parts.tokensPerTile)
            return try parts.model(family: "LLaVA 1.5", loader, imageProcessor: processor)
        })
}
