#!/usr/bin/env bash
# Every format on the bundled model, all matrices alike: size, bits per weight, perplexity and KL divergence to the f16
# model, stock and own formats side by side in order of their bits; then the neighbours that are out of order.
# usage: scripts/formats-table.sh [--calibrate | --imatrix FILE] [FORMAT...] (QUANT_BUILD: the build folder)
#        scripts/formats-table.sh --readme     writes the table of README.md anew
# Formats that need importance weights are calibrated; --calibrate does so with all of them (minutes), --imatrix FILE gives
# all of them that importance instead. Calibrated on the first part of the bundled text, judged on the rest.
set -eu
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
model=models/tiny/tiny-f16.gguf
text=models/tiny/sample.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "${1:-}" = --readme ]; then
    "$quant" formats --markdown >"$work/table"
    awk -v table="$work/table" '
        /^<!-- end -->/ { on = 0 }
        !on { print }
        /^<!-- formats -->/ { on = 1; while ((getline line < table) > 0) print line }' README.md >"$work/readme"
    cat "$work/readme" >README.md
    exit
fi

all=()
case ${1:-} in
--calibrate) all=(--calibrate "$work/calibration.txt"); shift ;;
--imatrix) all=(--imatrix "$2"); shift 2 ;;
esac
head -c 30000 $text >"$work/calibration.txt"
tail -c 19000 $text >"$work/text.txt"
number() { sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2" | head -n 1; }

# NAME ORIGIN NEEDS_IMPORTANCE of the formats that quantize writes.
"$quant" formats --json | tr '{' '\n' | grep '"encodes": *true' |
    sed 's/.*"name": *"\([^"]*\)".*"stock": *\([a-z]*\).*"needs_importance": *\([a-z]*\).*/\1 \2 \3/' >"$work/formats"

while read -r name stock needs; do
    if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qix -- "$name"; then continue; fi
    options=("${all[@]}")
    if [ "$needs" = true ] && [ ${#options[@]} = 0 ]; then options=(--calibrate "$work/calibration.txt"); fi
    "$quant" quantize --force --json --pure "$model" "$work/model.gguf" "$name" "${options[@]}" >"$work/quantize.json" 2>"$work/errors" ||
        { echo "$name: $(tail -n 1 "$work/errors")" >&2; continue; }
    "$quant" eval -m "$work/model.gguf" --base "$model" -f "$work/text.txt" -c 256 --json --quiet >"$work/eval.json"
    origin=own how=-
    [ "$stock" = true ] && origin=stock
    case ${options[*]:-} in --calibrate*) how=calibrated ;; --imatrix*) how=weighted ;; esac
    echo "$(number bits_per_weight "$work/quantize.json") $name $origin $(wc -c <"$work/model.gguf")" \
        "$(number perplexity "$work/eval.json") $(number kl_divergence "$work/eval.json") $(number same_top "$work/eval.json") $how"
done <"$work/formats" | sort -g -k 1,1 -k 6,6 >"$work/rows"

awk '
    BEGIN { printf "%-14s %-6s %12s %9s %11s %11s %9s %s\n", "format", "origin", "bits/weight", "bytes", "perplexity", "KL", "same top", "rounding" }
    {
        printf "%-14s %-6s %12.4f %9d %11.4f %11.6f %8.2f%% %s\n", $2, $3, $1, $4, $5, $6, 100 * $7, $8
        bits[NR] = $1; name[NR] = $2; kl[NR] = $6; how[NR] = $8
    }
    function reason(name) {
        if (name ~ /^FP8/) return "half of their codes lie near zero: made for range, not for precision"
        if (name == "L4") return "powers of two: large weights round coarsely"
        if (name ~ /_ROWZ?$/) return "one scale for a row with outliers; a row of 256 pays for its header"
        if (name ~ /^(Q4_0|Q4_1|Q5_0|Q5_1|A[0-9]_G)/) return "evenly spaced codes; K and IQ types have scales of scales or uneven levels"
        if (name ~ /^(MXFP4|Q2_0|TQ|Q1_0|A1|PAL1)/) return "a format for models that were trained in it"
        return "?"
    }
    END {
        if (NR == 0) { print "no such format"; exit 1 }
        for (i = 1; i <= NR; i++) {  # the best of those with fewer bits that were rounded in the same way
            best = 0
            for (j = 1; j < i; j++) if (bits[j] < bits[i] && how[j] == how[i] && (!best || kl[j] < kl[best])) best = j
            if (best && kl[best] < kl[i])
                wrong = wrong sprintf("  %s (%.4f bits, KL %.6f) after %s (%.4f bits, KL %.6f): %s\n", name[i], bits[i], kl[i], name[best], bits[best], kl[best], reason(name[i]))
        }
        if (wrong == "") print "\nall in the order of their bits"
        else printf "\nout of order, more bits and a higher KL divergence:\n%s", wrong
    }' "$work/rows"
