#!/usr/bin/env bash
# Answers the evaluation questions with the Swift command and compares the answers with transformers'.
#
# Usage: compare.sh VLM DATA FOLDER [COUNT]
#   VLM     the command, for example .build/release/vlm
#   DATA    the folder that prepare_fonts.py made
#   FOLDER  where pictures, conversations and answers go
#   COUNT   questions of each task and split, 1000 by default
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
vlm="$1" data="$2" folder="$3" count="${4:-1000}"
export VLM_DEMO_MODEL="${VLM_DEMO_MODEL:-$here/../../Sources/VLM/Resources/demo}"
"${PYTHON:-python3}" "$here/evaluate.py" write "$data" "$folder" --count "$count"
for conversations in "$folder"/conversations-*.json; do
    answers="${conversations/conversations-/answers-}"
    "$vlm" run demo --messages "$conversations" --output json --dtype "${DTYPE:-float32}" --max-new-tokens 96 > "${answers%.json}.jsonl"
done
"${PYTHON:-python3}" "$here/evaluate.py" compare "$folder" "$here/answers.json.xz"
