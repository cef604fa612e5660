"""Times processes from start to end: the demo model's first token, and loading a checkpoint that is in the page cache.

    python startup.py --vlm .build/release/vlm --image Examples/sign.png [--checkpoint FOLDER]
"""

import argparse
import json
import subprocess
import time
from pathlib import Path


def seconds(arguments: list[str], runs: int) -> list[float]:
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vlm", required=True)
    parser.add_argument("--image", default="Examples/sign.png")
    parser.add_argument("--checkpoint", type=Path, help="its weights are read once before, so that they are in the page cache")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    question = [options.vlm, "run", "demo", "What does the sign say?", "--max-new-tokens", "1"]
    for label, arguments in {"text": question, "picture": [*question, "--image", options.image]}.items():
        taken = seconds(arguments, options.runs)
        print(f"demo, first token, {label}: median {taken[len(taken) // 2] * 1000:.0f} ms, {taken[0] * 1000:.0f} to {taken[-1] * 1000:.0f}")
    if options.checkpoint:
        size = 0
        for file in options.checkpoint.glob("*.safetensors"):
            with file.open("rb") as stream:
                while block := stream.read(1 << 24):
                    size += len(block)
        bench = [options.vlm, "bench", str(options.checkpoint), "--stages", "prefill", "--prompt-tokens", "1", "--runs", "1"]
        loads = sorted(
            json.loads(subprocess.run([*bench, "--output", "json"], check=True, capture_output=True).stdout)["load_seconds"]
            for _ in range(3)
        )
        print(f"load {size / 1e9:.2f} GB: median {loads[1]:.2f} s, {loads[0]:.2f} to {loads[2]:.2f}")


if __name__ == "__main__":
    main()
