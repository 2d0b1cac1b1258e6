#!/usr/bin/env bash
# The files of the instruction sets must not hand out code: a function that the linker keeps for everybody would bring wide
# instructions to processors without them. Each object may define its fill_* entry and nothing else that others can see.
set -u
build=${QUANT_BUILD:-build}
objects=$(find "$build" -not -path '*/avx512-emulated/*' \( -path '*src/kernels/avx*.o' -o -path '*src/kernels/neon*.o' -o -path '*src/formats/avx*.o' \) 2>/dev/null | sort)
if [ -z "$objects" ] || ! command -v nm >/dev/null; then
    echo "SKIP kernel_islands: no objects of kernels under $build, or no nm"
    exit 0
fi
status=0
for object in $objects; do
    name=$(basename "$object" .c++.o)
    # T: global code, W V u: weak code and data; fill_* are meant. Sanitizers add names of their own.
    leaked=$(nm -C "$object" | grep -E ' [TWVu] ' | grep -vE 'quant::fill_[a-z0-9_]+\(|(__asan|__ubsan|__tsan|asan\.|tsan\.|DW\.ref|__odr_asan)' |
        grep -vE 'quant::k[A-Z][A-Za-z0-9]*$' | head -3)
    if [ -n "$leaked" ]; then
        echo "FAIL kernel_islands_$name: others can link to $(echo "$leaked" | tr '\n' ';')"
        status=1
    else
        echo "ok kernel_islands_$name"
    fi
done
exit $status
