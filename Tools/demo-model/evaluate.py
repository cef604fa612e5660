"""Measures a checkpoint with transformers, greedy, on held-out questions.

    evaluate.py run DATA CHECKPOINT OUT [--device cuda] [--dtype float32] [--count 1000] [--processes 1] [--tasks a,b]
    evaluate.py write DATA OUT [--count 1000]                    pictures and conversations for another program (see compare.sh)
    evaluate.py compare FOLDER answers.json.xz                   that program's answers beside transformers'
    evaluate.py report answers.json.xz [...]                     the table of RESULTS.md

Question i of a task is a function of the task's name, the split and i. Words on the pictures are never those of training. Split
`seen` draws with fonts and backgrounds of training, split `unseen` only with others.
"""

import argparse
import json
import lzma
import math
import multiprocessing
import pathlib
import random
import sys
import time
from collections import Counter

from questions import ask, ask_pair
from scenes import Library, picture, random_size

# Task: (scenes, tasks of questions.ask) or, for two pictures, (pairs of scenes, tasks of questions.ask_pair).
TASKS = {
    "read": (["sign"], ["read"]),
    "read beside shapes": (["caption"], ["read"]),
    "count all": (["shapes"], ["count"]),
    "count a kind": (["shapes"], ["count kind"]),
    "count a colour": (["shapes"], ["count color", "count both"]),
    "name the colour": (["shapes"], ["color"]),
    "name the shape": (["shapes"], ["shape"]),
    "left of, above": (["shapes"], ["relation", "which side", "side", "next"]),
    "yes or no": (["shapes"], ["exists"]),
    "largest bar": (["chart"], ["largest"]),
    "other chart questions": (["chart"], ["smallest", "bars", "bar order", "bar color"]),
    "describe": (["sign", "shapes", "caption", "chart"], ["describe"]),
    "two pictures: more": ([("shapes", "shapes")], ["more", "fewer"]),
    "two pictures: compare": ([("shapes", "shapes"), ("sign", "shapes"), ("sign", "sign")], ["compare", "one"]),
}


def question(library, task, split, index):
    """(pictures, question, answer)"""
    rng = random.Random(f"evaluation/{task}/{split}/{index}")
    scenes, kinds = TASKS[task]
    style = {"split": "train" if split == "seen" else "held", "words": "held"}
    for _ in range(200):
        scene = rng.choice(scenes)
        if isinstance(scene, tuple):
            drawn = [picture(rng, library, s, size=random_size(rng), **style) for s in scene]
            pair = ask_pair(rng, drawn[0][1], drawn[1][1], rng.choice(kinds))
        else:
            drawn = [picture(rng, library, scene, size=random_size(rng), **style)]
            facts = drawn[0][1]
            if scene == "chart" and "chart" not in facts or scene in ("sign", "caption") and not facts.get("text"):
                continue
            kind = rng.choice(kinds)
            if kind == "count color" and not facts["shapes"]:
                continue
            pair = ask(rng, facts, kind)
        if pair:
            return [d[0] for d in drawn], *pair
    raise RuntimeError(f"no question for {task}")


