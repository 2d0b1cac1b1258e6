#!/usr/bin/env bash
# Only the files of an instruction set may hold its instructions, and functions whose name says so (*_wide, chosen by the
# processor): looks for ymm and zmm registers elsewhere, and for functions in the instruction sets' objects that the linker
# could pick for everybody. Prints the offenders.
# usage: scripts/check-isa.sh BUILD-FOLDER (needs objdump and nm; x86-64 only)
set -eu
build=$1
wide='^.*/src/(kernels|formats)/(avx2|avxvnni|avx512)[^/]*$'
objects=$(find "$build" -name '*.c++.o' -not -path '*/tests/*' -not -path '*/avx512-emulated/*' -not -path '*/asan/*' -not -path '*/ubsan/*' -not -path '*/tsan/*' |
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
    else
        found=$(objdump -d --no-show-raw-insn "$object" | awk '
            /^[0-9a-f]+ <.*>:$/ { name = $2 }
            /%[yz]mm[0-9]/ && name !~ /_wide/ && !(name in seen) { seen[name] = 1; print name }' | head -n 3)
        if [ -n "$found" ]; then
            echo "$object: wide instructions outside the instruction sets' files: $(printf '%s' "$found" | tr '\n' ' ')"
            status=1
        fi
    fi
done
[ "$seen" -gt 0 ] || { echo "no objects of an instruction set in $build" >&2; exit 1; }
exit $status
