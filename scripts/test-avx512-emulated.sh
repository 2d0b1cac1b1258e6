#!/usr/bin/env bash
# Tests the AVX-VNNI and AVX-512 tables and encoders on a processor without either: their files are compiled against SIMDe
# (package libsimde-dev), the rest as usual; the kernel tests run with those tables, the encoders' test of equal bytes with all
# widths. Prints their `ok` / `FAIL` lines, exits 1 on any failure and 77 where SIMDe is absent.
# Working folder: ${BUILD:-build}/avx512-emulated.
set -eu
export QUANT_EMULATED=4 # one shape of each format in so many
cd "$(dirname "$0")/.."
if [ ! -f "${SIMDE:-/usr/include}/simde/x86/avx512.h" ]; then
    echo "SKIP avx512_emulated: SIMDe is not installed"
    exit 77
fi
out=${BUILD:-build}/avx512-emulated
cxx=${CXX:-g++}
flags="-std=c++20 -Isrc -I. -ffp-contract=off -pthread -O2 -MMD -MP"
sources="tests/emulated/cpu.c++ $(echo src/base/*.c++ | sed s,src/base/cpu.c++,,) $(echo src/formats/*.c++) $(echo src/kernels/*.c++)"
programs="kernels operations encode"
{
    echo "all: $(for p in $programs; do printf '%s ' "$out/$p"; done)"
    for source in $sources $(for p in $programs; do echo "tests/unit/$p.c++"; done); do
        case $source in
            # SIMDe turns each intrinsic into many instructions: optimising that fully takes minutes.
            src/kernels/avx512* | src/kernels/avxvnni* | src/formats/avx512*) isa="-isystem tests/emulated -mavx2 -mfma -mf16c -w -Wno-psabi -O1" ;;
            src/kernels/avx2*) isa="-mavx2 -mfma -mf16c" ;;
            src/formats/avx2*) isa="-mavx2" ;;
            *) isa="" ;;
        esac
        printf '%s: %s\n\t@mkdir -p $(@D)\n\t%s %s %s -c $< -o $@\n' "$out/$source.o" "$source" "$cxx" "$flags" "$isa"
    done
    for p in $programs; do
        printf '%s: %s\n\t%s -pthread $^ -o $@\n' "$out/$p" \
            "$(for source in $sources "tests/unit/$p.c++"; do printf '%s ' "$out/$source.o"; done)" "$cxx"
    done
    echo "-include \$(wildcard $out/*/*.d $out/*/*/*.d)"
} >"$(mkdir -p "$out" && echo "$out/Makefile")"
make -s -j"${JOBS:-2}" -f "$out/Makefile" all
status=0
"$out/kernels" || status=1
"$out/operations" || status=1
"$out/encode" same_bytes || status=1
exit $status
