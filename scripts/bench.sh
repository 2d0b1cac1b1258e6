#!/usr/bin/env bash
# Speed of the bundled model, f16 and 4 bits, one thread and all. usage: scripts/bench.sh (QUANT_BUILD: the build folder)
set -eu
cd "$(dirname "$0")/.."
build=${QUANT_BUILD:-build}
"$build/quant" quantize --force --quiet models/tiny/tiny-f16.gguf "$build/tiny-q4.gguf" q4
for model in models/tiny/tiny-f16.gguf "$build/tiny-q4.gguf"; do
    "$build/quant" bench -m "$model" -p 512 -n 128
done
