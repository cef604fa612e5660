#!/usr/bin/env bash
# Installs missing system libraries, builds the release command, and asks the bundled model about a bundled picture.
. "$(dirname "$0")/lib.sh"
check_swift
install_libraries

say "Building (the first build takes a few minutes)"
swift build -c release --product vlm

say 'vlm run demo "What does the sign say?" --image Examples/sign.png'
.build/release/vlm run demo "What does the sign say?" --image Examples/sign.png
