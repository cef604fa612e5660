"""LLaVA 1.5 in Hugging Face form (`LlavaForConditionalGeneration`), named as llava-hf/llava-1.5-7b-hf, llava-hf/bakLlava-v1-hf and
llava-hf/llava-interleave-qwen-0.5b-hf are."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import common
import tiny_tokenizer
from tiny_tokenizer import write_json

# As in llava-hf/llava-1.5-7b-hf.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# As in llava-hf/llava-interleave-qwen-0.5b-hf.
QWEN_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + content['text'] }}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ '\n' + content['text'] }}{% endgeneration %}{% endfor %}{% endif %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)
VOCABULARY = 384
TILE, PATCH = 42, 14
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


CASES = common.IMAGE_CASES | {
    "high-resolution": [common.user(common.image("large"), common.text("How many circles are there?"))],
    "tall": [common.user(common.image("tall"), common.text("What does the sign say?"))],
}


def text_config(language: str, ids: dict[str, int], **more) -> dict:
    shared = {
        "bos_token_id": ids["<bos>"],
        "eos_token_id": ids["<eos>"],
        "hidden_act": "silu",
        "hidden_size": 48,
        "intermediate_size": 96,
        "max_position_embeddings": 2048,
        "model_type": language,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "num_key_value_heads": 3 if language == "llama" else 1,
        "rms_norm_eps": 1e-05,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
    }
    return shared | {
        "llama": {"architectures": ["LlamaForCausalLM"]},
        "mistral": {"architectures": ["MistralForCausalLM"], "rope_theta": 1000000.0, "sliding_window": 24},
        "qwen2": {"architectures": ["Qwen2ForCausalLM"], "rope_theta": 1000000.0, "sliding_window": 32768,
                  "use_sliding_window": False},
    }[language] | more  # fmt: skip


def vision_config(tower: str, tile: int = TILE) -> dict:
    shared = {"hidden_size": 32, "image_size": tile, "intermediate_size": 56, "num_attention_heads": 2, "num_hidden_layers": 3,
              "patch_size": PATCH}  # fmt: skip
    if tower == "clip":
        return shared | {"model_type": "clip_vision_model", "projection_dim": 24, "vocab_size": 32000}
    return shared | {"model_type": "siglip_vision_model", "vision_use_head": False}


def preprocessor(tower: str, processor: str, tile: int = TILE) -> dict:
    if tower == "clip":
        return {
            "crop_size": {"height": tile, "width": tile}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
            "do_rescale": True, "do_resize": True, "image_mean": CLIP_MEAN, "image_processor_type": "CLIPImageProcessor",
            "image_std": CLIP_STD, "processor_class": processor, "resample": 3, "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": tile},
        }  # fmt: skip
    return {
        "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor", "image_std": [0.5, 0.5, 0.5], "processor_class": processor, "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"height": tile, "width": tile},
    }  # fmt: skip


def write_tokenizer(folder, language: str, processor: str, extra: dict | None = None) -> dict[str, int]:
    """Qwen's for Qwen2; for Llama and Mistral one that puts BOS first, with the tokens LLaVA adds to theirs."""
    extra = {"processor_class": processor} | (extra or {})
    if language == "qwen2":
        ids = tiny_tokenizer.qwen2(folder, tiny_tokenizer.QWEN_SPECIALS[:3] + ["<image>"], extra)
        return ids | {"<bos>": ids["<|im_start|>"], "<eos>": ids["<|im_end|>"]}
    ids = tiny_tokenizer.llama3(
        folder, tiny_tokenizer.LLAMA3_SPECIALS + ["<image>", "<pad>"], extra | {"eos_token": "<|end_of_text|>", "pad_token": "<pad>"}
    )
    return ids | {"<bos>": ids["<|begin_of_text|>"], "<eos>": ids["<|end_of_text|>"]}


