#!/usr/bin/env bash
# Cross-builds the tests of base, formats and kernels for AArch64 (aarch64-linux-gnu-g++, static) and runs them under
# qemu-aarch64 as three processors: `max` (i8mm), `neoverse-n1` (dot products) and `cortex-a72` (plain NEON). Prints their
# `ok` / `FAIL` lines, exits 1 on any failure and 77 where the compiler or the emulator is absent.
# Working folder: ${BUILD:-build}/aarch64. usage: scripts/test-aarch64.sh [TEST...]
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
flags="-std=c++20 -Isrc -I. -ffp-contract=off -pthread -O2 -Wno-psabi -MMD -MP"
sources="$(echo src/base/*.c++ src/formats/*.c++ src/kernels/*.c++)"
present=
for p in $programs; do [ ! -f "tests/unit/$p.c++" ] || present="$present $p"; done
mkdir -p "$out"
{
    echo "all:$(for p in $present; do printf ' %s' "$out/$p"; done)"
    for source in $sources $(for p in $present; do echo "tests/unit/$p.c++"; done); do
        case $source in
            src/kernels/neon_dotprod*) isa="-march=armv8.2-a+dotprod" ;;
            src/kernels/neon_i8mm*) isa="-march=armv8.2-a+dotprod+i8mm" ;;
            *) isa="" ;;
        esac
        printf '%s: %s\n\t@mkdir -p $(@D)\n\t%s %s %s -c $< -o $@\n' "$out/$source.o" "$source" "$cxx" "$flags" "$isa"
    done
    for p in $present; do
        printf '%s: %s\n\t%s -static -pthread $^ -o $@\n' "$out/$p" \
            "$(for source in $sources "tests/unit/$p.c++"; do printf '%s ' "$out/$source.o"; done)" "$cxx"
    done
    echo "-include \$(wildcard $out/*/*.d $out/*/*/*.d)"
} >"$out/Makefile"
make -s -j"${JOBS:-2}" -f "$out/Makefile" all
status=0
for cpu in max neoverse-n1 cortex-a72; do
    for p in $present; do
        "$qemu" -cpu "$cpu" "$out/$p" >"$out/$p.$cpu.log" || status=1
        sed "s/^\(ok\|FAIL\|SKIP\) /\1 ${cpu//-/_}_/" "$out/$p.$cpu.log"
    done
done
exit $status
