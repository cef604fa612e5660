"""Qwen3-VL (dense) in the form the hub publishes it: `model.visual.*`, `model.language_model.*`, a head of its own or tied."""

import shutil

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import common
import tiny_tokenizer
from tiny_tokenizer import write_json

# As in Qwen/Qwen3-VL-4B-Instruct, without its part for tools.
TEMPLATE = (
    "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' }}{%- if messages[0].content is string %}"
    "{{- messages[0].content }}{%- else %}{%- for content in messages[0].content %}{%- if 'text' in content %}"
    "{{- content.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}{%- endif %}"
    "{%- set image_count = namespace(value=0) %}{%- set video_count = namespace(value=0) %}{%- for message in messages %}"
    "{%- if message.role == 'user' %}{{- '<|im_start|>' + message.role + '\n' }}{%- if message.content is string %}"
    "{{- message.content }}{%- else %}{%- for content in message.content %}"
    "{%- if content.type == 'image' or 'image' in content or 'image_url' in content %}"
    "{%- set image_count.value = image_count.value + 1 %}{%- if add_vision_id %}Picture {{ image_count.value }}: {% endif -%}"
    "<|vision_start|><|image_pad|><|vision_end|>{%- elif content.type == 'video' or 'video' in content %}"
    "{%- set video_count.value = video_count.value + 1 %}{%- if add_vision_id %}Video {{ video_count.value }}: {% endif -%}"
    "<|vision_start|><|video_pad|><|vision_end|>{%- elif 'text' in content %}{{- content.text }}{%- endif %}{%- endfor %}"
    "{%- endif %}{{- '<|im_end|>\n' }}{%- elif message.role == 'assistant' %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for content_item in message.content %}"
    "{%- if 'text' in content_item %}{{- content_item.text }}{%- endif %}{%- endfor %}{%- endif %}{{- '<|im_end|>\n' }}"
    "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
VOCABULARY = 384
WIDTH = 48
LAYERS = 3
# After which blocks of the tower features are taken, for the outputs of as many layers of the language model.
DEEPSTACK = [0, 2]


def build(name: str, seed: int, tied: bool, dtype=torch.bfloat16, saved_again: bool = False, cases=tuple(common.IMAGE_CASES)) -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    ids = tiny_tokenizer.qwen2(
        folder, tiny_tokenizer.QWEN_SPECIALS, {"chat_template": TEMPLATE, "processor_class": "Qwen3VLProcessor"}
    )
    write_json(
        folder / "config.json",
        {
            "architectures": ["Qwen3VLForConditionalGeneration"],
            "image_token_id": ids["<|image_pad|>"],
            "model_type": "qwen3_vl",
            "text_config": {
                "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": ids["<|endoftext|>"],
                "dtype": str(dtype).removeprefix("torch."), "eos_token_id": ids["<|im_end|>"], "head_dim": 16, "hidden_act": "silu",
                "hidden_size": WIDTH, "initializer_range": 0.02, "intermediate_size": 96, "max_position_embeddings": 2048,
                "model_type": "qwen3_vl_text", "num_attention_heads": 4, "num_hidden_layers": LAYERS, "num_key_value_heads": 2,
                "rms_norm_eps": 1e-06, "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"},
                "rope_theta": 5000000, "tie_word_embeddings": tied, "use_cache": True, "vocab_size": VOCABULARY,
            },
            "tie_word_embeddings": tied,
            "transformers_version": "4.57.0.dev0",
            "video_token_id": ids["<|video_pad|>"],
            "vision_config": {
                "deepstack_visual_indexes": DEEPSTACK, "depth": 4, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 32,
                "in_channels": 3, "initializer_range": 0.02, "intermediate_size": 56, "model_type": "qwen3_vl", "num_heads": 2,
                # A table of 6 by 6 for grids that are smaller and larger.
                "num_position_embeddings": 36, "out_hidden_size": WIDTH, "patch_size": 16, "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
        },
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "size": {"longest_edge": 40000, "shortest_edge": 4096},
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "processor_class": "Qwen3VLProcessor",
            "image_processor_type": "Qwen2VLImageProcessorFast",
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
            "top_k": 20,
            "top_p": 0.8,
            "temperature": 0.7,
            "transformers_version": "4.56.0",
        },
    )

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
    common.randomize(model, seed, tied)
    with torch.no_grad():
        # An embedding that is a table of positions, not a weight with a fan-in.
        table = model.model.visual.pos_embed.weight
        table.copy_(0.4 * torch.randn(table.shape, generator=torch.Generator().manual_seed(seed + 100)))
    state = dict(model.state_dict())
    if tied:
        del state["lm_head.weight"]
    common.write_weights(folder, state, dtype)
    if saved_again:
        common.save_again(folder)

    # From here on only what is on disk counts.
    model, report = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    model.eval()
    processor = AutoProcessor.from_pretrained(folder)
    recorder = common.Recorder(name, model, model.model.language_model, {})
    for case in cases:
        messages = common.IMAGE_CASES[case]
        prompt = processor.apply_chat_template(common.for_template(messages), add_generation_prompt=True, tokenize=False)
        pictures = [common.picture(each) for each in common.image_names(messages)]
        inputs = processor(text=[prompt], images=pictures or None, return_tensors="pt")
        # Pixels are those of Qwen2-VL's processor; one case shows its patches of 16.
        recorder.record(case, messages, prompt, dict(inputs), ids["<|image_pad|>"], case == "several-images")
    recorder.write()


def generate(only=None) -> None:
    variants = {
        "qwen3_vl": dict(seed=71, tied=True),
        "qwen3_vl-transformers5": dict(seed=72, tied=False, dtype=torch.float16, saved_again=True, cases=("one-image",)),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
