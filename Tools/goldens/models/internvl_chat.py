"""InternVL in its original form (`InternVLChatModel`, remote code that transformers does not contain).

The reference is transformers' own InternVL with the same numbers; this file writes them under the original names, and the original
configuration, prompts and preprocessing. Sources: OpenGVLab/InternVL at 0556aa8e (conversation.py) and 03285798
(internvl_chat/internvl/model/internvl_chat/modeling_internvl_chat.py), and train/dataset.py (dynamic_preprocess) of the same.
"""

import re
import shutil

import jinja2.sandbox
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2Tokenizer

import common
import internlm2
import internvl
import tiny_tokenizer
from internvl import TILE, VOCABULARY
from tiny_tokenizer import write_json

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
SYSTEM = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
# What the published tokenizers of the language models bring; content must be a string.
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INTERNLM2_TEMPLATE = "{{ bos_token }}" + CHATML


def flatten(messages: list[dict]) -> list[dict]:
    """Content as one string: an image becomes `<image>` and a newline, in place."""

    def joined(content) -> str:
        if isinstance(content, str):
            return content
        return "".join("<image>\n" if part["type"] == "image_url" else part["text"] for part in content)

    return [message | {"content": joined(message["content"])} for message in messages]


def builtin_prompt(messages: list[dict]) -> str:
    """conversation.py's `internvl2_5`."""
    system = SYSTEM
    if messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    turns = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
    return f"<|im_start|>system\n{system}<|im_end|>\n{turns}<|im_start|>assistant\n"


