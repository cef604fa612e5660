"""Checkpoints of real size for benchmarks: configuration, tokenizer, chat template, and random weights if asked for.

    python make_checkpoints.py --out FOLDER [--weights] [qwen2-vl-2b] [internvl-256m] [internvl3-2b] [internvl3-8b]

`vlm bench FOLDER/qwen2-vl-2b --weights dummy:0` needs no weights; the peers read theirs from `--weights` (bfloat16, N(0, 0.02)).
"""

import argparse
import base64
import json
from pathlib import Path

# As in Qwen/Qwen2-VL-2B-Instruct.
QWEN_TEMPLATE = (
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
# As in OpenGVLab/InternVL3-1B-hf.
INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{'<|im_start|>assistant\n' }}{% endif %}"
)
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
INTERNVL_SPECIALS = ["<img>", "</img>", "<IMG_CONTEXT>", "<video>"]


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1))


def byte_alphabet() -> dict[int, str]:
    """Byte → the printable character that byte-level BPE writes for it (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def qwen_ranks() -> list[bytes]:
    """Qwen's 151,643 byte sequences in order of rank, from the tiktoken file of the package `dashscope`."""
    import dashscope

    lines = (Path(dashscope.__file__).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    return sorted(ranks, key=ranks.get)


def last_merge(token: bytes, rank_of: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two parts that byte-pair encoding has before its last merge makes `token`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        ranks = [rank_of.get(parts[i] + parts[i + 1], len(rank_of)) for i in range(len(parts) - 1)]
        at = min(range(len(ranks)), key=ranks.__getitem__)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def write_tokenizer(folder: Path, size: int, specials: list[str], config: dict) -> dict[str, int]:
    """A byte-level BPE of the first `size` ranks (they are closed under merging) and `specials`. Returns special → id."""
    tokens = qwen_ranks()[:size]
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    alphabet = byte_alphabet()

    def text(token: bytes) -> str:
        return "".join(alphabet[byte] for byte in token)

    ids = {token: len(tokens) + i for i, token in enumerate(specials)}
    added = [
        {"id": ids[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for token in specials
    ]  # fmt: skip
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": QWEN2_PATTERN}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
                ],
            },
            "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {text(token): rank for token, rank in rank_of.items()},
                "merges": [" ".join(map(text, last_merge(token, rank_of))) for token in tokens if len(token) > 1],
            },
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added},
            "additional_special_tokens": [token for token in specials if token != "<|endoftext|>"],
            "add_prefix_space": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "model_max_length": 32768,
            "clean_up_tokenization_spaces": False,
        }
        | config,
    )
    return ids


def write_generation_config(folder: Path, ids: dict[str, int]) -> None:
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": ids["<|endoftext|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        },
    )


def qwen2_vl_2b(folder: Path) -> None:
    """Every dimension as in Qwen/Qwen2-VL-2B-Instruct: 2.2 billion parameters."""
    ids = write_tokenizer(folder, 151643, QWEN_SPECIALS, {"chat_template": QWEN_TEMPLATE, "processor_class": "Qwen2VLProcessor"})
    write_json(
        folder / "config.json",
        {
            "architectures": ["Qwen2VLForConditionalGeneration"],
            "attention_dropout": 0.0,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "vision_token_id": ids["<|vision_pad|>"],
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "hidden_act": "silu",
            "hidden_size": 1536,
            "initializer_range": 0.02,
            "intermediate_size": 8960,
            "max_position_embeddings": 32768,
            "max_window_layers": 28,
            "model_type": "qwen2_vl",
            "num_attention_heads": 12,
            "num_hidden_layers": 28,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.41.2",
            "use_cache": True,
            "use_sliding_window": False,
            "vision_config": {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3, "hidden_size": 1536,
                              "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2},
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            "vocab_size": 151936,
        },
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
        },
    )
    write_json(folder / "chat_template.json", {"chat_template": QWEN_TEMPLATE})
    write_generation_config(folder, ids)


