"""Qwen2-VL and Qwen2.5-VL in the form the hub publishes them: flat config.json, weights named `visual.*`, `model.*`, `lm_head.*`."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import common
import tiny_tokenizer
from tiny_tokenizer import write_json

# As in Qwen/Qwen2.5-VL-3B-Instruct and Qwen/Qwen2-VL-2B-Instruct.
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = 384


def build(
    name: str, generation: str, seed: int, tied: bool, dtype=torch.bfloat16, shards: int = 1, saved_again: bool = False,
    cases=tuple(common.IMAGE_CASES),
) -> None:  # fmt: skip
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = tiny_tokenizer.qwen2(
        folder,
        tiny_tokenizer.QWEN_SPECIALS,
        {"chat_template": TEMPLATE, "processor_class": "Qwen2_5_VLProcessor" if generation == "2.5" else "Qwen2VLProcessor"},
    )
    vision = {"depth": 4, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 76, "num_heads": 2, "in_chans": 3,
              "out_hidden_size": 64, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 56,
              "fullatt_block_indexes": [1, 3], "tokens_per_second": 2, "temporal_patch_size": 2}  # fmt: skip
    if generation == "2":
        vision = {"depth": 3, "embed_dim": 32, "mlp_ratio": 4, "num_heads": 2, "in_chans": 3, "hidden_size": 64, "patch_size": 14,
                  "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2}  # fmt: skip
    architecture = "Qwen2_5_VLForConditionalGeneration" if generation == "2.5" else "Qwen2VLForConditionalGeneration"
    write_json(
        folder / "config.json",
        {
            "architectures": [architecture],
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_token_id": ids["<|vision_pad|>"],
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "hidden_act": "silu",
            "hidden_size": 64,
            "initializer_range": 0.02,
            "intermediate_size": 152,
            "max_position_embeddings": 2048,
            "max_window_layers": 3,
            "model_type": "qwen2_5_vl" if generation == "2.5" else "qwen2_vl",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": tied,
            "torch_dtype": str(dtype).removeprefix("torch."),
            "transformers_version": "4.41.2",
            "use_cache": True,
            "use_sliding_window": False,
            "vision_config": vision,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "vocab_size": VOCABULARY,
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "min_pixels": 3136,
            "max_pixels": 12000,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor" if generation == "2.5" else "Qwen2VLProcessor",
        },
    )
    write_json(folder / "chat_template.json", {"chat_template": TEMPLATE})
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "do_sample": True,
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
            "repetition_penalty": 1.05,
            "temperature": 0.000001,
            "transformers_version": "4.49.0",
        },
    )

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
    common.randomize(model, seed, tied)
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    common.write_weights(folder, {hub_name(key): value for key, value in state.items()}, dtype, shards)
    if saved_again:
        common.save_again(folder, new_names=True)

    # From here on only what is on disk counts.
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    visual, language = model.model.visual, model.model.language_model
    probes = {"patch_embed": visual.patch_embed, "merger": visual.merger}
    probes |= {f"vision_block.{i}": block for i, block in enumerate(visual.blocks)}
    probes |= {f"layer.{i}": layer for i, layer in enumerate(language.layers)}
    recorder = common.Recorder(name, model, language, probes)
    for case in cases:
        messages = common.IMAGE_CASES[case]
        prompt = processor.apply_chat_template(common.for_template(messages), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        inputs = processor(text=[prompt], images=pictures or None, return_tensors="pt")
        # One model is enough to check pixels with; the processors are the same.
        recorder.record(case, messages, prompt, dict(inputs), ids["<|image_pad|>"], name == "qwen2_5_vl" and case != "multi-turn")
    recorder.write()


def hub_name(name: str) -> str:
    """The name transformers 5 gives a parameter → the name in published files."""
    name = name.removeprefix("model.") if name.startswith("model.visual.") else name
    return name.replace("model.language_model.", "model.", 1) if name.startswith("model.language_model.") else name


def generate(only=None) -> None:
    variants = {
        "qwen2_5_vl": dict(generation="2.5", seed=11, tied=True),
        "qwen2_5_vl-untied": dict(generation="2.5", seed=12, tied=False, shards=3, cases=("one-image",)),
        "qwen2_5_vl-transformers5": dict(generation="2.5", seed=13, tied=False, dtype=torch.float16, saved_again=True, cases=("one-image",)),
        "qwen2_vl": dict(generation="2", seed=14, tied=True),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
