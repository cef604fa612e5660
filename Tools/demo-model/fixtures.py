"""Writes a small part of the evaluation set with transformers' answers, for the tests of the Swift package.

Usage: fixtures.py DATA CHECKPOINT OUT

OUT gets about sixty pictures and `demo.json`: messages, transformers' input_ids, grids and greedy output ids (float32, CPU, one
prompt at a time). Every other picture is a JPEG, the rest are PNG.
"""

import json
import pathlib
import sys

import torch
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from evaluate import TASKS, question
from scenes import Library

TEXT_ONLY = ["Hello", "Who are you?", "What can you do?"]


def main():
    data, checkpoint, out = sys.argv[1:]
    library, out = Library(data), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    processor = AutoProcessor.from_pretrained(checkpoint)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    torch.set_num_threads(1)
    prompts, number = [], 0
    for task in TASKS:
        for split in ("seen", "unseen"):
            kept, index = 0, 0
            while kept < 2:
                pictures, text, expected = question(library, task, split, index)
                index += 1
                if sum(p.width * p.height for p in pictures) > 260_000 * len(pictures):
                    continue
                names = []
                for picture in pictures:
                    number += 1
                    name = f"{number:02d}.{'jpg' if number % 2 else 'png'}"
                    picture.save(out / name, **({"quality": 92} if number % 2 else {"optimize": True}))
                    names.append(name)
                prompts.append((task, split, index - 1, names, text, expected))
                kept += 1
    prompts += [("text only", "seen", i, [], text, None) for i, text in enumerate(TEXT_ONLY)]
    cases = []
    for task, split, index, names, text, expected in prompts:
        content = [*({"type": "image", "image": name} for name in names), {"type": "text", "text": text}]
        resolved = [{**part, "image": str(out / part["image"])} if part["type"] == "image" else part for part in content]
        inputs = processor.apply_chat_template([{"role": "user", "content": resolved}], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=96, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        cases.append({
            "task": task, "split": split, "index": index, "messages": [{"role": "user", "content": content}], "expected": expected,
            "answer": processor.tokenizer.decode(output, skip_special_tokens=True), "output_ids": output.tolist(), "input_ids": inputs["input_ids"][0].tolist(),
            "image_grid_thw": inputs["image_grid_thw"].tolist() if names else []})
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    (out / "demo.json").write_text('{"made_with": "Tools/demo-model/fixtures.py, transformers 5.17.0, float32, CPU", "cases": [\n' + lines + "\n]}\n")
    right = sum(c["answer"] == c["expected"] for c in cases if c["expected"])
    print(len(cases), "prompts,", number, "pictures;", right, "of", sum(1 for c in cases if c["expected"]), "answers are right")


main()
