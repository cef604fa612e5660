#!/usr/bin/env bash
# Installs what tests need, checks the format, builds and runs all tests.
# Tests run in release: the kernels are C, and unoptimised C would test little and take long.
. "$(dirname "$0")/lib.sh"
check_swift
install_libraries

say "Format"
swift format lint --strict --configuration .swift-format --recursive Package.swift Sources Tests

say "Build"
# By product: everything would include swift-syntax, which only the macros need, and which takes minutes in release.
swift build -c release --product swift-vlmPackageTests
swift build -c release --product vlm

say "Documentation"
scripts/docs.sh

say "Real tokenizers and chat templates"
VLM_REAL_TOKENIZERS=$(mktemp -d)
export VLM_REAL_TOKENIZERS
nvrtc=$(mktemp -d)
trap 'rm -rf "$VLM_REAL_TOKENIZERS" "$nvrtc"' EXIT
if [ -x Tools/goldens/tokenizers/fetch.sh ]; then Tools/goldens/tokenizers/fetch.sh "$VLM_REAL_TOKENIZERS"; fi

say "CUDA kernels"
if Tools/cuda/fetch_nvrtc.sh "$nvrtc"; then
    VLM_CUDA_PATH=$nvrtc .build/release/vlm doctor --quick --compile-kernels sm_80,sm_89,sm_90a,sm_100,sm_120
fi

say "Tests"
swift test -c release --disable-testable-imports --skip-build "$@"

if [ $# = 0 ]; then
    say "Macros"
    export VLM_TESTS=macros
    swift build --product swift-vlmPackageTests
    swift test --skip-build
fi