def run_part(options, jobs, part):
    """Answers of one process: {(task, split, index): answer}"""
    import torch
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
    torch.set_num_threads(options.threads)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cudnn.allow_tf32 = False
    library = Library(options.data)
    processor = AutoProcessor.from_pretrained(options.checkpoint)
    processor.tokenizer.padding_side = "left"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(options.checkpoint, dtype=getattr(torch, options.dtype)).to(options.device).eval()
    rows, begun = [], time.time()
    for at in range(0, len(jobs), options.batch):
        if options.seconds and time.time() - begun > options.seconds:
            break
        batch = jobs[at : at + options.batch]
        made = [question(library, *job) for job in batch]
        messages = [[{"role": "user", "content": [*({"type": "image", "image": p} for p in pictures), {"type": "text", "text": q}]}] for pictures, q, _ in made]
        inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}).to(options.device)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=96, do_sample=False)
        texts = processor.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for job, (_, q, answer), text in zip(batch, made, texts):
            rows.append([*job, q, answer, text])
        if part == 0 and at % (options.batch * 10) == 0:
            print(f"{at}/{len(jobs)} {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
    path = pathlib.Path(options.out) / f"part{part}.json"
    path.write_text(json.dumps(rows))


def run(options):
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    # By index first, so that an evaluation that is cut short still covers every task.
    jobs = [(task, split, i) for i in range(options.count) for task in options.tasks for split in options.splits]
    n = options.processes
    if n == 1:
        run_part(options, jobs, 0)
    else:
        context = multiprocessing.get_context("spawn")
        # Parts of whole batches: one process has every n-th question.
        processes = [context.Process(target=run_part, args=(options, jobs[k::n], k)) for k in range(n)]
        for p in processes:
            p.start()
        for p in processes:
            p.join()
    rows = [row for path in sorted(out.glob("part*.json")) for row in json.loads(path.read_text())]
    for path in out.glob("part*.json"):
        path.unlink()
    order = {t: i for i, t in enumerate(TASKS)}
    rows.sort(key=lambda r: (order[r[0]], r[1], r[2]))
    result = {"checkpoint": pathlib.Path(options.checkpoint).name, "device": options.device, "dtype": options.dtype, "columns": ["task", "split", "index", "question", "expected", "answer"], "rows": rows}
    (out / "answers.json").write_text(json.dumps(result, indent=0))
    print(report([out / "answers.json"]))


def interval(right, total):
    """Half the width of the 95% interval, in percentage points."""
    p = right / total
    return 196 * math.sqrt(max(p * (1 - p), 1e-9) / total)


def report(paths):
    lines = []
    for path in paths:
        result = read_answers(path)
        total, right = Counter(), Counter()
        for task, split, _, _, expected, answer in result["rows"]:
            total[task, split] += 1
            right[task, split] += expected == answer
        lines += [f"transformers, {result['dtype']} on {result['device']}, greedy:", "", "| task | seen fonts and backgrounds | unseen fonts and backgrounds |", "|---|---|---|"]
        for task in TASKS:
            cells = [f"{100 * right[task, s] / total[task, s]:.1f}% of {total[task, s]}" if total[task, s] else "" for s in ("seen", "unseen")]
            if any(cells):
                lines.append(f"| {task} | {cells[0]} | {cells[1]} |")
        cells = []
        for s in ("seen", "unseen"):
            n = sum(v for (_, x), v in total.items() if x == s)
            cells.append(f"{100 * sum(v for (_, x), v in right.items() if x == s) / n:.1f}% of {n}" if n else "")
        lines += [f"| all | {cells[0]} | {cells[1]} |", ""]
    return "\n".join(lines)


def write(options):
    """The pictures as PNG and the prompts as files of OpenAI-style conversations: what another program needs to answer them."""
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    library, rows, conversations = Library(options.data), [], []
    for index in range(options.count):
        for task in options.tasks:
            for split in options.splits:
                pictures, q, answer = question(library, task, split, index)
                names = []
                for k, image in enumerate(pictures):
                    names.append(f"{task.replace(' ', '-').replace(':', '').replace(',', '')}-{split}-{index:04d}{'ab'[k] if len(pictures) > 1 else ''}.png")
                    image.save(out / names[-1], compress_level=1)
                rows.append([task, split, index, q, answer])
                conversations.append([{"role": "user", "content": [*({"type": "image_url", "image_url": {"url": n}} for n in names), {"type": "text", "text": q}]}])
    (out / "questions.json").write_text(json.dumps(rows))
    for part in range(0, len(rows), options.part):
        (out / f"conversations-{part // options.part:04d}.json").write_text(json.dumps(conversations[part : part + options.part]))
    print(len(rows), "questions in", out)


def read_answers(path):
    path = pathlib.Path(path)
    return json.loads(lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_text())


def compare(options):
    """Compares the answers of another program (answers-NNNN.jsonl beside the conversations) with transformers'."""
    folder = pathlib.Path(options.folder)
    reference = {tuple(row[:3]): row[5] for row in read_answers(options.answers)["rows"]}
    questions = json.loads((folder / "questions.json").read_text())
    lines = [json.loads(line) for path in sorted(folder.glob("answers-*.jsonl")) for line in path.read_text().splitlines()]
    assert len(lines) == len(questions), f"{len(lines)} answers for {len(questions)} questions"
    same, right, known = 0, 0, 0
    for (task, split, index, q, expected), line in zip(questions, lines):
        right += line["text"] == expected
        other = reference.get((task, split, index))
        if other is None:
            continue
        known += 1
        same += other == line["text"]
        if other != line["text"]:
            print(f"{task}, {split}, {index}: {q}\n    transformers: {other}\n    here:         {line['text']}\n    right:        {expected}")
    print(f"{same} of {known} answers are transformers' answers; {right} of {len(questions)} are right")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("run")
    two = commands.add_parser("write")
    for p in (one, two):
        p.add_argument("data")
        if p is one:
            p.add_argument("checkpoint")
        p.add_argument("out")
        p.add_argument("--count", type=int, default=1000)
        p.add_argument("--tasks", type=lambda s: s.split(";"), default=list(TASKS), help="names separated by ;")
        p.add_argument("--splits", type=lambda s: s.split(","), default=["seen", "unseen"])
    one.add_argument("--device", default="cpu")
    one.add_argument("--dtype", default="float32")
    one.add_argument("--processes", type=int, default=1)
    one.add_argument("--threads", type=int, default=1)
    one.add_argument("--batch", type=int, default=32)
    one.add_argument("--seconds", type=float, default=0, help="stop after this long with what is done")
    two.add_argument("--part", type=int, default=256, help="conversations in a file")
    three = commands.add_parser("report")
    three.add_argument("answers", nargs="+")
    four = commands.add_parser("compare")
    four.add_argument("folder")
    four.add_argument("answers")
    options = parser.parse_args()
    if options.command == "report":
        print(report(options.answers))
    else:
        {"run": run, "write": write, "compare": compare}[options.command](options)


if __name__ == "__main__":
    main()
