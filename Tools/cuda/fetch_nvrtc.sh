#!/usr/bin/env bash
# Puts NVRTC, which compiles CUDA kernels on machines without a GPU too, into a folder, from NVIDIA's Python package.
# Usage: Tools/cuda/fetch_nvrtc.sh FOLDER   (fails with a word when Python or the registry cannot be reached)
set -euo pipefail
folder=$1
version='13.0.*'
if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "skipped: Python's pip, which would fetch NVRTC, is not installed"
    exit 1
fi
if ! python3 -m pip download --quiet --no-deps --only-binary=:all: --disable-pip-version-check --dest "$folder/wheel" \
    "nvidia-cuda-nvrtc==$version" 2>"$folder/log"; then
    echo "skipped: NVRTC cannot be fetched: $(tail -n 1 "$folder/log")"
    exit 1
fi
(cd "$folder/wheel" && python3 -m zipfile -e ./*.whl .)
find "$folder/wheel" -name 'libnvrtc*.so*' ! -name '*.alt.*' -exec mv {} "$folder/" \;
rm -rf "$folder/wheel"
echo "NVRTC $(cd "$folder" && echo libnvrtc.so.*)"
