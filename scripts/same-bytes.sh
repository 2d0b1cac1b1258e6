#!/usr/bin/env bash
# From the same saved statistics and recipe the same file on every processor: the whole program is cross-built for AArch64
# (aarch64-linux-gnu-g++, static), rounds the bundled model under qemu-aarch64, plainly, by Gram matrices and by importance that
# this machine gathered, and every file is compared with this machine's. Prints `ok` / `FAIL` lines, exits 1
# on any failure and 77 where the compiler or the emulator is absent.
# Working folder: ${BUILD:-build}/aarch64, shared with test-aarch64.sh; this machine's program: $QUANT_BUILD/quant, by default
# ${BUILD:-build}/quant, made if it is not there. usage: scripts/same-bytes.sh [TYPE...]
set -eu
cd "$(dirname "$0")/.."
cxx=${AARCH64_CXX:-aarch64-linux-gnu-g++}
qemu=${QEMU_AARCH64:-qemu-aarch64}
for tool in "$cxx" "$qemu"; do
    command -v "$tool" >/dev/null || { echo "SKIP same_bytes: $tool is not installed"; exit 77; }
done
out=${BUILD:-build}/aarch64 native=${QUANT_BUILD:-${BUILD:-build}}
[ -x "$native/quant" ] || make -s -j"${JOBS:-2}" all BUILD="$native" >&2
make -s -j"${JOBS:-2}" BUILD="$out" CXX="$cxx -Wno-psabi" OPTIMIZE=-O1 LDFLAGS=-static "$out/quant" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
own=$native/quant model=models/tiny/tiny-f16.gguf
"$own" calibrate -q "$model" models/tiny/sample.txt -c 128 --chunks 8 -o "$work/imatrix.gguf" --gram "$work/gram.gguf"
status=0
same() { # NAME TYPE [OPTION...]: of one layer, emulation is slow
    local name=$1
    shift
    set -- "$@" --pure --quiet --force --tensor-type 'blk.[123]|token_embd=f16'
    "$own" quantize "$model" "$work/own.gguf" "$@" 2>/dev/null
    if "$qemu" -cpu max "$out/quant" quantize "$model" "$work/emulated.gguf" "$@" 2>/dev/null && cmp -s "$work/own.gguf" "$work/emulated.gguf"; then
        echo "ok $name"
    else
        echo "FAIL $name: another file than here"
        status=1
    fi
}
for type in ${*:-q4_k q6_k iq3_s nf4}; do
    same "${type}_by_gram" "$type" --gram "$work/gram.gguf"
    same "${type}_by_imatrix" "$type" --imatrix "$work/imatrix.gguf"
done
# Code books are refused without importance, so that types asked for are not rounded plainly.
[ $# -gt 0 ] || for type in q8_0 q4_0 q5_0 q2_k q3_k q4_k q5_k q6_k tq2_0 iq4_nl; do same "${type}_plain" "$type"; done
exit $status
