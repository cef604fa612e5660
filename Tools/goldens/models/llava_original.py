"""LLaVA in the authors' form (`LlavaLlamaForCausalLM`, `LlavaMistralForCausalLM`, `LlavaQwenForCausalLM`) and Yi-VL, which transformers does
not load.

The reference is transformers' own LLaVA, LLaVA-NeXT or LLaVA-OneVision with the same numbers; this file writes them under the original
names, and the original configuration, prompts, tokenisation and preprocessing. Sources: haotian-liu/LLaVA at 7f5287c (llava/model), ff09d19
(llava/mm_utils.py) and bb7143c (llava/conversation.py); LLaVA-VL/LLaVA-NeXT at 0934af6; 01-ai/Yi at 20e7ba3 (VL/llava).
"""

import math
import shutil

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

import common
import llava
import tiny_tokenizer
from llava import PATCH, TILE, VOCABULARY
from tiny_tokenizer import write_json

VICUNA = ("A chat between a curious user and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the user's questions.")  # fmt: skip
YI = ("This is a chat between an inquisitive human and an AI assistant. Assume the role of the AI assistant. "
      "Read all the images carefully, and respond to the human's questions with informative, helpful, detailed and polite answers. "
      "这是一个好奇的人类和一个人工智能助手之间的对话。假设你扮演这个AI助手的角色。"
      "仔细阅读所有的图像，并对人类的问题做出信息丰富、有帮助、详细的和礼貌的回答。")  # fmt: skip
# The last token of the vocabulary, which no text has, for rows of pictures; the original marks them with -200.
SPARE = VOCABULARY - 1


def flatten(messages: list[dict], token: str) -> list[dict]:
    def joined(content) -> str:
        if isinstance(content, str):
            return content
        return "".join(token + "\n" if part["type"] == "image_url" else part["text"] for part in content)

    return [message | {"content": joined(message["content"])} for message in messages]


def conversation(style: str, messages: list[dict]) -> str:
    """conversation.py: `vicuna_v1`, `mistral_instruct`, `chatml_direct`, `qwen_1_5`, and Yi's `mm_default`."""
    system = {"vicuna": VICUNA, "mistral": "", "chatml": "Answer the questions.", "qwen": "You are a helpful assistant.", "yi": YI}[style]
    if messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    turns = [(message["role"] == "user", message["content"]) for message in messages]
    if style == "vicuna":
        text = "".join(f"USER: {content} " if user else f"ASSISTANT: {content}</s>" for user, content in turns)
        return f"{system} {text}ASSISTANT:"
    if style == "mistral":
        text = ""
        for index, (user, content) in enumerate(turns):
            if index == 0 and system:
                content = f"<<SYS>>\n{system}\n<</SYS>>\n\n{content}"
            text += f"[INST] {content} [/INST]" if user else f" {content} </s>"
        return text
    if style == "yi":
        return f"{system}\n\n### " + "".join(f"{'Human' if user else 'Assistant'}: {content}\n### " for user, content in turns) + "Assistant:"
    end = "<|im_end|>" + ("\n" if style == "qwen" else "")
    text = "".join(f"<|im_start|>{'user' if user else 'assistant'}\n{content}{end}" for user, content in turns)
    return f"<|im_start|>system\n{system}{end}{text}<|im_start|>assistant\n"


def best_canvas(picture, canvases) -> tuple[int, int]:
    """select_best_resolution: canvases are (width, height)."""
    width, height = picture.size
    best, most, least = None, 0, math.inf
    for canvas in canvases:
        scale = min(canvas[0] / width, canvas[1] / height)
        used = min(int(width * scale) * int(height * scale), width * height)
        wasted = canvas[0] * canvas[1] - used
        if used > most or (used == most and wasted < least):
            best, most, least = canvas, used, wasted
    return best


