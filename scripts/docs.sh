#!/usr/bin/env bash
# Builds the documentation of the public API into .build/VLM.doccarchive; a warning is an error.
# Usage: scripts/docs.sh   (after a release build; then: docc preview, or any static file server)
. "$(dirname "$0")/lib.sh"
check_swift
[ -e .build/release/Modules/VLM.swiftmodule ] || swift build -c release --target VLM

graph=$(mktemp -d)
trap 'rm -rf "$graph"' EXIT
# The public types of Engine, Extraction, Guidance and Imaging are part of VLM's interface, so they are documented with it.
maps=()
for map in .build/release/C*.build/module.modulemap; do maps+=(-Xcc "-fmodule-map-file=$map"); done
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')
swift symbolgraph-extract -module-name VLM -I .build/release/Modules "${maps[@]}" -target "$target" \
    -minimum-access-level public -experimental-allowed-reexported-modules=Engine,Extraction,Guidance,Imaging -output-dir "$graph"
docc convert Sources/VLM/VLM.docc --additional-symbol-graph-dir "$graph" --output-path .build/VLM.doccarchive \
    --fallback-display-name VLM --fallback-bundle-identifier VLM --warnings-as-errors
