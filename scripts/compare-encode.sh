#!/usr/bin/env bash
# Squared error of our encoders against llama-quantize --pure, for every block type and every matrix of a model, plain and
# with an importance matrix. Fails where a matrix of ours has more error.
# usage: scripts/compare-encode.sh PEERDIR [MODEL.gguf IMATRIX]   PEERDIR holds llama-quantize (or bin/llama-quantize)
# Needs a build (BUILD, default build); the model defaults to the shared tiny one.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n 2,5p "$0"; exit 2; }
tool=$1/llama-quantize
[ -x "$tool" ] || tool=$1/bin/llama-quantize
[ -x "$tool" ] || { echo "no llama-quantize in $1"; exit 2; }
shared=${QUANT_SHARED:-../shared}
model=${2:-$shared/models/tiny/tiny-f16.gguf} imatrix=${3:-$shared/reference/imatrix/tiny.gguf}
build=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CXX:-g++} -std=c++20 -O2 -Isrc scripts/compare-encode.c++ "$build/libquant.a" -pthread -o "$work/compare"

worse=0
one() {  # TYPE ARGS...: the peer writes the model in that type, then ours is compared
    type=$1
    shift
    "$tool" "$@" --pure "$model" "$work/peer.gguf" "$type" 1 >"$work/log" 2>&1 || { echo "$type: $(tail -1 "$work/log")"; return; }
    if [ $# -gt 0 ]; then set -- "$imatrix"; fi
    "$work/compare" "$model" "$work/peer.gguf" "$@" || worse=1
}
for type in Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ3_S IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE Q1_0 Q2_0; do
    one $type
    one $type --imatrix "$imatrix"
done
# The peer refuses these without importance, and has none for the embedding table. IQ2_M is the mix whose base is IQ2_S.
for type in IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_M IQ3_XXS; do
    one $type --imatrix "$imatrix" --token-embedding-type q6_K
done
exit $worse
