"""Checks that the training forward pass gives transformers' logits, for every kind of chunk.

Usage: test_fast.py DATA CHECKPOINT [--compile]
"""

import random
import sys

import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from data import Maker
from fast import Fast, to_device


def rows(chunk, view, index, encode):
    """The segments of one row as lists of token ids, with the answers' places."""
    arrays = chunk["texts"][view]
    ids, seg, early = arrays["ids"][index], arrays["seg"][index], arrays["early"][index]
    length = arrays["ids"].shape[1]
    for number in range(1, max(seg) + 1):
        places = [i for i in range(length) if seg[i] == number]
        question = [int(ids[i]) for i in range(length) if early[i]]
        answers = [(k, places.index(w - index * length)) for k, w in enumerate(arrays["where"]) if index * length <= w < (index + 1) * length and w - index * length in places]
        yield question, [int(ids[i]) for i in places], answers


def compare(data, folder, compiled=False, chunks=24, device="cpu"):
    processor = AutoProcessor.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(device).eval()
    fast = Fast(model, compile=compiled)
    maker = Maker(data, f"{folder}/tokenizer.json", "test", 1100, 128)
    pad, worst, seen = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>"), 0.0, {}
    for trial in range(chunks * 20):
        chunk = maker.chunk(random.random(), views=2)
        kind = chunk["kind"] + (" early" if chunk["texts"][1]["early"].any() else "")
        if seen.get(kind, 0) >= 3:
            continue
        seen[kind] = seen.get(kind, 0) + 1
        with torch.no_grad():
            logits, target = fast.answers([torch.from_numpy(p).to(device) for p in chunk["pictures"]], to_device(chunk, 1, device))
        for index in range(min(2, len(chunk["texts"][1]["ids"]))):
            pictures = [Image.fromarray(p[index]) for p in chunk["pictures"]]
            for question, part, answers in list(rows(chunk, 1, index, maker.encode))[:3]:
                vision = [{"type": "image", "image": p} for p in pictures]
                text = processor.tokenizer.decode(part)
                turns = ("<|im_start|>user\n" + text).split("<|im_start|>user\n")[1:]
                messages = []
                for i, turn in enumerate(turns):
                    q, a = turn.split("<|im_end|>\n<|im_start|>assistant\n")
                    said = processor.tokenizer.decode(question) if question else q
                    content = [{"type": "text", "text": said}]
                    content = content if i else content + vision if question else vision + content
                    messages += [{"role": "user", "content": content}, {"role": "assistant", "content": [{"type": "text", "text": a.split("<|im_end|>")[0]}]}]
                system = processor.tokenizer.decode(chunk["head"]).split("system\n")[1].split("<|im_end|>")[0]
                messages = [{"role": "system", "content": system}] + messages
                inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt").to(device)
                if pictures:
                    assert torch.equal(inputs["image_grid_thw"].cpu(), torch.tensor([[1, p.height // 14, p.width // 14] for p in pictures]))
                n = inputs["input_ids"].shape[1] - 1  # the template ends with a newline that is not trained
                assert inputs["input_ids"][0, n - len(part) : n].tolist() == part, (processor.tokenizer.decode(inputs["input_ids"][0, n - len(part) : n]), text)
                with torch.no_grad():
                    reference = model(**inputs).logits[0]
                for k, place in answers:
                    assert target[k] == inputs["input_ids"][0, n - len(part) + place + 1]
                    worst = max(worst, (logits[k] - reference[n - len(part) + place]).abs().max().item())
        if len(seen) == 4 and min(seen.values()) >= 2:
            break
    print("kinds:", seen, "largest logit difference:", worst)
    assert len(seen) == 4 and worst < 2e-4
    return worst


if __name__ == "__main__":
    compare(sys.argv[1], sys.argv[2], "--compile" in sys.argv)
