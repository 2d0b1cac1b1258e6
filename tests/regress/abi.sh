#!/usr/bin/env bash
# quant.h as C sees it: the header alone in C99 and C++, and a C program that generates a reference text.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
build=${QUANT_BUILD:-build}
cc=${CC:-$(command -v gcc || command -v clang || command -v cc || true)}
cxx=${CXX:-$(command -v g++ || command -v clang++ || command -v c++)}
if [ -z "$cc" ]; then
    echo "SKIP abi: needs a C compiler"
    exit 0
fi
printf '#include "quant.h"\nint main(void) { return quant_version() == 0; }\n' >"$work/alone.c"
cp "$work/alone.c" "$work/alone.c++"
check header_is_c99 "$cc" -std=c99 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -I. -c "$work/alone.c" -o "$work/alone.o"
check header_is_cxx "$cxx" -std=c++11 -pedantic -Wall -Wextra -Werror -I. -x c++ -c "$work/alone.c++" -o "$work/alone2.o"

example() {
    "$cc" -std=c99 -pedantic -Wall -Wextra -Werror -I. -c tests/regress/abi-example.c -o "$work/example.o" &&
        "$cxx" "$work/example.o" "$build/libquant.a" -pthread ${LDFLAGS:-} -o "$work/example"
}
check example_compiles example
writes() { "$work/example" models/tiny/tiny-f16.gguf "$(cat tests/golden/greedy/tiny-prompt.txt)" 64 | cmp - tests/golden/greedy/tiny.txt; }
check example_writes_the_reference_text writes
fails example_reports_errors 1 'no/such.gguf|No such file' "$work/example" no/such.gguf x 1
