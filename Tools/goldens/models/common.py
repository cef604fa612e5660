"""What all families share: pictures, conversations, random weights, and the recording of a reference run."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from tiny_tokenizer import write_json

FIXTURES = Path(__file__).resolve().parents[3] / "Tests" / "Fixtures" / "models"
IMAGES = FIXTURES / "images"
NEW_TOKENS = 24

# name → (width, height): wide, tall and square pictures; one that must be enlarged, one that must be shrunk.
PICTURES = {"wide": (150, 70), "tall": (60, 170), "square": (64, 64), "tiny": (30, 21), "large": (200, 150)}


def write_pictures() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for seed, (name, (width, height)) in enumerate(PICTURES.items()):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        pixels = np.stack([255 * x / width, 255 * y / height, 127 + 100 * np.sin((x + 2 * y) / 9 + seed)], axis=-1)
        picture = Image.fromarray((pixels + random.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))
        draw = ImageDraw.Draw(picture)
        for _ in range(4):
            left, top = random.integers(0, width - 8), random.integers(0, height - 8)
            box = [left, top, left + random.integers(6, width // 2), top + random.integers(6, height // 2)]
            color = tuple(int(c) for c in random.integers(0, 256, 3))
            draw.ellipse(box, fill=color) if random.random() < 0.5 else draw.rectangle(box, fill=color)
        # Few colors keep the files small; edges stay sharp, so a wrong filter shows.
        picture.quantize(64).convert("RGB").save(IMAGES / f"{name}.png", optimize=True)


def picture(name: str) -> Image.Image:
    return Image.open(IMAGES / f"{name}.png").convert("RGB")


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def image(name: str) -> dict:
    # Relative to golden.json, as the command line resolves paths in a messages file.
    return {"type": "image_url", "image_url": {"url": f"../images/{name}.png"}}


def user(*content) -> dict:
    return {"role": "user", "content": content[0] if len(content) == 1 and isinstance(content[0], str) else list(content)}


def assistant(value: str) -> dict:
    return {"role": "assistant", "content": value}


def system(value: str) -> dict:
    return {"role": "system", "content": value}


IMAGE_CASES = {
    "one-image": [user(image("wide"), text("What is in the picture?"))],
    "several-images": [
        user(text("Compare "), image("tall"), text(" and "), image("square"), text(", please: which has more circles? 多少"))
    ],
    "multi-turn": [
        system("Answer yes or no."),
        user(image("tiny"), text("Is it red?")),
        assistant("Yes."),
        user(text("And this one?"), image("large")),
    ],
    "text": [user("Hello! How are you today?")],
}
TEXT_CASES = {
    "text": [user("Hello! How are you today?")],
    "multi-turn": [
        system("Answer yes or no."),
        user("Is the sea blue? naïve café 数 3.14159"),
        assistant("Yes."),
        user("Write a short poem about the sea, then count from 1 to 10."),
    ],
}


def image_names(messages: list[dict]) -> list[str]:
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return [Path(part["image_url"]["url"]).stem for part in parts if part["type"] == "image_url"]


def for_template(messages: list[dict]) -> list[dict]:
    """The same messages in the form transformers' chat templates read: image parts without the picture."""

    def part(value: dict) -> dict:
        return {"type": "image"} if value["type"] == "image_url" else value

    return [
        message if isinstance(message["content"], str) else message | {"content": [part(value) for value in message["content"]]}
        for message in messages
    ]


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: int, tied: bool) -> None:
    """Weights under which every tensor matters and logits are well spread: no bias 0, no norm 1, no layer scale tiny."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        normal = torch.randn(parameter.shape, generator=generator)
        leaf = name.rsplit(".", 1)[-1]
        if leaf == "bias":
            value = 0.1 * normal
        elif leaf.startswith("lambda_"):
            value = 0.6 + 0.1 * normal
        elif "norm" in name or "ln_q" in name:
            value = 1 + 0.15 * normal
        elif "embed_tokens" in name or "lm_head" in name:
            value = (0.45 if tied or "lm_head" in name else 0.8) * normal
        elif leaf in ("cls_token", "position_embeddings"):
            value = 0.3 * normal
        else:
            fan_in = math.prod(parameter.shape[1:])
            # A tied head favours the token just read unless the layers say more than the embedding does.
            gain = 3.0 if tied and ("o_proj" in name or "down_proj" in name) else 1.25
            value = gain * normal / math.sqrt(fan_in)
        parameter.copy_(value)


def write_weights(folder: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype, shards: int = 1) -> None:
    tensors = {name: tensor.detach().to(dtype).contiguous().clone() for name, tensor in sorted(tensors.items())}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    per_shard = -(-len(names) // shards)
    weight_map = {}
    for index in range(shards):
        file = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        part = names[index * per_shard : (index + 1) * per_shard]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= {name: file for name in part}
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def save_again(folder: Path, new_names: bool = False) -> None:
    """Replaces a checkpoint in published form by what transformers 5 itself saves: nested `text_config`, `rope_parameters` instead of
    `rope_theta` and `rope_scaling`, the image processor inside processor_config.json, the template in chat_template.jinja.

    `new_names`: also the parameter names of transformers' modules (`model.language_model.*`), which some hub files have.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if new_names:
        state = {name: value for name, value in model.state_dict().items() if not (name == "lm_head.weight" and model_is_tied(model))}
        write_weights(folder, state, model.dtype)


def model_is_tied(model: torch.nn.Module) -> bool:
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight


