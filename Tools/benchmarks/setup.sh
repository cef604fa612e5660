#!/usr/bin/env bash
# Installs the peers and makes the models that compare.py needs, all in one folder outside the repository (about 20 GB).
#   Tools/benchmarks/setup.sh FOLDER
# llama.cpp is built for this machine; OpenVINO's exporter wants a transformers of its own, so it gets an environment of its own.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

venv() {
    [ -d "$1" ] || python3 -m venv "$1"
    "$1/bin/pip" install -q "${@:2}"
}

venv venv-transformers torch==2.11.0 torchvision transformers==5.17.0 accelerate pillow dashscope gguf sentencepiece
venv venv-openvino openvino==2026.4.1 openvino-genai==2026.4.1.0 numpy
venv venv-export openvino==2026.4.1 openvino-tokenizers==2026.4.1.0 optimum-intel==2.2.0 transformers==5.0.0 torchvision
venv venv-llama cmake ninja scikit-build-core numpy jinja2 diskcache typing-extensions
if ! venv-llama/bin/python -c 'import llama_cpp' 2>/dev/null; then
    venv-llama/bin/pip download -q --no-deps --no-binary :all: --no-build-isolation -d source llama-cpp-python==0.3.36
    PATH=$PWD/venv-llama/bin:$PATH CMAKE_ARGS="-DGGML_NATIVE=ON" \
        venv-llama/bin/pip install --no-build-isolation --no-deps source/llama_cpp_python-*.tar.gz
    tar -xzf source/llama_cpp_python-*.tar.gz -C source
fi

venv-transformers/bin/python "$here/make_checkpoints.py" --out . --weights
llama=$(echo source/llama_cpp_python-*/vendor/llama.cpp)
for name in internvl-256m qwen2-vl-2b; do
    [ -f $name.gguf ] || venv-transformers/bin/python "$here/to_gguf.py" "$llama" $name --outtype bf16 --outfile $name.gguf
    [ -f $name-mmproj.gguf ] ||
        venv-transformers/bin/python "$here/to_gguf.py" "$llama" $name --mmproj --outtype bf16 --outfile $name-mmproj.gguf
done
if [ ! -d internvl-256m-openvino ]; then
    venv-export/bin/python "$here/to_openvino.py" internvl-256m internvl-256m-openvino
    venv-export/bin/convert_tokenizer internvl-256m-openvino -o internvl-256m-openvino --with-detokenizer
fi
[ -d qwen2-vl-2b-openvino ] ||
    venv-export/bin/optimum-cli export openvino -m qwen2-vl-2b --task image-text-to-text --weight-format fp16 qwen2-vl-2b-openvino
