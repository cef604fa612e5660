"""LLaVA-OneVision in Hugging Face form (`LlavaOnevisionForConditionalGeneration`), named as llava-hf/llava-onevision-qwen2-0.5b-ov-hf is."""

import shutil

import common
import llava
from llava import PATCH, TILE
from tiny_tokenizer import write_json

# Every grid of up to three by three tiles; the published models have six by six.
CANVASES = [[height * TILE, width * TILE] for height in range(1, 4) for width in range(1, 4)]


def build(name: str, seed: int, cases, most: int, tied: bool, saved_again=False) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = llava.write_tokenizer(folder, "qwen2", "LlavaOnevisionProcessor")
    shared = {"vision_aspect_ratio": f"anyres_max_{most}", "vision_feature_select_strategy": "full"}
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlavaOnevisionForConditionalGeneration"],
            "ignore_index": -100,
            "image_grid_pinpoints": CANVASES,
            "image_token_index": ids["<image>"],
            "model_type": "llava_onevision",
            "projector_hidden_act": "gelu",
            "text_config": llava.text_config("qwen2", ids) | {"tie_word_embeddings": tied},
            "tie_word_embeddings": tied,
            "torch_dtype": "float16",
            "transformers_version": "4.45.0.dev0",
            "use_image_newline_parameter": True,
            "video_token_index": 383,
            "vision_config": llava.vision_config("siglip"),
            "vision_feature_layer": -1,
        }
        | shared,
    )
    write_json(
        folder / "preprocessor_config.json",
        llava.preprocessor("siglip", "LlavaOnevisionProcessor")
        | {"do_pad": True, "image_grid_pinpoints": CANVASES, "image_processor_type": "LlavaOnevisionImageProcessor"},
    )
    write_json(
        folder / "processor_config.json",
        {"image_token": "<image>", "num_image_tokens": (TILE // PATCH) ** 2, "processor_class": "LlavaOnevisionProcessor",
         "video_token": "<video>"} | shared,
    )  # fmt: skip
    (folder / "chat_template.jinja").write_text(llava.QWEN_TEMPLATE)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "bos_token_id": ids["<bos>"],
                                                   "eos_token_id": ids["<eos>"], "transformers_version": "4.45.0.dev0"})  # fmt: skip
    unused = [("model.vision_tower" if saved_again else "vision_tower.vision_model") + ".post_layernorm"]
    llava.finish(name, folder, seed, tied, cases, ids["<image>"], unused, saved_again, dtype=llava.torch.float16)


def generate(only=None) -> None:
    variants = {
        # at most two tiles of features, so that most pictures' shrink
        "llava_onevision": dict(seed=71, most=2, tied=True, cases=("one-image", "several-images", "tall", "text")),
        "llava_onevision-transformers5": dict(seed=72, most=9, tied=False, cases=("high-resolution",), saved_again=True),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
