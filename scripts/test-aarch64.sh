#!/usr/bin/env bash
# Cross-builds the tests of base, formats and kernels for AArch64 (aarch64-linux-gnu-g++, static) and runs them under
# qemu-aarch64 as three processors: `max` (i8mm), `neoverse-n1` (dot products) and `cortex-a72` (plain NEON). Prints their
# `ok` / `FAIL` lines, exits 1 on any failure and 77 where the compiler or the emulator is absent.
# Working folder: ${BUILD:-build}/aarch64, shared with same-bytes.sh. usage: scripts/test-aarch64.sh [TEST...]
set -eu
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
make -s -j"${JOBS:-2}" BUILD="$out" CXX="$cxx -Wno-psabi" OPTIMIZE=-O1 LDFLAGS=-static $(printf " $out/tests/%s" $programs)
run() { # CPU: the lesser ones have a part of the kernels of `max`, and are there to stumble over instructions they lack
    local p status=0
    export QUANT_EMULATED=4 # one shape of each format in so many
    [ "$1" = max ] || QUANT_EMULATED=16
    for p in $programs; do "$qemu" -cpu "$1" "$out/tests/$p" >"$out/tests/$p.$1.log" || status=1; done
    return $status
}
# As many at once as the build had jobs.
cpus="max neoverse-n1 cortex-a72" running="" status=0
for cpu in $cpus; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do sleep 0.2; done
    run "$cpu" &
    running="$running $!"
done
for job in $running; do wait "$job" || status=1; done
for cpu in $cpus; do
    for p in $programs; do sed -n "s/^\(ok\|FAIL\|SKIP\) /\1 ${cpu//-/_}_/p" "$out/tests/$p.$cpu.log"; done
done
exit $status
