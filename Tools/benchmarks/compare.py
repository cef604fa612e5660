"""Runs `vlm bench` and its peers by turns on the same shapes, and prints what each took, side by side.

    python compare.py --vlm .build/release/vlm --models FOLDER --out RESULTS [--rounds 2] [--runs 3] [NAME...]

FOLDER is what setup.sh made: NAME/ (the checkpoint), NAME.gguf, NAME-mmproj.gguf, NAME-openvino/ and the programs' environments
venv-llama/, venv-openvino/, venv-transformers/. What is missing there is left out and said. Needs only Python's own library.

A round runs every program once, each in a process of its own; the samples of all rounds are pooled. Before each process the
machine must have been idle for a while, and what other processes took while it ran is recorded: a shared machine lies otherwise.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SHAPES = {"internvl-256m": 512, "qwen2-vl-2b": 448}
STAGES = {"vision": "vision, one picture", "prefill": "prefill, 512 tokens", "decode": "decode, batch 1",
          "first_token": "first token, picture + 32 tokens"}  # fmt: skip


def cpu_seconds() -> tuple[float, float]:
    """Seconds that all cores have been busy, and busy or idle, since the machine started."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4]) / ticks, sum(fields) / ticks


def wait_until_idle(share: float, patience: float) -> float:
    """Waits until less than `share` of the cores is busy for three seconds; gives up after `patience` seconds."""
    start = time.monotonic()
    while True:
        busy, total = cpu_seconds()
        time.sleep(3)
        later_busy, later_total = cpu_seconds()
        used = (later_busy - busy) / max(later_total - total, 1e-9)
        if used < share or time.monotonic() - start > patience:
            return used


def command(name: str, program: str, options) -> list[str] | None:
    models = options.models
    size = str(SHAPES[name])
    here = Path(__file__).parent / "peers.py"
    common = ["--image-size", size, "--runs", str(options.runs), "--threads", str(options.threads)]
    if program == "vlm":
        stages = ["--stages", *("vision", "prefill", "decode", "first-token")]
        arguments = ["bench", str(models / name), "--weights", "dummy:0", "--image-size", f"{size}x{size}", "--output", "json"]
        return [str(options.vlm), *arguments, "--runs", str(options.runs), "--threads", str(options.threads), *stages]
    python, files, arguments = {
        "llama.cpp": ("venv-llama", [f"{name}.gguf", f"{name}-mmproj.gguf"], ["--projector", str(models / f"{name}-mmproj.gguf")]),
        "openvino": ("venv-openvino", [f"{name}-openvino"], []),
        "transformers": ("venv-transformers", [name], []),
    }[program]
    missing = [each for each in [f"{python}/bin/python", *files] if not (models / each).exists()]
    if missing:
        print(f"{program} is left out of {name}: {models} has no {', '.join(missing)}", file=sys.stderr)
        return None
    return [str(models / python / "bin/python"), str(here), program, "--model", str(models / files[0]), *arguments, *common]


def run(arguments: list[str], options) -> dict | None:
    waiting = wait_until_idle(options.idle, options.patience)
    busy, _ = cpu_seconds()
    own, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    if options.realtime:
        arguments = ["chrt", "-r", "1", *arguments]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own_seconds = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
    foreign = max(0.0, cpu_seconds()[0] - busy - own_seconds) / (wall * (os.cpu_count() or 1))
    if done.returncode != 0:
        print(f"{' '.join(arguments)} failed with {done.returncode}:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    result = json.loads(done.stdout)
    return result | {"busy_before": waiting, "foreign_share": foreign, "wall_seconds": wall}


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def report(name: str, results: dict[str, list[dict]]) -> None:
    pooled = {
        program: {stage: sorted(x for each in rounds for x in each.get(stage, {}).get("seconds", [])) for stage in STAGES}
        for program, rounds in results.items()
    }
    print(f"\n## {name}\n")
    print("| | " + " | ".join(results) + " | vlm is faster than the best peer by |\n|---|" + "---|" * (len(results) + 1))
    for stage, label in STAGES.items():
        cells, medians = [], {}
        for program in results:
            seconds = pooled[program][stage]
            if not seconds:
                cells.append("")
                continue
            medians[program] = median(seconds)
            spread = f"{seconds[0]:.3g} to {seconds[-1]:.3g}"
            if stage == "decode":
                cells.append(f"{63 / medians[program]:.1f} tok/s ({63 / seconds[-1]:.1f} to {63 / seconds[0]:.1f})")
            else:
                cells.append(f"{medians[program]:.3g} s ({spread})")
        peers = [value for program, value in medians.items() if program != "vlm"]
        ratio = f"{min(peers) / medians['vlm']:.2f}" if peers and "vlm" in medians else ""
        print(f"| {label} | " + " | ".join(cells) + f" | {ratio} |")
    rows = {
        "load": lambda rounds: f"{median([x['load_seconds'] for x in rounds]):.2f} s",
        "peak memory": lambda rounds: f"{max(x['peak_memory_bytes'] for x in rounds) / 1e9:.2f} GB",
        "other processes' share of the cores": lambda rounds: f"{max(x['foreign_share'] for x in rounds):.0%}",
    }
    for label, cell in rows.items():
        print(f"| {label} | " + " | ".join(cell(rounds) for rounds in results.values()) + " | |")
    for each in results.get("vlm", []):
        shares = {stage: each[stage].get("ceiling_share") for stage in STAGES if stage in each}
        print(
            f"\nvlm, ceilings in the same minute: {each['read_bandwidth'] / 1e9:.1f} GB/s, {each['peak_operations'] / 1e9:.0f} GFLOP/s; "
            + ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items() if share))
    for program, rounds in results.items():
        if program != "vlm":
            print(f"\n{program}: {', '.join(f'{key} {value}' for key, value in rounds[0]['versions'].items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--vlm", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--programs", nargs="+", default=["vlm", "llama.cpp", "openvino", "transformers"])
    parser.add_argument("--idle", type=float, default=0.1, help="share of the cores that others may use before a start")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for that")
    parser.add_argument("--realtime", action="store_true", help="run everything ahead of other processes (chrt -r 1); needs root")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or SHAPES:
        commands = {program: command(name, program, options) for program in options.programs}
        results: dict[str, list[dict]] = {}
        for turn in range(options.rounds):
            for program, arguments in commands.items():
                result = run(arguments, options) if arguments else None
                if result:
                    results.setdefault(program, []).append(result)
                    (options.out / f"{name}-{program}-{turn}.json").write_text(json.dumps(result, indent=1))
                    print(f"{name}, round {turn + 1}: {program} took {result['wall_seconds']:.0f} s", file=sys.stderr)
        if results:
            report(name, results)


if __name__ == "__main__":
    main()