def relative_l2(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


class Recorder:
    """Runs cases through a reference model and writes golden.json and golden.safetensors beside the checkpoint."""

    def __init__(self, name: str, model: torch.nn.Module, language_model: torch.nn.Module, probes: dict[str, torch.nn.Module]):
        self.folder = FIXTURES / name
        self.model = model
        self.language_model = language_model
        # golden name → module whose output is kept, for the first case with that module in use
        self.probes = probes
        self.tensors: dict[str, torch.Tensor] = {}
        self.cases: list[dict] = []

    @torch.no_grad()
    def record(self, name: str, messages, prompt: str, inputs: dict, image_token: int | None, pixels: bool = True) -> None:
        """`inputs`: what the model's forward takes, batch of one."""
        seen: dict[str, torch.Tensor] = {}
        hooks = [self.language_model.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)]
        captured: dict[str, torch.Tensor] = {}

        def keep(key: str):
            def hook(_, __, output):
                output = output[0] if isinstance(output, tuple) else output
                captured[key] = output

            return hook

        first = not self.cases
        if first:
            hooks += [module.register_forward_hook(keep(key)) for key, module in self.probes.items()]
        logits = self.model(**inputs, use_cache=False).logits[0]
        for hook in hooks:
            hook.remove()

        ids = inputs["input_ids"][0]
        self.put(name, "input_ids", ids.to(torch.int32))
        self.put(name, "logits", logits)
        positions = seen.get("position_ids")
        if positions is not None and positions.dim() == 3:
            # transformers may put the plain text positions before the three axes
            self.put(name, "position_ids", positions[-3:, 0].to(torch.int32))
        if image_token is not None and "pixel_values" in inputs:
            # What is added to hidden states further up lies beside the embeddings (DeepStack).
            stacked = seen.get("deepstack_visual_embeds") or []
            self.put(name, "image_features", torch.cat([seen["inputs_embeds"][0][ids == image_token], *stacked], dim=-1))
            if pixels:
                self.put(name, "pixel_values", inputs["pixel_values"])
            if "image_grid_thw" in inputs:
                self.put(name, "image_grid_thw", inputs["image_grid_thw"])
        for key, value in captured.items():
            self.put(name, key, value.reshape(-1, value.shape[-1]))

        tokens, margins = self.greedy(inputs)
        bfloat16 = self.bfloat16_logits(inputs)
        self.cases.append(
            {
                "name": name,
                "messages": messages,
                "images": [f"../images/{each}.png" for each in image_names(messages)],
                "prompt": prompt,
                "greedy_tokens": tokens,
                "top2_margins": margins,
                "bfloat16_relative_l2": relative_l2(bfloat16, logits),
            }
        )

    def greedy(self, inputs: dict) -> tuple[list[int], list[float]]:
        from transformers import GenerationConfig

        # What generation_config.json asks for (sampling, penalties) would be merged in; greedy means the raw logits' argmax.
        self.model.generation_config = GenerationConfig()
        output = self.model.generate(
            **inputs,
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0, output_logits=True,
                return_dict_in_generate=True,
            ),
        )  # fmt: skip
        tokens = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        assert len(tokens) == NEW_TOKENS and tokens == [int(step[0].argmax()) for step in output.logits]
        top = [step[0].float().topk(2).values for step in output.logits]
        return tokens, [round(float(pair[0] - pair[1]), 6) for pair in top]

    @torch.no_grad()
    def bfloat16_logits(self, inputs: dict) -> torch.Tensor:
        state = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.model.to(torch.bfloat16)
        # transformers keeps rotary frequencies in float32 when it loads a bfloat16 checkpoint
        for name, buffer in self.model.named_buffers():
            owner, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(owner), leaf, buffers[name])
        logits = self.model(**inputs, use_cache=False).logits[0].float()
        self.model.to(torch.float32)
        for name, buffer in buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(owner), leaf, buffer)
        self.model.load_state_dict(state)
        return logits

    def put(self, case: str, key: str, value: torch.Tensor) -> None:
        value = value.detach()
        self.tensors[f"{case}.{key}"] = (value.float() if value.is_floating_point() else value).contiguous().clone()

    def write(self, extra: dict | None = None) -> None:
        save_file(self.tensors, self.folder / "golden.safetensors")
        write_json(self.folder / "golden.json", (extra or {}) | {"checkpoint": "checkpoint", "cases": self.cases})
        margins = [margin for case in self.cases for margin in case["top2_margins"]]
        distinct = [len(set(case["greedy_tokens"])) for case in self.cases]
        size = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        bfloat16 = max(case["bfloat16_relative_l2"] for case in self.cases)
        print(
            f"{self.folder.name}: {size / 1e6:.2f} MB, margins min {min(margins):.4f} median {np.median(margins):.3f}, "
            f"distinct tokens {distinct}, bfloat16 {bfloat16:.1e}, "
            f"lengths {[self.tensors[case['name'] + '.input_ids'].shape[0] for case in self.cases]}",
            flush=True,
        )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest(versions: dict) -> None:
    files = sorted(file for file in FIXTURES.rglob("*") if file.is_file() and file.name != "manifest.json")
    value = {"command": "python Tools/goldens/models/generate.py", "versions": versions}
    value["sha256"] = {str(file.relative_to(FIXTURES)): sha256(file) for file in files}
    (FIXTURES / "manifest.json").write_text(json.dumps(value, indent=1) + "\n")
