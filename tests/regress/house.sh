#!/usr/bin/env bash
# The rules of the house: include direction, sizes, instruction sets in their files, the README's table, no private words.
set -u
cd "$(dirname "$0")/../.."
build=${QUANT_BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME COMMAND...: the command must succeed; what it prints says why it did not.
check() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then echo "ok $name"; else echo "FAIL $name: $(head -n 5 "$work/out" | tr '\n' ';')"; fi
}
# refuses NAME WORD COMMAND...: the command must fail and print WORD.
refuses() {
    local name=$1 word=$2
    shift 2
    if "$@" >"$work/out" 2>&1; then
        echo "FAIL $name: accepted"
    elif grep -q -- "$word" "$work/out"; then
        echo "ok $name"
    else
        echo "FAIL $name: does not say '$word': $(head -n 3 "$work/out" | tr '\n' ';')"
    fi
}

check include_direction scripts/check-includes.sh .
check sizes scripts/sizes.sh .

# The checkers see what they look for.
mkdir -p "$work/wrong/src/base" "$work/wrong/src/model"
: >"$work/wrong/src/model/model.h"
printf '#include "model/model.h"\n' >"$work/wrong/src/base/upward.c++"
refuses include_direction_is_checked 'base may not include model' scripts/check-includes.sh "$work/wrong"
{
    printf 'namespace a {\nint long_one(int x = 1) {\n'
    for _ in $(seq 61); do printf '    if (x) {\n    }\n'; done
    printf '    return x;\n}\n}\n'
    for _ in $(seq 480); do printf 'extern int x;\n'; done
} >"$work/wrong/src/base/long.c++"
refuses long_function_is_seen 'function of 125 lines' scripts/sizes.sh "$work/wrong"
refuses long_file_is_seen 'long.c++: 607 lines' scripts/sizes.sh "$work/wrong"

case $(uname -m) in
x86_64)
    if command -v objdump >/dev/null && command -v nm >/dev/null; then
        check instruction_sets_stay_in_their_files scripts/check-isa.sh "$build"
    else
        echo "SKIP instruction_sets_stay_in_their_files: needs objdump and nm"
    fi
    ;;
esac

readme_table() { awk '/^<!-- formats -->/ { on = 1; next } /^<!-- end -->/ { on = 0 } on' README.md; }
table_is_current() {
    "$build/quant" formats --markdown >"$work/table" || return 1
    [ -s "$work/table" ] || { echo "empty table"; return 1; }
    readme_table | diff - "$work/table"
}
check readme_table_is_current table_is_current

readme_names_every_architecture() {
    local file name
    for file in models/*.c++; do
        name=$(basename "$file" .c++)
        [ "$name" = list ] || grep -q "\`$name\`" README.md || { echo "README.md does not name $name"; return 1; }
    done
}
check readme_names_every_architecture readme_names_every_architecture

# Every text file of the project; brackets keep the patterns from finding themselves.
no_private_words() {
    local files
    files=$(git ls-files 2>/dev/null || find . -type f -not -path './.git/*' -not -path './build*')
    # shellcheck disable=SC2086
    ! printf '%s\n' $files | xargs grep -nIE '/[w]ork/|/[f]arm/|[b]ash_jobs|/[t]mp/|[t]his session|[h]elper [A-Z]+\b|\b[T]ODO\b|\b[F]IXME\b' /dev/null
}
check no_private_words no_private_words

# Every documented command exists and explains itself.
commands_explain_themselves() {
    local name
    "$build/quant" --help >"$work/commands" || return 1
    for name in $(awk '/^  [a-z]+  +[a-z]/ { print $1 }' "$work/commands"); do
        "$build/quant" "$name" --help >"$work/help" || return 1
        grep -q '^usage: ' "$work/help" || { echo "$name --help has no usage line"; return 1; }
        grep -q "quant $name" README.md || { echo "README.md does not show quant $name"; return 1; }
    done
    grep -q '^  quantize ' "$work/commands"
}
check commands_explain_themselves commands_explain_themselves
