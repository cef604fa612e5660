"""How close vlm on a GPU is to transformers on a checkpoint of real size, beside how close transformers' bfloat16 is to its float32.

    python Tools/benchmarks/make_checkpoints.py --out FOLDER internvl3-2b
    python Tools/cuda/compare_transformers.py FOLDER/internvl3-2b --vlm .build/release/vlm [--device cuda] [--work FOLDER]

Writes the folder's checkpoint with random bfloat16 weights made on the device, runs transformers in float32 (TF32 off) and bfloat16,
and `vlm trace` in both types on the same pictures and texts. Distances are relative L2 norms over all positions; the first token is the
greedy choice at each position. Exits with 1 when vlm's bfloat16 is further from transformers' float32 than 1.1 times transformers' own.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

TEXTS = [
    "What is in this picture? Name every object, its colour and its place, from left to right.",
    "time year people way day man thing woman life child world school state family student group",
    "Compare the two pictures and say which of them you would hang over your desk, and why.",
]


def write_checkpoint(assets: Path, folder: Path, device: str, seed: int = 0) -> None:
    """Random weights under the names that transformers saves."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in assets.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(assets))
    generator = torch.Generator(device).manual_seed(seed)
    state = {}
    for name, parameter in model.named_parameters():
        tensor = torch.empty(parameter.shape, dtype=torch.float32, device=device).normal_(0, 0.02, generator=generator)
        if "norm" in name and name.endswith("weight"):
            tensor += 1
        elif "lambda_" in name:
            tensor += 0.1
        state[name] = tensor.bfloat16().cpu()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def requests(folder: Path) -> list[list]:
    """Conversations in the form of OpenAI's API, with pictures of smooth noise."""
    conversations = []
    for number, text in enumerate(TEXTS):
        content = []
        for picture in range(2 if number == 2 else 1):
            generator = torch.Generator().manual_seed(10 * number + picture)
            coarse = torch.rand((1, 3, 14, 14), generator=generator)
            pixels = torch.nn.functional.interpolate(coarse, (448, 448), mode="bicubic").clamp(0, 1)[0]
            path = folder / f"{number}-{picture}.png"
            Image.fromarray((pixels.permute(1, 2, 0) * 255).to(torch.uint8).numpy()).save(path)
            content.append({"type": "image_url", "image_url": {"url": str(path)}})
        conversations.append([{"role": "user", "content": [*content, {"type": "text", "text": text}]}])
    return conversations


def inputs(processor, conversation: list):
    messages = json.loads(json.dumps(conversation))
    for part in messages[0]["content"]:
        if part["type"] == "image_url":
            part.update(type="image", image=Image.open(part.pop("image_url")["url"]).convert("RGB"))
    return processor.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


@torch.inference_mode()
def reference(checkpoint: Path, conversations: list, dtype: torch.dtype, device: str) -> list[dict]:
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, attn_implementation="sdpa").to(device).eval()
    processor = AutoProcessor.from_pretrained(checkpoint)
    results = []
    for conversation in conversations:
        batch = inputs(processor, conversation).to(device)
        pixels = batch["pixel_values"].to(dtype)
        features = model.model.get_image_features(pixel_values=pixels)
        features = getattr(features, "pooler_output", features)
        features = torch.cat(list(features)) if isinstance(features, (list, tuple)) else features
        logits = model(**{**batch, "pixel_values": pixels}).logits[0]
        results.append(
            {
                "ids": batch["input_ids"][0].cpu(),
                "features": features.reshape(-1, features.shape[-1]).float().cpu(),
                "logits": logits.float().cpu(),
            }
        )
    del model
    return results


def trace(vlm: str, checkpoint: Path, conversations: list, dtype: str, device: str, work: Path) -> list[dict]:
    results = []
    for number, conversation in enumerate(conversations):
        messages, out = work / f"{number}.json", work / f"{number}-{dtype}.safetensors"
        messages.write_text(json.dumps(conversation))
        command = [vlm, "trace", str(checkpoint), "--messages", str(messages), "--out", str(out), "--dtype", dtype]
        subprocess.run([*command, "--device", device, "--session-len", "2048", "--max-batch-size", "2"], check=True)
        arrays = load_file(out)
        results.append(
            {"ids": arrays["input_ids"].reshape(-1), "features": arrays["image_features"], "logits": arrays["logits"]}
        )
    return results


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


def row(name: str, results: list[dict], against: list[dict]) -> float:
    """Prints one line and returns the distance of all logits together."""
    features = distance(*(torch.cat([r["features"] for r in x]) for x in (results, against)))
    logits = distance(*(torch.cat([r["logits"] for r in x]) for x in (results, against)))
    same = torch.cat([r["logits"].argmax(-1) == o["logits"].argmax(-1) for r, o in zip(results, against)]).double().mean()
    print(f"{name:58} features {features:.2e}  logits {logits:.2e}  same greedy token {100 * float(same):.1f} %", flush=True)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--vlm", default=".build/release/vlm")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    work = arguments.work or Path(tempfile.mkdtemp())
    checkpoint = work / "checkpoint"
    write_checkpoint(arguments.assets, checkpoint, arguments.device)
    conversations = requests(work)
    exact = reference(checkpoint, conversations, torch.float32, arguments.device)
    rounded = reference(checkpoint, conversations, torch.bfloat16, arguments.device)
    if arguments.device == "cuda":
        torch.cuda.empty_cache()
    ours = {
        dtype: trace(arguments.vlm, checkpoint, conversations, dtype, arguments.device, work)
        for dtype in ("float32", "bfloat16")
    }
    for mine, theirs in zip(ours["float32"], exact):
        if mine["ids"].tolist() != theirs["ids"].tolist():
            sys.exit("token ids differ")
    row("vlm float32 against transformers float32", ours["float32"], exact)
    own = row("transformers bfloat16 against transformers float32", rounded, exact)
    error = row("vlm bfloat16 against transformers float32", ours["bfloat16"], exact)
    row("vlm bfloat16 against transformers bfloat16", ours["bfloat16"], rounded)
    print(f"vlm's bfloat16 error is {error / own:.2f} times transformers' own")
    sys.exit(error > 1.1 * own)


if __name__ == "__main__":
    main()
