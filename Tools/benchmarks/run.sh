#!/usr/bin/env bash
# Builds vlm and compares it with the peers that setup.sh installed in FOLDER; the report goes to standard output.
#   Tools/benchmarks/run.sh FOLDER [NAME...]
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
swift build --package-path "$root" -c release --product vlm >&2
lscpu | grep -E '^(Model name|CPU\(s\)|CPU family|Model|L3)' || true
uptime
"$root/.build/release/vlm" doctor
python3 "$root/Tools/benchmarks/compare.py" --vlm "$root/.build/release/vlm" --models "$1" --out "$1/results" "${@:2}"
"$root/.build/release/vlm" doctor
