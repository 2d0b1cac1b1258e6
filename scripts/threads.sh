#!/usr/bin/env bash
# One quantization and one generation with several threads, in the shape of a test: for `make tsan`, where a data race
# ends the program with an error. usage: scripts/threads.sh (QUANT_BUILD: the build folder)
set -u
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
attempt() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>"$work/err"; then
        echo "ok $name"
    else
        cat "$work/err" >&2
        echo "FAIL $name: exit $?, $(grep -m 1 'WARNING: ThreadSanitizer' "$work/err" || tail -n 1 "$work/err")"
    fi
}
attempt threads_quantize "$quant" quantize --threads 4 models/tiny/tiny-f16.gguf "$work/q4.gguf" q4_k_m
attempt threads_generate "$quant" run -m "$work/q4.gguf" -t 4 -p "Once upon a time" -n 16 --seed 1
attempt threads_prefill "$quant" run -m "$work/q4.gguf" -t 3 --in-file models/tiny/LICENSE -n 4 --seed 1
