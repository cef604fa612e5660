"""InternVL in Hugging Face form (`InternVLForConditionalGeneration`), weights named as OpenGVLab/InternVL3-*-hf has them."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import common
import tiny_tokenizer
from tiny_tokenizer import write_json

# As in OpenGVLab/InternVL3-1B-hf.
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{'<|im_start|>assistant\n' }}{% endif %}"
)
VOCABULARY = 384
TILE = 56
IMAGE_PROCESSOR = {
    # The file says false, the processor's defaults say true and win.
    "crop_to_patches": False,
    "data_format": "channels_first",
    "default_to_square": True,
    "do_center_crop": None,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "GotOcr2ImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "max_patches": 6,
    "min_patches": 1,
    "processor_class": "InternVLProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": TILE, "width": TILE},
}


def text_config(language: str, ids: dict[str, int], dtype: torch.dtype, layers: int = 3) -> dict:
    common_keys = {
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 152,
        "max_position_embeddings": 2048,
        "model_type": language,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_cache": True,
        "vocab_size": VOCABULARY,
    }
    if language == "qwen2":
        return common_keys | {
            "architectures": ["Qwen2ForCausalLM"],
            "max_window_layers": 3,
            "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
            "sliding_window": None,
            "use_sliding_window": False,
        }
    if language == "qwen3":
        # head_dim differs from hidden_size / heads, as in Qwen3-0.6B
        return common_keys | {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 24,
                              "max_window_layers": 3, "rope_scaling": None, "sliding_window": None,
                              "use_sliding_window": False}  # fmt: skip
    assert language == "llama"
    return common_keys | {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "head_dim": 16, "mlp_bias": False,
                          "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0}  # fmt: skip


def vision_config(style: str, dtype: torch.dtype) -> dict:
    large = style == "6b"
    return {
        "architectures": ["InternVisionModel"],
        "attention_bias": not large,
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 32,
        "image_size": [TILE, TILE],
        "initializer_factor": 0.1,
        "initializer_range": 1e-10,
        "intermediate_size": 88,
        "layer_norm_eps": 1e-06,
        "layer_scale_init_value": 0.1,
        "model_type": "internvl_vision",
        "norm_type": "rms_norm" if large else "layer_norm",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 3,
        "patch_size": [14, 14],
        "projection_dropout": 0.0,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "use_absolute_position_embeddings": True,
        "use_mask_token": False,
        "use_mean_pooling": True,
        "use_qk_norm": large,
    }


def config(language: str, style: str, tied: bool, ids: dict[str, int], dtype: torch.dtype) -> dict:
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "downsample_ratio": 0.5,
        "image_seq_length": (TILE // 14) ** 2 // 4,
        "image_token_id": ids["<IMG_CONTEXT>"],
        "model_type": "internvl",
        "projector_hidden_act": "gelu",
        "text_config": text_config(language, ids, dtype) | {"tie_word_embeddings": tied},
        "tie_word_embeddings": tied,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "transformers_version": "4.52.0",
        "vision_config": vision_config(style, dtype),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }


def write_tokenizer(folder) -> dict[str, int]:
    names = {"context_image_token": "<IMG_CONTEXT>", "end_image_token": "</img>", "start_image_token": "<img>",
             "video_token": "<video>"}  # fmt: skip
    return tiny_tokenizer.qwen2(
        folder,
        tiny_tokenizer.QWEN_SPECIALS + tiny_tokenizer.INTERNVL_SPECIALS + ["<video>"],
        names | {"extra_special_tokens": names, "processor_class": "InternVLProcessor"},
    )


def build(name: str, language: str, style: str, seed: int, tied: bool, dtype=torch.bfloat16, saved_again: bool = False,
          cases=tuple(common.IMAGE_CASES)) -> None:  # fmt: skip
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = write_tokenizer(folder)
    write_json(folder / "config.json", config(language, style, tied, ids, dtype))
    write_json(folder / "preprocessor_config.json", IMAGE_PROCESSOR)
    write_json(
        folder / "processor_config.json", {"image_seq_length": (TILE // 14) ** 2 // 4, "processor_class": "InternVLProcessor"}
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
         "transformers_version": "4.52.0"},
    )  # fmt: skip

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
    common.randomize(model, seed, tied)
    state = {hub_name(key): value for key, value in model.state_dict().items()}
    if tied:
        del state["language_model.lm_head.weight"]
    common.write_weights(folder, state, dtype)
    if saved_again:
        common.save_again(folder)
    record(name, folder, ids, cases)


def record(name: str, folder, ids: dict[str, int], cases) -> None:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    recorder = recorder_for(name, model)
    for case in cases:
        messages = common.IMAGE_CASES[case]
        prompt = processor.apply_chat_template(common.for_template(messages), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        inputs = processor(text=[prompt], images=pictures or None, return_tensors="pt")
        recorder.record(case, messages, prompt, dict(inputs), ids["<IMG_CONTEXT>"], name == "internvl" and case != "multi-turn")
    recorder.write()


def recorder_for(name: str, model) -> common.Recorder:
    tower, language = model.model.vision_tower, model.model.language_model
    probes = {"patch_embed": tower.embeddings, "projector": model.model.multi_modal_projector}
    probes |= {f"vision_block.{i}": block for i, block in enumerate(tower.encoder.layer)}
    probes |= {f"layer.{i}": layer for i, layer in enumerate(language.layers)}
    return common.Recorder(name, model, language, probes)


def hub_name(name: str) -> str:
    """The name transformers 5 gives a parameter → the name in published files."""
    if name.startswith("lm_head."):
        return "language_model." + name
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    return name.removeprefix("model.")


def generate(only=None) -> None:
    variants = {
        "internvl": dict(language="qwen2", style="300m", seed=21, tied=False),
        "internvl-qwen3-transformers5": dict(language="qwen3", style="6b", seed=22, tied=True, saved_again=True, cases=("several-images",)),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
