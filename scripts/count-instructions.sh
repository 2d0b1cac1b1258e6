#!/usr/bin/env bash
# Executed instructions per multiply-add of the AArch64 products, counted by a plugin of qemu-aarch64, for [128, 2048]
# weights: one activation row and 128 of them. The difference of two runs is taken, so start and end do not count; nor does
# rounding activations. With the folder of KleidiAI's sources its products with 4-bit weights stand below, the fewest
# instructions marked, and ours as a ratio to them. Exits 77 where the cross compiler or the emulator is absent.
# usage: scripts/count-instructions.sh [KLEIDIAI_DIR] [FORMAT...]     (default formats: Q4_0 Q8_0 Q4_K)
set -eu
cd "$(dirname "$0")/.."
cxx=${AARCH64_CXX:-aarch64-linux-gnu-g++} cc=${AARCH64_CC:-aarch64-linux-gnu-gcc} qemu=${QEMU_AARCH64:-qemu-aarch64}
for tool in "$cxx" "$cc" "$qemu"; do
    command -v "$tool" >/dev/null || { echo "SKIP count-instructions: $tool is not installed"; exit 77; }
done
kleidi=
if [ -d "${1:-}" ]; then kleidi=$1; shift; fi
formats=${*:-Q4_0 Q8_0 Q4_K}
out=${BUILD:-build}/aarch64
make -s -j"${JOBS:-2}" BUILD="$out" CXX="$cxx -Wno-psabi" LDFLAGS=-static "$out/libquant.a"
"$cxx" -std=c++20 -Isrc -I. -O2 -Wno-psabi -static -pthread scripts/aarch64_products.c++ "$out/libquant.a" -o "$out/products"
"${HOST_CC:-cc}" -O2 -shared -fPIC scripts/instruction_counter.c -o "$out/counter.so"

# Instructions per multiply-add of a program that takes the number of times as its last argument. $1: activation rows
per_product() {
    local rows=$1 once often
    shift
    once=$("$qemu" -cpu max -plugin "$out/counter.so" "$@" 1 2>&1 >/dev/null | awk '/^instructions/ { print $2 }')
    often=$("$qemu" -cpu max -plugin "$out/counter.so" "$@" 3 2>&1 >/dev/null | awk '/^instructions/ { print $2 }')
    awk -v a="$once" -v b="$often" -v n="$rows" 'BEGIN { printf "%.4f", (b - a) / (2 * 128 * 2048 * n) }'
}

declare -A least
if [ -n "$kleidi" ]; then
    folder=$kleidi/kai/ukernels/matmul/matmul_clamp_f32_qsi8d32p_qsi4c32p
    for source in "$folder"/*neon_dotprod.c "$folder"/*neon_i8mm.c; do
        name=$(basename "$source" .c)
        name=${name#kai_} isa=dotprod
        case $name in *i8mm) isa=i8mm ;; esac
        assembly=
        [ ! -f "${source%.c}_asm.S" ] || assembly=${source%.c}_asm.S
        # shellcheck disable=SC2086 # none or one file
        "$cc" -O2 -w -static -march=armv8.2-a+fp16+dotprod+i8mm -I"$kleidi" -DKERNEL="${name}" scripts/kleidiai_products.c "$source" \
            $assembly -o "$out/kleidiai" || continue
        rows=1
        case $name in *p4x*_qsi4*) rows=128 ;; esac
        count=$(per_product $rows "$out/kleidiai" $rows)
        echo "$isa rows=$rows $count KleidiAI $name"
        key=$isa-$rows
        least[$key]=$(awk -v a="${least[$key]:-9}" -v b="$count" 'BEGIN { print b < a ? b : a }')
    done
    # Without a kernel for single rows in a set, those of the lower set serve.
    least[i8mm-1]=${least[i8mm-1]:-${least[dotprod-1]:-}}
fi
for format in $formats; do
    for isa in dotprod i8mm; do
        for rows in 1 128; do
            count=$(per_product $rows "$out/products" neon_$isa "$format" $rows)
            best=${least[$isa-$rows]:-}
            echo "$isa rows=$rows $count $format${best:+ ratio $(awk -v a="$count" -v b="$best" 'BEGIN { printf "%.2f", a / b }')}"
        done
    done
done
