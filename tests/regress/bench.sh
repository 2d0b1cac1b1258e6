#!/usr/bin/env bash
# `quant bench` from the outside: every combination of the lists is measured once per repetition. Says nothing about speed.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
tests() { "$quant" bench -m $tiny --quiet --json "$@" | tr '{' '\n' | sed -n 's/.*"threads":\([0-9]*\).*"test":"\([^"]*\)".*"tokens_per_second":\[\([^]]*\)\].*/\1 \2 \3/p'; }
lists() {
    tests -p 8,16 -n 4 -d 0,3 -t 1,2 -r 2 >"$work/text"
    awk '{ n = split($NF, rates, ","); if (n != 2 || rates[1] <= 0) exit 1 }' "$work/text" || { head -n 3 "$work/text"; return 1; }
    sed 's/ [^ ]*$//' "$work/text" >"$work/names"
    printf '%s\n' '1 pp8' '2 pp8' '1 pp8 @ d3' '2 pp8 @ d3' '1 pp16' '2 pp16' '1 pp16 @ d3' '2 pp16 @ d3' \
        '1 tg4' '2 tg4' '1 tg4 @ d3' '2 tg4 @ d3' | diff - "$work/names"
}
check every_combination lists
repeated() { [ "$(tests -p 4 -p 8 -n 0 -t 1 -r 1 | wc -l)" = 2 ]; }
check options_given_twice_add_up repeated
table() { "$quant" bench -m $tiny,$tiny -p 8 -n 0 -r 1 --quiet >"$work/text" && [ "$(grep -c '^llama 4.2M F16 .* pp8 ' "$work/text")" = 2 ] && grep -q "$("$quant" formats | sed -n 's/.*in use: //p')" "$work/text"; }
check table_of_two_models table