def internvl(
    folder: Path, ranks: int, image_size: int, tiles: int, image_tokens: int, text: dict, vision: dict
) -> None:
    """Configuration, tokenizer and processor of `InternVLForConditionalGeneration`."""
    names = {"context_image_token": "<IMG_CONTEXT>", "end_image_token": "</img>", "start_image_token": "<img>",
             "video_token": "<video>"}  # fmt: skip
    ids = write_tokenizer(
        folder,
        ranks,
        QWEN_SPECIALS + INTERNVL_SPECIALS,
        names | {"extra_special_tokens": names, "chat_template": INTERNVL_TEMPLATE, "processor_class": "InternVLProcessor"},
    )
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternVLForConditionalGeneration"],
            "downsample_ratio": 0.25 if image_tokens == 64 else 0.5,
            "image_seq_length": image_tokens,
            "image_token_id": ids["<IMG_CONTEXT>"],
            "model_type": "internvl",
            "projector_hidden_act": "gelu",
            "text_config": {
                "attention_dropout": 0.0,
                "bos_token_id": ids["<|endoftext|>"],
                "eos_token_id": ids["<|im_end|>"],
                "hidden_act": "silu",
                "initializer_range": 0.02,
                "torch_dtype": "bfloat16",
                "use_cache": True,
            }
            | text,
            "tie_word_embeddings": text["tie_word_embeddings"],
            "torch_dtype": "bfloat16",
            "transformers_version": "4.52.0",
            "vision_config": {
                "architectures": ["InternVisionModel"],
                "attention_bias": True,
                "attention_dropout": 0.0,
                "hidden_act": "gelu",
                "image_size": [image_size, image_size],
                "layer_norm_eps": 1e-06,
                "layer_scale_init_value": 0.1,
                "model_type": "internvl_vision",
                "norm_type": "layer_norm",
                "num_channels": 3,
                "use_absolute_position_embeddings": True,
                "use_mask_token": False,
                "use_mean_pooling": True,
                "use_qk_norm": False,
            }
            | vision,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
        },
    )
    write_json(
        folder / "preprocessor_config.json",
        {
            "crop_to_patches": tiles > 1,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "max_patches": tiles,
            "min_patches": 1,
            "processor_class": "InternVLProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": image_size, "width": image_size},
        },
    )
    write_json(folder / "processor_config.json", {"image_seq_length": image_tokens, "processor_class": "InternVLProcessor"})
    write_json(folder / "chat_template.json", {"chat_template": INTERNVL_TEMPLATE})
    write_generation_config(folder, ids)


def internvl_256m(folder: Path) -> None:
    """The size of SmolVLM-256M in InternVL's form: 512-pixel tiles of 64 tokens from a 12-layer encoder, and SmolLM2-135M's shape."""
    internvl(
        folder,
        ranks=49262,
        image_size=512,
        tiles=12,
        image_tokens=64,
        text={
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "head_dim": 64,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "max_position_embeddings": 8192,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": 9,
            "num_hidden_layers": 30,
            "num_key_value_heads": 3,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 100000.0,
            "tie_word_embeddings": True,
            "vocab_size": 49280,
        },
        vision={"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
                "patch_size": [16, 16]},
    )  # fmt: skip


def internvl3(folder: Path, **text: int) -> None:
    """InternViT-300M and a Qwen2.5 of InternVL3's size, with one tile of 448 pixels and 256 tokens for each picture."""
    internvl(
        folder,
        ranks=151643,
        image_size=448,
        tiles=1,
        image_tokens=256,
        text={
            "architectures": ["Qwen2ForCausalLM"],
            "max_position_embeddings": 32768,
            "model_type": "qwen2",
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "vocab_size": 151674,
            "num_hidden_layers": 28,
        }
        | text,
        vision={"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
                "patch_size": [14, 14]},
    )  # fmt: skip


def internvl3_2b(folder: Path) -> None:
    internvl3(folder, hidden_size=1536, num_attention_heads=12, num_key_value_heads=2, intermediate_size=8960)


def internvl3_8b(folder: Path) -> None:
    internvl3(folder, hidden_size=3584, num_attention_heads=28, num_key_value_heads=4, intermediate_size=18944)


def write_weights(folder: Path, seed: int) -> None:
    """Random bfloat16 weights under the names that published files use (Qwen2-VL) or transformers 5 saves (InternVL)."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    tied = model.config.get_text_config().tie_word_embeddings
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in ((name, tensor.shape) for name, tensor in model.named_parameters()):
        if name == "lm_head.weight" and tied:
            continue
        tensor = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)
        if name.endswith("weight") and "norm" in name or "ln_q.weight" in name:
            tensor += 1
        elif "lambda_" in name:
            tensor += 0.1
        if folder.name.startswith("qwen"):
            name = name.removeprefix("model.") if name.startswith("model.visual.") else name.replace("language_model.", "", 1)
        state[name] = tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


SMALL = {"qwen2-vl-2b": qwen2_vl_2b, "internvl-256m": internvl_256m}
CHECKPOINTS = SMALL | {"internvl3-2b": internvl3_2b, "internvl3-8b": internvl3_8b}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *CHECKPOINTS], default=[], metavar="NAME")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", action="store_true", help="write model.safetensors too (4.4 GB and 0.5 GB, 4.2 GB and 15.9 GB)")
    arguments = parser.parse_args()
    for seed, name in enumerate(arguments.names or SMALL):
        folder = arguments.out / name
        folder.mkdir(parents=True, exist_ok=True)
        CHECKPOINTS[name](folder)
        if arguments.weights:
            write_weights(folder, seed)
        print(folder)


if __name__ == "__main__":
    main()