def as_parts(messages: list[dict]) -> list[dict]:
    """These templates read lists of parts only."""
    return [
        message if isinstance(message["content"], list) else message | {"content": [common.text(message["content"])]}
        for message in messages
    ]


def hub_name(name: str) -> str:
    """The name transformers 5 gives a parameter → the name in published files."""
    if name.startswith("lm_head."):
        return "language_model." + name
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    if name.startswith("model.vision_tower."):
        return "vision_tower.vision_model." + name.removeprefix("model.vision_tower.")
    return name.removeprefix("model.")


def finish(name: str, folder, seed: int, tied: bool, cases, image_token: int, unused: list[str], saved_again=False,
           pixels=("one-image",), dtype=torch.bfloat16) -> None:  # fmt: skip
    """Random weights under the hub's names and what transformers computes with them."""
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
    common.randomize(model, seed, tied)
    state = {hub_name(key): value for key, value in model.state_dict().items()}
    if tied:
        del state["language_model.lm_head.weight"]
    common.write_weights(folder, state, dtype)
    if saved_again:
        common.save_again(folder, new_names=True)
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    recorder = common.Recorder(name, model, model.model.language_model, {})
    for case in cases:
        messages = CASES[case]
        prompt = processor.apply_chat_template(
            as_parts(common.for_template(messages)), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        # One list for the one conversation, as apply_chat_template hands them over.
        inputs = processor(text=[prompt], images=[pictures] if pictures else None, return_tensors="pt")
        recorder.record(case, messages, prompt, dict(inputs), image_token, case in pixels)
    recorder.write({"unused": unused})


def build(name: str, language: str, tower: str, seed: int, template: str, cases, tied=False, saved_again=False, **more) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = write_tokenizer(folder, language, "LlavaProcessor", {"image_token": "<image>"})
    clip = tower == "clip"
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "ignore_index": -100,
            "image_token_index": ids["<image>"],
            "model_type": "llava",
            "projector_hidden_act": "gelu",
            "text_config": text_config(language, ids) | ({"tie_word_embeddings": True} if tied else {}),
            "torch_dtype": "bfloat16",
            "transformers_version": "4.36.0.dev0",
            "vision_config": vision_config(tower),
            "vision_feature_layer": -2 if clip else -1,
            "vision_feature_select_strategy": "default" if clip else "full",
        }
        | ({"tie_word_embeddings": True} if tied else {})
        | more,
    )  # fmt: skip
    write_json(folder / "preprocessor_config.json", preprocessor(tower, "LlavaProcessor"))
    write_json(
        folder / "processor_config.json",
        {"image_token": "<image>", "num_additional_image_tokens": 1 if clip else 0, "patch_size": PATCH,
         "processor_class": "LlavaProcessor", "vision_feature_select_strategy": "default" if clip else "full"},
    )  # fmt: skip
    (folder / "chat_template.jinja").write_text(template)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "bos_token_id": ids["<bos>"],
                                                   "eos_token_id": ids["<eos>"], "transformers_version": "4.36.0.dev0"})  # fmt: skip
    tower_name = "model.vision_tower" if saved_again else "vision_tower.vision_model"
    layer = "vision_feature_layer" in more
    unused = [f"{tower_name}.post_layernorm"] + ([f"{tower_name}.encoder.layers.2"] if clip and not layer else [])
    finish(name, folder, seed, tied, cases, ids["<image>"], unused, saved_again)


def generate(only=None) -> None:
    variants = {
        "llava-clip": dict(language="llama", tower="clip", seed=41, template=TEMPLATE,
                           cases=("one-image", "several-images", "multi-turn", "text")),
        "llava-siglip": dict(language="qwen2", tower="siglip", seed=42, template=QWEN_TEMPLATE, cases=("several-images",), tied=True),
        # features of several layers, as in the first models with this switch; the class token is kept
        "llava-transformers5": dict(language="mistral", tower="clip", seed=43, template=TEMPLATE, cases=("one-image",),
                                    saved_again=True, vision_feature_layer=[1, -1]),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