def tiles(picture, aspect: str, canvases, mean: list[float]) -> list[Image.Image]:
    if aspect == "pad":
        side = max(picture.size)
        square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        return [square.resize((TILE, TILE), Image.Resampling.BICUBIC)]
    width, height = best_canvas(picture, canvases)
    wide, tall = width / picture.width, height / picture.height
    size = (width, min(math.ceil(picture.height * wide), height)) if wide < tall else (min(math.ceil(picture.width * tall), width), height)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(picture.resize(size, Image.Resampling.BICUBIC), ((width - size[0]) // 2, (height - size[1]) // 2))
    boxes = [(x, y, x + TILE, y + TILE) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    return [picture.resize((TILE, TILE), Image.Resampling.BICUBIC)] + [canvas.crop(box) for box in boxes]


def pixels(parts: list[Image.Image], mean: list[float], std: list[float]) -> torch.Tensor:
    values = np.stack([np.asarray(part, dtype=np.float32) / 255 for part in parts])
    return torch.from_numpy((values - np.float32(mean)) / np.float32(std)).permute(0, 3, 1, 2).contiguous()


class NormedProjector(torch.nn.Module):
    """Yi-VL's `mlp2x_gelu_Norm`."""

    def __init__(self, vision: int, text: int):
        super().__init__()
        self.mm = torch.nn.Sequential(
            torch.nn.Linear(vision, text), torch.nn.LayerNorm(text), torch.nn.GELU(), torch.nn.Linear(text, text), torch.nn.LayerNorm(text))

    def forward(self, features):
        return self.mm(features)


def original_name(name: str) -> str:
    for new, old in [
        ("model.language_model.", "model."), ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
        ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."), ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("model.multi_modal_projector.mm.", "model.mm_projector."),
    ]:  # fmt: skip
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def build(name: str, language: str, style: str, aspect: str, seed: int, cases, tower: str = "clip") -> None:
    folder = common.FIXTURES / name / "checkpoint"
    shutil.rmtree(folder.parent, ignore_errors=True)
    is_yi = style == "yi"
    if style in ("qwen", "chatml"):
        ids = tiny_tokenizer.qwen2(folder, tiny_tokenizer.QWEN_SPECIALS[:3], {})
        ids |= {"<bos>": ids["<|im_start|>"], "<eos>": ids["<|im_end|>"]}
    else:
        ids = tiny_tokenizer.llama3(folder, tiny_tokenizer.LLAMA3_SPECIALS + ["</s>"], {"eos_token": "</s>"})
        ids |= {"<bos>": ids["<|begin_of_text|>"], "<eos>": ids["</s>"]}
    assert SPARE not in ids.values()
    text = llava.text_config(language, ids)
    # Width first here, height first in transformers.
    canvases = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE], [3 * TILE, TILE], [TILE, 3 * TILE]]
    anyres = aspect.startswith("anyres")
    kind = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen"}[language]
    vision = llava.vision_config(tower)
    write_json(
        folder / "config.json",
        text
        | {
            "architectures": [f"Llava{kind}ForCausalLM"],
            "freeze_mm_mlp_adapter": False,
            "image_aspect_ratio": aspect,
            "image_grid_pinpoints": canvases,
            "mm_hidden_size": vision["hidden_size"],
            "mm_patch_merge_type": "spatial_unpad" if anyres else "flat",
            "mm_projector_type": "mlp2x_gelu_Norm" if is_yi else "mlp2x_gelu",
            "mm_use_im_patch_token": False,
            "mm_use_im_start_end": False,
            "mm_vision_select_feature": "patch",
            "mm_vision_select_layer": -2,
            "mm_vision_tower": "./vit/tiny",
            "model_type": f"llava_{kind.lower()}",
            "tokenizer_padding_side": "right",
            "transformers_version": "4.37.2",
            "use_mm_proj": True,
        },
    )
    write_json(folder / "vit" / "tiny" / "config.json", vision)
    write_json(folder / "generation_config.json", {"_from_model_config": True, "bos_token_id": ids["<bos>"],
                                                   "eos_token_id": ids["<eos>"], "transformers_version": "4.37.2"})  # fmt: skip

    # The original SigLIP tower drops its last layer, and takes the output of what is left.
    reference = {"image_token_index": SPARE, "text_config": text, "vision_config": vision, "vision_feature_layer": -2,
                 "vision_feature_select_strategy": "default" if tower == "clip" else "full"}  # fmt: skip
    model_type = "llava"
    if anyres:
        reference["image_grid_pinpoints"] = [[height, width] for width, height in canvases]
        model_type = "llava_next" if aspect == "anyres" else "llava_onevision"
        reference["vision_aspect_ratio"] = aspect
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(model_type, **reference)).float().eval()
    if is_yi:
        model.model.multi_modal_projector = NormedProjector(vision["hidden_size"], text["hidden_size"])
    common.randomize(model, seed, tied=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    state = {original_name(key): value for key, value in model.state_dict().items()}
    if tower == "siglip":
        state = {key: value for key, value in state.items() if ".encoder.layers.2." not in key}
    common.write_weights(folder, state, torch.bfloat16)

    mean, std = (llava.CLIP_MEAN, llava.CLIP_STD) if tower == "clip" else ([0.5] * 3, [0.5] * 3)
    token = "<image_placeholder>" if is_yi else "<image>"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    recorder = common.Recorder(name, model, model.model.language_model, {})
    for case in cases:
        messages = llava.CASES[case]
        prompt = conversation(style, flatten(messages, token))
        pictures = [common.picture(each) for each in common.image_names(messages)]
        parts = [pixels(tiles(each, aspect, canvases, mean), mean, std) for each in pictures]
        sizes = torch.tensor([[each.height, each.width] for each in pictures])
        inputs = {}
        if parts:
            most = max(len(part) for part in parts)
            padded = [torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])]) for part in parts]
            inputs["pixel_values"] = torch.stack(padded) if anyres else torch.cat(parts)
            if anyres:
                inputs["image_sizes"] = sizes
        counts = []
        if parts:
            with torch.no_grad():
                counts = [len(each) for each in model.model.get_image_features(**inputs, vision_feature_layer=-2,
                          vision_feature_select_strategy=reference["vision_feature_select_strategy"],
                          **({"vision_aspect_ratio": aspect} if model_type == "llava_onevision" else {}),
                          return_dict=True).pooler_output]  # fmt: skip
        # tokenizer_image_token: text between pictures on its own, BOS once.
        pieces = [tokenizer(piece).input_ids for piece in prompt.split(token)]
        has_bos = pieces[0][:1] == [tokenizer.bos_token_id]
        token_ids = pieces[0]
        for count, piece in zip(counts, pieces[1:]):
            token_ids = token_ids + [SPARE] * count + piece[1 if has_bos else 0 :]
        inputs |= {"input_ids": torch.tensor([token_ids]), "attention_mask": torch.ones(1, len(token_ids), dtype=torch.int64)}
        recorder.record(case, messages, prompt, inputs, SPARE, case == "one-image")
    tower_name = "model.vision_tower.vision_tower.vision_model"
    unused = [f"{tower_name}.post_layernorm"] + ([f"{tower_name}.encoder.layers.2"] if tower == "clip" else [])
    recorder.write({"unused": unused})


def generate(only=None) -> None:
    variants = {
        "llava_original-vicuna": dict(language="llama", style="vicuna", aspect="pad", seed=81, cases=("one-image", "multi-turn")),
        "llava_original-mistral": dict(language="mistral", style="mistral", aspect="anyres", seed=82, cases=("several-images",)),
        "llava_original-qwen": dict(language="qwen2", style="qwen", aspect="anyres_max_2", seed=83, cases=("high-resolution",), tower="siglip"),
        "llava_original-yi": dict(language="llama", style="chatml", aspect="anyres", seed=84, cases=("one-image",)),
        "yi_vl": dict(language="llama", style="yi", aspect="pad", seed=85, cases=("multi-turn",)),
    }
    for name, options in variants.items():
        if only is None or name in only:
            build(name, **options)
