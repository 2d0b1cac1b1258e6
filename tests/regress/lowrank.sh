#!/usr/bin/env bash
# `quantize --lowrank`: an adapter beside the output that brings it nearer to the original, rounded activations included.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
head -c 9000 models/tiny/sample.txt >"$work/learn.txt"
tail -c 8000 models/tiny/sample.txt >"$work/text.txt"
kl() { "$quant" eval --base $tiny -f "$work/text.txt" -c 128 --chunks 4 --exact --json --quiet "$@" | sed -n 's/.*"kl_divergence":\([^,]*\).*/\1/p'; }
below() { awk -v a="$1" -v share="$2" -v b="$3" 'BEGIN { print a, "and", b; exit !(a > 0 && a < share * b) }'; }
learn=(--calibrate "$work/learn.txt" --calibrate-ctx 128 --rounding search --transform none --keep-mix --quiet --force)
corrected() {
    "$quant" quantize $tiny "$work/q2.gguf" q2_k "${learn[@]}" --lowrank 24 && "$quant" inspect "$work/q2-lowrank.gguf" | grep -q 'blk.3.ffn_down.weight.lora_a *F16 *\[768, 24\]' &&
        below "$(kl -m "$work/q2.gguf" --lora "$work/q2-lowrank.gguf")" 0.85 "$(kl -m "$work/q2.gguf")"
}
check rounding_corrected corrected
activations() {
    # Whether an activation is rounded up or down hangs on its last bit, so that each instruction set learns something else: 0.71 to 0.76.
    head -c 20000 models/tiny/sample.txt >"$work/learn.txt"
    "$quant" quantize $tiny "$work/q4.gguf" q4_0 "${learn[@]}" --lowrank 30% --lowrank-file "$work/beside.gguf" --activations int4 || return 1
    below "$(kl -m "$work/q4.gguf" --lora "$work/beside.gguf" --activations int4)" 0.85 "$(kl -m "$work/q4.gguf" --activations int4)"
}
check rounded_activations_corrected activations
fails no_text 2 'give --calibrate TEXT' "$quant" quantize $tiny "$work/no.gguf" q4_0 --lowrank 8
fails no_rank 2 'such as 10%' "$quant" quantize $tiny "$work/no.gguf" q4_0 --lowrank 0
fails adapter_in_the_way 2 beside.gguf "$quant" quantize $tiny "$work/no.gguf" q4_0 --calibrate "$work/learn.txt" --lowrank 8 --lowrank-file "$work/beside.gguf"
nothing() { [ ! -e "$work/no.gguf" ] && ! find "$work" -name '*.tmp' | grep .; }
check nothing_left_behind nothing
