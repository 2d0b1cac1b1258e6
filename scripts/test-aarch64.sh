#!/usr/bin/env bash
# Cross-builds the tests of base, formats and kernels for AArch64 (aarch64-linux-gnu-g++, static) and runs them under
# qemu-aarch64 as three processors: `max` (i8mm), `neoverse-n1` (dot products) and `cortex-a72` (plain NEON). Prints their
# `ok` / `FAIL` lines, exits 1 on any failure and 77 where the compiler or the emulator is absent.
# Working folder: ${BUILD:-build}/aarch64, shared with same-bytes.sh. usage: scripts/test-aarch64.sh [TEST...]
set -eu
export QUANT_EMULATED=1 # fewer shapes of each format
cd "$(dirname "$0")/.."
cxx=${AARCH64_CXX:-aarch64-linux-gnu-g++}
qemu=${QEMU_AARCH64:-qemu-aarch64}
for tool in "$cxx" "$qemu"; do
    if ! command -v "$tool" >/dev/null; then
        echo "SKIP aarch64: $tool is not installed"
        exit 77
    fi
done
out=${BUILD:-build}/aarch64
programs="${*:-kernels operations formats threads}"
# shellcheck disable=SC2086 # several
make -s -j"${JOBS:-2}" BUILD="$out" CXX="$cxx -Wno-psabi" LDFLAGS=-static $(printf " $out/tests/%s" $programs)
status=0
for cpu in max neoverse-n1 cortex-a72; do
    for p in $programs; do
        "$qemu" -cpu "$cpu" "$out/tests/$p" >"$out/tests/$p.$cpu.log" || status=1
        sed "s/^\(ok\|FAIL\|SKIP\) /\1 ${cpu//-/_}_/" "$out/tests/$p.$cpu.log"
    done
done
exit $status
