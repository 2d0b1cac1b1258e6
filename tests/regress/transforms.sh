#!/usr/bin/env bash
# `quantize --transform` with scales found on a text: the function stays on every family of architectures, and what is found
# on the transformed model afterwards (low rank, ranges of activations) fits it.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
head -c 12000 models/tiny/sample.txt >"$work/learn.txt"
tail -c 8000 models/tiny/sample.txt >"$work/text.txt"
number() { sed -n 's/.*"kl_divergence":\([^,]*\).*/\1/p'; }
kl() { "$quant" eval --base $tiny -f "$work/text.txt" -c 128 --chunks 4 --json --quiet "$@" | number; }
below() { awk -v a="$1" -v share="$2" -v b="$3" 'BEGIN { print a, "and", b; exit !(a > 0 && a < share * b) }'; }

# preserved MODEL: in f32 the predictions are the same, though every place is scaled
preserved() {
    "$quant" quantize --force "$1" "$work/scaled.gguf" f32 --transform awq,smoothquant --no-gate --calibrate "$work/learn.txt" \
        --calibrate-ctx 32 --calibrate-chunks 10 2>/dev/null >"$work/said" || return 1
    cat "$work/said"
    grep -Eq 'awq, smoothquant: ([1-9][0-9]*) of \1 places' "$work/said" &&
        "$quant" eval -m "$work/scaled.gguf" --base "$1" -f "$work/text.txt" -c 32 --chunks 4 --exact -ctk f32 -ctv f32 --json --quiet |
        number | awk '{ print; found = $1 < 1e-7 && $1 > -1e-7 } END { exit !found }'
}
check scales_keep_the_function preserved $tiny
if [ ! -d "$shared/models/arch" ]; then
    echo "SKIP scales_keep_the_function of all families: no $shared/models/arch"
elif [ -n "${QUANT_FULL_TESTS:-}" ]; then
    for model in "$shared"/models/arch/{llama,qwen2,qwen3,gemma2,gemma3,phi3,olmo2,granite,smollm3,gpt2,qwen3moe,gpt-oss,mixtral}/*.gguf; do
        check "scales_keep_the_function_of_$(basename "$model" .gguf)" preserved "$model"
    done
fi

learn=(--calibrate "$work/learn.txt" --calibrate-ctx 128 --rounding search --transform awq --no-gate --keep-mix --quiet --force)
corrected() {
    "$quant" quantize $tiny "$work/q2.gguf" q2_k "${learn[@]}" --lowrank 24 &&
        below "$(kl -m "$work/q2.gguf" --lora "$work/q2-lowrank.gguf")" 0.85 "$(kl -m "$work/q2.gguf")"
}
check low_rank_of_the_scaled_model corrected
ranges() {
    "$quant" quantize $tiny "$work/static.gguf" q8_row "${learn[@]}" --activations static --observer minmax || return 1
    local fixed rounded
    fixed=$(kl -m "$work/static.gguf") rounded=$(kl -m "$work/static.gguf" --activations int8,static)
    below "$fixed" 1.2 "$rounded" && below "$rounded" 1.2 "$fixed" && below "$fixed" 1 0.05
}
check ranges_of_the_scaled_model ranges
