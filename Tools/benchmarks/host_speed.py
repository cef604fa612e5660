"""Times the reference's preparation of a request on one thread, beside `vlm bench --stages file tokenize`.

    OMP_NUM_THREADS=1 python host_speed.py --checkpoint CHECKPOINT --image photo.jpg --text mixed.txt [--runs 9]

photo.jpg (12 megapixels, with a camera's detail and noise) and mixed.txt (1 MB) are written if they do not exist. The picture goes
through Pillow and torchvision, as transformers' own processor for Qwen2-VL and Qwen2.5-VL uses them; the text through `tokenizers`.
Prints JSON: wall-clock seconds of each run after one that warms up.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

PIECES = [
    "The quick brown fox jumps over the lazy dog; it's what we'd expect, isn't it? ",
    "In 1984, 12,345 people paid $6.78 each (about 9.1% more than in 1983). ",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2  # square metres\n\n",
    '{"role": "user", "content": [{"type": "text", "text": "What does the sign say?"}]}\n',
    "视觉语言模型可以回答关于图片的问题。这张照片里有三个圆形和两个正方形。",
    "日本語の文章も混ざっています。カタカナとひらがな、そして漢字。",
    "Größe, Übermut und naïveté — café crème brûlée, señor. ",
    "Большая языковая модель читает текст на многих языках. ",
    "هذا نص قصير باللغة العربية. ",
    "🙂🚀 emoji 👩‍👩‍👧‍👦 and symbols ∑∞≠ ½ © ™ ",
    "\n\n    \t  | column | another |\n|---|---|\n",
]
WORDS = "picture circle square sign reading counting window network station river mountain answer question model memory".split()


def mixed_text(size: int) -> str:
    """Languages, code, tables and numbers in random order, with words that vary."""
    source = random.Random(0)
    text, length = [], 0
    while length < size:
        piece = source.choice(PIECES)
        if piece.isascii():
            piece += " ".join(source.choices(WORDS, k=6)) + f" {source.randrange(100_000)} "
            piece += "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randrange(3, 12))) + ". "
        text.append(piece)
        length += len(piece.encode())
    return "".join(text)


def write_photo(path: Path) -> None:
    """4000x3000 pixels; about 5 MB."""
    import numpy
    from PIL import Image

    source = numpy.random.default_rng(1)
    smooth = Image.fromarray(source.integers(0, 256, (30, 40, 3), dtype=numpy.uint8)).resize((4000, 3000), Image.BICUBIC)
    noisy = numpy.asarray(smooth, dtype=numpy.float32) + source.normal(0, 9, (3000, 4000, 3)).astype(numpy.float32)
    Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)).save(path, quality=90, subsampling=2)


def measure(work, runs: int) -> dict:
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    return {"median_seconds": seconds[len(seconds) // 2], "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    result = {}
    if options.image:
        import torch
        from transformers import AutoImageProcessor
        from transformers.image_utils import load_image

        torch.set_num_threads(1)
        if not options.image.exists():
            write_photo(options.image)
        processor = AutoImageProcessor.from_pretrained(options.checkpoint)
        result["file"] = measure(lambda: processor(load_image(str(options.image)), return_tensors="pt"), options.runs)
    if options.text:
        from tokenizers import Tokenizer

        if not options.text.exists():
            options.text.write_text(mixed_text(1_000_000))
        text = options.text.read_text()
        tokenizer = Tokenizer.from_file(str(options.checkpoint / "tokenizer.json"))
        result["tokenize"] = measure(lambda: tokenizer.encode(text, add_special_tokens=False), options.runs)
        result["tokenize"]["bytes"] = len(text.encode())
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