def tiles(picture, largest: int) -> torch.Tensor:
    """dynamic_preprocess with a thumbnail; resized by torchvision on uint8 as transformers does, so horizontal pass first."""
    width, height = picture.size
    ratios = sorted(
        {(i, j) for i in range(1, largest + 1) for j in range(1, largest + 1) if i * j <= largest}, key=lambda r: (r[0] * r[1], r)
    )
    best, best_difference = (1, 1), float("inf")
    for ratio in ratios:
        difference = abs(width / height - ratio[0] / ratio[1])
        if difference < best_difference:
            best, best_difference = ratio, difference
        elif difference == best_difference and width * height > 0.5 * TILE * TILE * ratio[0] * ratio[1]:
            best = ratio
    pixels = vision.pil_to_tensor(picture)

    def resized(columns: int, rows: int) -> torch.Tensor:
        return vision.resize(pixels, [rows * TILE, columns * TILE], InterpolationMode.BICUBIC, antialias=True)

    columns, rows = best
    canvas = resized(columns, rows)
    parts = [
        canvas[:, row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        for row in range(rows)
        for column in range(columns)
    ]
    if len(parts) > 1:
        parts.append(resized(1, 1))
    mean, std = 255 * MEAN.view(3, 1, 1), 255 * STD.view(3, 1, 1)
    return torch.stack([(part.float() - mean) / std for part in parts])


def original_names(state: dict[str, torch.Tensor], text: dict) -> dict[str, torch.Tensor]:
    names = [
        (r"^model\.vision_tower\.embeddings\.cls_token$", "vision_model.embeddings.class_embedding"),
        (r"^model\.vision_tower\.embeddings\.position_embeddings$", "vision_model.embeddings.position_embedding"),
        (r"^model\.vision_tower\.embeddings\.patch_embeddings\.projection", "vision_model.embeddings.patch_embedding"),
        (r"^model\.vision_tower\.encoder\.layer\.", "vision_model.encoder.layers."),
        (r"\.attention\.projection_layer\.", ".attn.proj."),
        (r"\.attention\.([qk])_norm\.", r".attn.\1_norm."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.lambda_([12])$", r".ls\1"),
        (r"^model\.multi_modal_projector\.layer_norm\.", "mlp1.0."),
        (r"^model\.multi_modal_projector\.linear_1\.", "mlp1.1."),
        (r"^model\.multi_modal_projector\.linear_2\.", "mlp1.3."),
    ]
    language, rest = {}, {}
    for name, value in state.items():
        if name.startswith("lm_head."):
            language[name] = value
        elif name.startswith("model.language_model."):
            language["model." + name.removeprefix("model.language_model.")] = value
        elif ".attention.q_proj." in name:
            joined = torch.cat([state[name.replace("q_proj", each)] for each in ("q_proj", "k_proj", "v_proj")])
            layer, leaf = re.search(r"layer\.(\d+)\.attention\.q_proj\.(\w+)", name).groups()
            rest[f"vision_model.encoder.layers.{layer}.attn.qkv.{leaf}"] = joined
        elif ".attention.k_proj." not in name and ".attention.v_proj." not in name:
            for pattern, new in names:
                name = re.sub(pattern, new, name)
            rest[name] = value
    if text["architectures"] == ["InternLM2ForCausalLM"]:
        language = internlm2.pack(language, text["num_attention_heads"], text["num_key_value_heads"], 16)
    return rest | {"language_model." + name: value for name, value in language.items()}


def build(name: str, language: str, style: str, seed: int, template: str | None, largest: int, version: str = "v2", shards: int = 1,
          cases=("several-images",)) -> None:  # fmt: skip
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    dtype = torch.bfloat16
    is_internlm2 = language == "internlm2"
    chat_template = {} if template is None else {"chat_template": template}
    specials = tiny_tokenizer.INTERNVL_SPECIALS
    if is_internlm2:
        ids = tiny_tokenizer.internlm2(folder, specials, chat_template)
        ids |= {"<|endoftext|>": ids["</s>"]}
    else:
        ids = tiny_tokenizer.qwen2(folder, tiny_tokenizer.QWEN_SPECIALS + specials, chat_template)
    text = internvl.text_config("llama" if is_internlm2 else language, ids, dtype, layers=2)
    reference = internvl.config("llama" if is_internlm2 else language, style, False, ids, dtype)
    reference["text_config"] = text | {"tie_word_embeddings": False}
    reference["vision_config"]["num_hidden_layers"] = 2
    written = {"tie_word_embeddings": False} | text
    if is_internlm2:
        for key in ("attention_bias", "mlp_bias", "head_dim", "pretraining_tp", "attention_dropout"):
            del written[key]
        written |= {
            "architectures": ["InternLM2ForCausalLM"],
            "attn_implementation": "eager",
            "bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "model_type": "internlm2",
            "rope_scaling": {"factor": 2.0, "type": "dynamic"},
        }
    large = style == "6b"
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternVLChatModel"],
            "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig",
                         "AutoModel": "modeling_internvl_chat.InternVLChatModel",
                         "AutoModelForCausalLM": "modeling_internvl_chat.InternVLChatModel"},
            "downsample_ratio": 0.5,
            "dynamic_image_size": True,
            "force_image_size": TILE,
            "llm_config": written,
            "max_dynamic_patch": largest,
            "min_dynamic_patch": 1,
            "model_type": "internvl_chat",
            "pad2square": False,
            "ps_version": version,
            "select_layer": -1,
            "template": "internlm2-chat" if is_internlm2 else "internvl2_5",
            "torch_dtype": "bfloat16",
            "transformers_version": None,
            "use_backbone_lora": 0,
            "use_llm_lora": 0,
            "use_thumbnail": True,
            "vision_config": {
                "architectures": ["InternVisionModel"],
                "attention_dropout": 0.0,
                "drop_path_rate": 0.0,
                "dropout": 0.0,
                "hidden_act": "gelu",
                "hidden_size": 32,
                "image_size": TILE,
                "initializer_factor": 1.0,
                "initializer_range": 0.02,
                "intermediate_size": 88,
                "layer_norm_eps": 1e-06,
                "model_type": "intern_vit_6b",
                "norm_type": "rms_norm" if large else "layer_norm",
                "num_attention_heads": 2,
                "num_channels": 3,
                "num_hidden_layers": 2,
                "patch_size": 14,
                "qk_normalization": large,
                "qkv_bias": not large,
                "torch_dtype": "bfloat16",
                "use_bfloat16": True,
                "use_flash_attn": True,
            },
        },
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {"crop_size": TILE, "do_center_crop": True, "do_normalize": True, "do_resize": True,
         "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN.tolist(), "image_std": STD.tolist(), "resample": 3,
         "size": TILE},
    )  # fmt: skip
    write_json(folder / "generation_config.json", {"_from_model_config": True, "transformers_version": "4.37.2",
                                                   "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]]})  # fmt: skip

    settings = AutoConfig.for_model(**reference)
    model = AutoModelForImageTextToText.from_config(settings).float().eval()
    common.randomize(model, seed, tied=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())
    common.write_weights(folder, original_names(model.state_dict(), written), dtype, shards)

    if version == "v1":
        # ps_version v1 leaves height and width swapped: the same as transposing the merged grid.
        shuffle = model.model.pixel_shuffle
        model.model.pixel_shuffle = lambda features, scale_factor=0.5: shuffle(features, scale_factor).transpose(1, 2).contiguous()
    recorder = internvl.recorder_for(name, model)
    tokenizer = None if is_internlm2 else Qwen2Tokenizer.from_pretrained(folder)
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    for case in cases:
        messages = common.IMAGE_CASES[case]
        flat = flatten(messages)
        if template is None:
            prompt = builtin_prompt(flat)
        else:
            prompt = environment.from_string(template).render(messages=flat, add_generation_prompt=True, bos_token="<s>")
        expanded, all_tiles = prompt, []
        for each in common.image_names(messages):
            all_tiles.append(tiles(common.picture(each), largest))
            context = "<IMG_CONTEXT>" * (reference["image_seq_length"] * len(all_tiles[-1]))
            expanded = expanded.replace("<image>", f"<img>{context}</img>", 1)
        token_ids = tiny_tokenizer.internlm2_encode(folder, ids, expanded) if is_internlm2 else tokenizer(expanded).input_ids
        inputs = {"input_ids": torch.tensor([token_ids]), "attention_mask": torch.ones(1, len(token_ids), dtype=torch.int64)}
        if all_tiles:
            inputs["pixel_values"] = torch.cat(all_tiles)
        recorder.record(case, messages, prompt, inputs, ids["<IMG_CONTEXT>"], case == "one-image")
    recorder.write()


def generate(only=None) -> None:
    variants = {
        "internvl_chat-qwen2": dict(language="qwen2", style="300m", seed=31, template=CHATML, largest=6, shards=2,
                                    cases=("one-image", "multi-turn", "text")),
        "internvl_chat-qwen3": dict(language="qwen3", style="6b", seed=32, template=CHATML, largest=12),
        "internvl_chat-internlm2": dict(language="internlm2", style="300m", seed=33, template=INTERNLM2_TEMPLATE, largest=4),
        # no chat template: the prompt comes from config.json's `template`; ps_version v1 as in the first releases
        "internvl_chat-llama": dict(language="llama", style="300m", seed=34, template=None, largest=6, version="v1"),
    }  # fmt: skip
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
