#!/usr/bin/env bash
# Installs into an empty folder and builds a C program against what is there: pkg-config (shared and static) and, for a CMake
# build, find_package.
set -u
cd "$(dirname "$0")/../.."
build=${QUANT_BUILD:-build}
build=$(cd "$build" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-$(command -v gcc || command -v cc || command -v clang)}
prefix=$work/prefix

fail() { echo "FAIL $1: $(tail -n 4 "$work/log" | tr '\n' ';')"; }
attempt() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then echo "ok $name"; else fail "$name"; return 1; fi
}

cat >"$work/program.c" <<'C'
#include <quant.h>
#include <stdio.h>
#include <string.h>

/* Quantizes one row with the first block format in the table and looks at the error. */
int main(void) {
    float row[256], back[256], worst = 0;
    unsigned char bytes[256 * 8];
    const quant_format *format = quant_find_format("Q8_0");
    if (!format || strcmp(quant_version(), EXPECTED) != 0) return 1;
    for (int i = 0; i < 256; i++) row[i] = (float)(i % 17) - 8;
    if (quant_quantize_rows(format, row, NULL, 1, 256, bytes) != QUANT_OK) return 2;
    if (quant_dequantize_rows(format, bytes, 1, 256, back) != QUANT_OK) return 3;
    for (int i = 0; i < 256; i++) {
        const float error = row[i] > back[i] ? row[i] - back[i] : back[i] - row[i];
        if (error > worst) worst = error;
    }
    printf("quant %s: Q8_0, largest error %.4f\n", quant_version(), (double)worst);
    return worst > 0 && worst < 8.0f / 127 ? 0 : 4; /* one step of the scale */
}
C
version=$(sed -n 's/.*kVersion = "\(.*\)".*/\1/p' src/version.h)
expected="-DEXPECTED=\"$version\""

if [ -f "$build/CMakeCache.txt" ]; then
    attempt install cmake --install "$build" --prefix "$prefix" || exit 0
else
    attempt install make -s install BUILD="$build" PREFIX="$prefix" CXX="${CXX:-g++}" MAKEFLAGS= || exit 0
fi
library=$(dirname "$(find "$prefix" -name 'libquant.a' | head -n 1)")

links_run() {
    local name
    "$prefix/bin/quant" --version | grep -qx "quant $version" || { echo "quant --version is not $version"; return 1; }
    for name in quantize run; do
        "$prefix/bin/$name" --help | grep -q "^usage: quant $name" || { echo "$name is not that command"; return 1; }
    done
}
attempt installed_program_and_links links_run

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$library/pkgconfig
    # shellcheck disable=SC2046
    with_shared() {
        [ "$(pkg-config --modversion quant)" = "$version" ] &&
            $cc -std=c99 -Wall -Wextra -Werror "$expected" "$work/program.c" $(pkg-config --cflags --libs quant) -o "$work/shared" &&
            LD_LIBRARY_PATH=$library DYLD_LIBRARY_PATH=$library "$work/shared"
    }
    with_static() {
        $cc -std=c99 "$expected" "$work/program.c" $(pkg-config --cflags quant) "$library/libquant.a" \
            $(pkg-config --static --libs-only-l --libs-only-other quant | sed 's/-lquant//') -o "$work/static" &&
            "$work/static"
    }
    attempt c_program_with_pkg_config_shared with_shared
    attempt c_program_with_pkg_config_static with_static
else
    echo "SKIP c_program_with_pkg_config_shared: needs pkg-config"
    echo "SKIP c_program_with_pkg_config_static: needs pkg-config"
fi

only_public_names() { # the shared library shows the C functions of quant.h and nothing else
    local file
    file=$(find "$library" -name 'libquant.so.*' | head -n 1)
    nm -D --defined-only "$file" | awk '{ print $3 }' | sed 's/@.*//' | grep -v '^quant_' >"$work/extra"
    nm -D --defined-only "$file" | grep -q ' quant_version' || { echo "no quant_version in $file"; return 1; }
    ! [ -s "$work/extra" ] || { head -n 5 "$work/extra"; return 1; }
}
if [ "$(uname)" = Linux ]; then
    if command -v nm >/dev/null; then
        attempt shared_library_shows_only_quant_h only_public_names
    else
        echo "SKIP shared_library_shows_only_quant_h: needs nm"
    fi
fi

if [ -f "$build/CMakeCache.txt" ]; then
    mkdir -p "$work/consumer"
    cat >"$work/consumer/CMakeLists.txt" <<C
cmake_minimum_required(VERSION 3.16)
project(consumer C CXX)
find_package(quant $version REQUIRED)
foreach(kind quant quant_static)
    add_executable(with_\${kind} ../program.c)
    target_link_libraries(with_\${kind} PRIVATE quant::\${kind})
    target_compile_definitions(with_\${kind} PRIVATE EXPECTED="$version")
endforeach()
C
    with_cmake() {
        cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$prefix" &&
            cmake --build "$work/consumer/build" &&
            "$work/consumer/build/with_quant" && "$work/consumer/build/with_quant_static"
    }
    attempt c_program_with_find_package with_cmake
else
    removed() {
        make -s uninstall PREFIX="$prefix" BUILD="$build" MAKEFLAGS= && [ -z "$(find "$prefix" -type f -o -type l)" ]
    }
    attempt uninstall_leaves_nothing removed
fi
