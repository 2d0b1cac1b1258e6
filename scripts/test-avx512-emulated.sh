#!/usr/bin/env bash
# Tests the AVX-VNNI and AVX-512 tables and encoders on a processor without either: their files are compiled against SIMDe
# (package libsimde-dev), the rest is taken from the usual build; the kernel tests run with those tables, the encoders' test of
# equal bytes with all widths. Prints their `ok` / `FAIL` lines, exits 1 on any failure and 77 where SIMDe is absent.
# Working folder: ${BUILD:-build}/avx512-emulated; the usual build: $QUANT_BUILD, by default ${BUILD:-build}.
set -eu
export QUANT_EMULATED=4 # one shape of each format in so many
cd "$(dirname "$0")/.."
if [ ! -f "${SIMDE:-/usr/include}/simde/x86/avx512.h" ]; then
    echo "SKIP avx512_emulated: SIMDe is not installed"
    exit 77
fi
out=${BUILD:-build}/avx512-emulated native=${QUANT_BUILD:-${BUILD:-build}}
cxx=${CXX:-g++}
# SIMDe turns each intrinsic into many instructions: optimising that fully takes minutes.
flags="-std=c++20 -Isrc -I. -ffp-contract=off -pthread -isystem tests/emulated -mavx2 -mfma -mf16c -w -Wno-psabi -O1 -MMD -MP"
programs="kernels operations encode"
emulated="" usual=""
for source in tests/emulated/cpu.c++ src/base/*.c++ src/formats/*.c++ src/kernels/*.c++; do
    case $source in
        src/base/cpu.c++) ;;
        tests/emulated/* | src/*/avx512* | src/*/avxvnni*) emulated="$emulated $out/$source.o" ;;
        *) usual="$usual $native/$source.o" ;;
    esac
done
# shellcheck disable=SC2086 # several
make -s -j"${JOBS:-2}" BUILD="$native" $usual $(printf " $native/tests/unit/%s.c++.o" $programs)
{
    echo "all: $(printf " $out/%s" $programs)"
    for object in $emulated; do
        source=${object#"$out/"}
        printf '%s: %s\n\t@mkdir -p $(@D)\n\t%s %s -c $< -o $@\n' "$object" "${source%.o}" "$cxx" "$flags"
    done
    for p in $programs; do
        printf '%s: %s\n\t%s -pthread $^ -o $@\n' "$out/$p" "$emulated $usual $native/tests/unit/$p.c++.o" "$cxx"
    done
    echo "-include \$(wildcard $out/*/*.d $out/*/*/*.d)"
} >"$(mkdir -p "$out" && echo "$out/Makefile")"
make -s -j"${JOBS:-2}" -f "$out/Makefile" all
status=0
"$out/kernels" || status=1
"$out/operations" || status=1
"$out/encode" same_bytes || status=1
exit $status
