#!/usr/bin/env bash
# Do a stock llama.cpp and we read each other? First we quantize the bundled model to every stock type and mix, then the peer
# does (where llama-quantize is in its folder too). Each file goes through the peer's llama-perplexity and our `eval --exact`:
# the perplexities must be within 0.5 %. Of the peer's files also: our default products within 1 % of the exact ones, and
# the file taken back to F16 the same as it was (within 0.05 %: rounding to half).
# usage: scripts/check-peer.sh PEER-FOLDER [TYPE...]   QUANT_BUILD: the build folder; QUANT_IMATRIX: importance of models/tiny,
# default ../shared/reference/imatrix/tiny.gguf, without it types that need one are left out
set -eu
[ $# -ge 1 ] && [ -x "$1/llama-perplexity" ] || { echo "usage: $0 FOLDER-OF-llama-perplexity [TYPE...]" >&2; exit 2; }
peer=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
model=models/tiny/tiny-f16.gguf
text=models/tiny/sample.txt
imatrix=${QUANT_IMATRIX:-${QUANT_SHARED:-../shared}/reference/imatrix/tiny.gguf}
[ -f "$imatrix" ] || imatrix=
chunks=6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0 count=0

our_types() {
    "$quant" formats --json | tr '{' '\n' | grep '"stock": *true' | grep '"encodes": *true' | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p'
    echo q2_k_s q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m q2 q3 q4 q5 q6 q8 ternary | tr ' ' '\n'
}
peer_types() {
    echo Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 MXFP4_MOE TQ1_0 TQ2_0 IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M \
        IQ4_NL IQ4_XS Q2_K Q2_K_S Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K F16 BF16 F32 | tr ' ' '\n'
}
needs_importance() { case ${1,,} in iq1_* | iq2_* | iq3_xxs | q2_k_s) true ;; *) false ;; esac; }

our_perplexity() { # FILE [OPTION...]
    "$quant" eval -m "$1" -f "$text" -c 512 --chunks $chunks --json --quiet "${@:2}" |
        sed -n 's/.*"perplexity": *\([0-9.e+]*\).*/\1/p' | head -n 1
}
peer_perplexity() { # FILE
    local found=
    for _ in 1 2 3 4 5; do # the peer ends with success and at times without its last line
        "$peer/llama-perplexity" -m "$1" -f "$text" -c 512 --chunks $chunks >"$work/log" 2>&1 || break
        found=$(sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' "$work/log")
        [ -z "$found" ] || break
    done
    echo "$found"
}
# Prints the row; fails where a column is further from the first than its bound: VALUE BOUND ...
compare() { # TYPE FIRST [VALUE BOUND]...
    awk 'BEGIN {
        first = ARGV[2]
        printf "%-10s %12.4f", ARGV[1], first
        for (i = 3; i < ARGC; i += 2) {
            base = i < 5 ? first : ARGV[3] # all but the first column are compared with our exact products
            off = ARGV[i] == "" || ARGV[i] / base > 1 + ARGV[i + 1] || ARGV[i] / base < 1 - ARGV[i + 1]
            printf " %12.4f%s", ARGV[i], off ? " DIFFERS" : ""
            wrong = wrong || off
        }
        print ""
        exit wrong
    }' "$@"
}

echo "written by us"
printf '%-10s %12s %12s\n' type peer ours
for type in ${*:-$(our_types)}; do
    if [ -z "$imatrix" ] && needs_importance "$type"; then continue; fi
    count=$((count + 1))
    if ! "$quant" quantize --quiet --force ${imatrix:+--imatrix "$imatrix"} "$model" "$work/model.gguf" "$type" 2>"$work/log"; then
        printf '%-10s not written: %s\n' "$type" "$(head -n 1 "$work/log")"
        status=1
        continue
    fi
    theirs=$(peer_perplexity "$work/model.gguf")
    if [ -z "$theirs" ]; then
        printf '%-10s refused by the peer: %s\n' "$type" "$(grep -iE 'error|fail' "$work/log" | head -n 1)"
        status=1
        continue
    fi
    compare "$type" "$theirs" "$(our_perplexity "$work/model.gguf" --exact)" 0.005 || status=1
done

if [ -x "$peer/llama-quantize" ]; then
    echo "written by the peer"
    printf '%-10s %12s %12s %12s %12s\n' type peer exact default 'back to f16'
    for type in ${*:-$(peer_types)}; do
        if [ -z "$imatrix" ] && needs_importance "$type"; then continue; fi
        count=$((count + 1))
        if ! "$peer/llama-quantize" ${imatrix:+--imatrix "$imatrix"} "$model" "$work/model.gguf" "${type^^}" 2 >"$work/log" 2>&1; then
            printf '%-10s not a type of the peer\n' "$type"
            continue
        fi
        theirs=$(peer_perplexity "$work/model.gguf")
        "$quant" quantize --quiet --force --allow-requantize "$work/model.gguf" "$work/back.gguf" f16 || status=1
        compare "$type" "$theirs" "$(our_perplexity "$work/model.gguf" --exact)" 0.005 "$(our_perplexity "$work/model.gguf")" 0.01 \
            "$(our_perplexity "$work/back.gguf" --exact)" 0.0005 || status=1
    done
fi
[ "$count" -gt 0 ] || { echo "no types" >&2; exit 1; }
exit $status
