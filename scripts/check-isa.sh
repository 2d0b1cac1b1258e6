#!/usr/bin/env bash
# Only the files of an instruction set may hold its instructions: looks for ymm and zmm registers in the other objects, and for
# functions in the instruction sets' objects that the linker could pick for everybody. Prints the offenders.
# usage: scripts/check-isa.sh BUILD-FOLDER (needs objdump and nm; x86-64 only)
set -eu
build=$1
wide='^.*/src/kernels/(avx2|avx512)[^/]*$'
objects=$(find "$build" -name '*.c++.o' -not -path '*/tests/*' -not -path '*/asan/*' -not -path '*/ubsan/*' -not -path '*/tsan/*' |
    grep -E '/(src|convert|models)/|/quant\.c\+\+\.o$')
[ -n "$objects" ] || { echo "no objects in $build" >&2; exit 1; }
status=0 seen=0
for object in $objects; do
    if printf '%s\n' "$object" | grep -qE "$wide"; then
        seen=$((seen + 1))
        shared=$(nm -C --defined-only "$object" | grep -E ' [WVu] ' | grep -vE 'DW\.ref\.' | head -n 3 || true)
        if [ -n "$shared" ]; then
            echo "$object: functions that other files may get: $(printf '%s' "$shared" | tr '\n' ';')"
            status=1
        fi
    elif objdump -d --no-show-raw-insn "$object" | grep -qE '%[yz]mm[0-9]'; then
        echo "$object: wide instructions outside the instruction sets' files"
        status=1
    fi
done
[ "$seen" -gt 0 ] || { echo "no objects of an instruction set in $build" >&2; exit 1; }
exit $status
