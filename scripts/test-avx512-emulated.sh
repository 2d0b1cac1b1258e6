#!/usr/bin/env bash
# Tests the AVX-VNNI and AVX-512 tables on a processor without either: their files are compiled against SIMDe (package
# libsimde-dev), the rest of the kernels as usual, and the kernel tests run with those tables. Prints their `ok` / `FAIL`
# lines, exits 1 on any failure and 77 where SIMDe is absent. Working folder: ${BUILD:-build}/avx512-emulated.
set -eu
export QUANT_EMULATED=1 # fewer shapes of each format
cd "$(dirname "$0")/.."
if [ ! -f "${SIMDE:-/usr/include}/simde/x86/avx512.h" ]; then
    echo "SKIP avx512_emulated: SIMDe is not installed"
    exit 77
fi
out=${BUILD:-build}/avx512-emulated
cxx=${CXX:-g++}
flags="-std=c++20 -Isrc -I. -ffp-contract=off -pthread -O2 -MMD -MP"
sources="tests/emulated/cpu.c++ $(echo src/base/*.c++ | sed s,src/base/cpu.c++,,) $(echo src/formats/*.c++) $(echo src/kernels/*.c++)"
programs="kernels operations"
{
    echo "all: $(for p in $programs; do printf '%s ' "$out/$p"; done)"
    for source in $sources $(for p in $programs; do echo "tests/unit/$p.c++"; done); do
        case $source in
            # SIMDe turns each intrinsic into many instructions: optimising that fully takes minutes.
            src/kernels/avx512* | src/kernels/avxvnni*) isa="-isystem tests/emulated -mavx2 -mfma -mf16c -w -Wno-psabi -O1" ;;
            src/kernels/avx2*) isa="-mavx2 -mfma -mf16c" ;;
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
for p in $programs; do "$out/$p" || status=1; done
exit $status
