#!/usr/bin/env bash
# `quantize --activations static`: ranges in the file, fixed scales for own 8-bit types, what they cost against scales by token.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
head -c 9000 models/tiny/sample.txt >"$work/learn.txt"
tail -c 8000 models/tiny/sample.txt >"$work/text.txt"
kl() { "$quant" eval --base $tiny -f "$work/text.txt" -c 128 --chunks 4 --json --quiet "$@" | sed -n 's/.*"kl_divergence":\([^,]*\).*/\1/p'; }
learn=(--calibrate "$work/learn.txt" --calibrate-ctx 128 --rounding search --transform none --quiet --force)
between() { awk -v x="$1" -v low="$2" -v high="$3" 'BEGIN { print x; exit !(x >= low && x <= high) }'; }
stored() {
    "$quant" quantize $tiny "$work/static.gguf" q8_row "${learn[@]}" --activations static --observer minmax &&
        "$quant" inspect "$work/static.gguf" | grep -q 'quant.activations.ranges *f32\[28\]'
}
check ranges_are_stored stored
costs() {
    "$quant" quantize $tiny "$work/dynamic.gguf" q8_row "${learn[@]}" || return 1
    fixed=$(kl -m "$work/static.gguf") dynamic=$(kl -m "$work/dynamic.gguf") rounded=$(kl -m "$work/static.gguf" --activations int8,static)
    between "$dynamic" 1e-6 0.002 && awk -v a="$fixed" -v b="$dynamic" 'BEGIN { print a, b; exit !(a > 1.5 * b) }' &&
        awk -v a="$fixed" -v b="$rounded" 'BEGIN { print a, b; exit !(a < 1.2 * b && b < 1.2 * a) }' && between "$fixed" 1e-4 0.05
}
check runner_and_measure_agree costs
fails no_ranges 2 'no ranges|--activations static' "$quant" eval -m $tiny -f "$work/text.txt" -c 64 --activations int8,static
fails no_text 2 'give --calibrate TEXT' "$quant" quantize $tiny "$work/no.gguf" q8_row --activations static
fails no_such_observer 2 "option --observer|'max'" "$quant" quantize $tiny "$work/no.gguf" q8_row --observer max
