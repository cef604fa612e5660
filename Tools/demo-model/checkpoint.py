"""The demo model's configuration, tokenizer and checkpoint folder, in the published form of Qwen2.5-VL.

Usage: checkpoint.py DATA OUT    writes a folder with random weights (DATA is a prepare_fonts.py folder)
"""

import json
import pathlib
import random
import re
import sys
from collections import Counter

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from scenes import MAX_PIXELS, MIN_PIXELS, SCENES, Library, picture
from questions import CHAT, MIX, ask_mixed, ask_pair

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>",
           "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
SYSTEM = "You are a helpful assistant."
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
VOCABULARY = 1280

# The chat template that Qwen2.5-VL publishes.
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

VISION = dict(depth=8, hidden_size=384, intermediate_size=896, num_heads=6, patch_size=14, spatial_merge_size=2, temporal_patch_size=2, window_size=112, out_hidden_size=384,
              fullatt_block_indexes=[1, 3, 5, 7], hidden_act="silu", in_channels=3, tokens_per_second=2)
TEXT = dict(hidden_size=384, intermediate_size=832, num_hidden_layers=5, num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6,
            hidden_act="silu", attention_dropout=0.0, use_sliding_window=False, sliding_window=4096, max_window_layers=5, initializer_range=0.02,
            rope_theta=100.0, rope_scaling={"type": "mrope", "mrope_section": [4, 14, 14]})


def word_counts(data, samples=6000):
    """How often each word occurs in questions and answers; what is drawn on the pictures is rare beside the fixed phrases."""
    library, rng = Library(data), random.Random("tokenizer")
    counts = Counter()
    pieces = re.compile(r" ?[A-Za-z]+")
    for i in range(samples):
        scene = rng.choice(list(SCENES))
        _, facts = picture(rng, library, scene, model_size=(224, 224))
        texts = [x for _ in range(4) for x in ask_mixed(rng, facts, scene)]
        if i % 4 == 0:
            _, other = picture(rng, library, rng.choice(list(SCENES)), model_size=(224, 224))
            texts += ask_pair(rng, facts, other)
        for text in texts:
            counts.update(pieces.findall(text))
    for questions, answer in CHAT:
        for text in [*questions, answer, SYSTEM]:
            for piece in pieces.findall(text):
                counts[piece] += 40
    return counts


def build_tokenizer(data, out):
    """A byte-level BPE of Qwen2's form whose merges spell whole words of the fixed phrases, letter by letter from the left.

    What is read from a picture has few of these prefixes, so it is written nearly letter by letter; that is what a small model
    learns to read fastest.
    """
    byte_map = {}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = 0
    for b in range(256):
        if b in printable:
            byte_map[b] = chr(b)
        else:
            byte_map[b] = chr(256 + extra)
            extra += 1
    vocab = {ch: i for i, ch in enumerate(sorted(byte_map.values()))}
    merges = []
    space = byte_map[32]
    counts = word_counts(data)
    words = ["assistant", "user", "system"] + [w for w, n in counts.most_common() if n >= 30 and len(w.strip()) > 1]
    for word in words:
        symbols = word.replace(" ", space)
        for end in range(2, len(symbols) + 1):
            piece = symbols[:end]
            if piece in vocab:
                continue
            if len(vocab) >= VOCABULARY - len(SPECIAL):
                break
            vocab[piece] = len(vocab)
            merges.append((symbols[: end - 1], symbols[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    decoder = {str(tokenizer.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for t in SPECIAL}
    write(out / "tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder, "additional_special_tokens": SPECIAL[1:], "bos_token": None, "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 4096, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None, "processor_class": "Qwen2_5_VLProcessor"})
    return tokenizer


def write(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def configuration(tokenizer, vision=None, text=None):
    token = tokenizer.token_to_id
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "bos_token_id": token("<|endoftext|>"), "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"), "image_token_id": token("<|image_pad|>"), "video_token_id": token("<|video_pad|>"), "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"), "vision_token_id": token("<|vision_pad|>"), "vocab_size": VOCABULARY, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "use_cache": True, **TEXT, **(text or {}), "vision_config": {"model_type": "qwen2_5_vl", **VISION, **(vision or {})}}


def write_folder(out, tokenizer, vision=None, text=None):
    """Everything of the checkpoint but the weights. Returns transformers' configuration read back from it."""
    out = pathlib.Path(out)
    token = tokenizer.token_to_id
    write(out / "config.json", configuration(tokenizer, vision, text))
    write(out / "generation_config.json", {"bos_token_id": token("<|endoftext|>"), "pad_token_id": token("<|endoftext|>"), "do_sample": False, "max_new_tokens": 96,
                                           "eos_token_id": [token("<|im_end|>"), token("<|endoftext|>")], "transformers_version": "5.17.0"})
    write(out / "preprocessor_config.json", {
        "min_pixels": MIN_PIXELS, "max_pixels": MAX_PIXELS, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"})
    (out / "chat_template.jinja").write_text(TEMPLATE)
    return Qwen2_5_VLConfig.from_pretrained(out)


def random_model(config, seed=0):
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(config)


def save(model, out, config_only_from=None):
    """Saves the weights as bfloat16 under the names of the published checkpoints (visual.*, model.*)."""
    from safetensors.torch import save_file
    state = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        name = name.replace("model.visual.", "visual.", 1) if name.startswith("model.visual.") else name.replace("model.language_model.", "model.", 1)
        state[name] = value.detach().to(torch.bfloat16).contiguous().cpu()
    save_file(state, str(pathlib.Path(out) / "model.safetensors"), metadata={"format": "pt"})
    (pathlib.Path(out) / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    data, out = sys.argv[1:]
    tokenizer = build_tokenizer(data, out)
    config = write_folder(out, tokenizer)
    model = random_model(config)
    save(model, out)
    print(sum(p.numel() for p in model.parameters()) / 1e6, "million parameters;", tokenizer.get_vocab_size(), "tokens")
