#!/usr/bin/env bash
# Adapters from the outside: made from a PEFT folder, used beside a model and merged into it, also a quantized one.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
if [ ! -f "$shared/models/lora/adapter.gguf" ]; then
    echo "SKIP adapters: no reference data ($shared)"
    exit 0
fi
peft=$shared/models/lora/peft base=$shared/models/arch/llama/llama.gguf

check convert "$quant" convert "$peft" "$work/lora.gguf" --base "$base" --quiet
text() { "$quant" run -m "$base" -p 'Once upon a time' -n 12 --temp 0 --quiet --exact "$@"; }
text >"$work/plain"
text --lora "$work/lora.gguf" >"$work/with"
check changes_the_text bash -c "! cmp -s '$work/plain' '$work/with'"
same() { # OPTIONS...: the same text as with the adapter
    text "$@" | cmp - "$work/with"
}
check scale_of_one same --lora-scaled "$work/lora.gguf" 1
check scale_behind_a_colon same --lora-scaled "$work/lora.gguf:1.0"
check halves_add_up same --lora-scaled "$work/lora.gguf" 0.5 --lora-scaled "$work/lora.gguf" 0.5
text --lora-scaled "$work/lora.gguf" 0 >"$work/none"
check scale_of_nothing cmp "$work/none" "$work/plain"
"$quant" merge "$base" "$work/lora.gguf" "$work/merged.gguf" --quiet
"$quant" run -m "$work/merged.gguf" -p 'Once upon a time' -n 12 --temp 0 --quiet --exact >"$work/text"
check merged_text cmp "$work/text" "$work/with"
check bench_takes_it "$quant" bench -m "$base" --lora "$work/lora.gguf" -p 8 -n 2 -r 1 --quiet

# Threads and instruction sets leave no trace in merged weights.
alike() {
    "$quant" merge "$base" "$peft" --lora-scaled "$work/lora.gguf" 0.25 "$work/one.gguf" --quiet --threads 1 --type q4_0 || return 1
    QUANT_ISA=scalar "$quant" merge "$base" "$peft" --lora-scaled "$work/lora.gguf" 0.25 "$work/two.gguf" --quiet --threads 3 --type q4_0 || return 1
    cmp "$work/one.gguf" "$work/two.gguf"
}
check same_bytes_everywhere alike
"$quant" quantize "$base" "$work/q8.gguf" q8_0 --quiet
says() { # WORDS COMMAND...
    local words=$1
    shift
    "$@" >"$work/said" 2>&1 && grep -qF -- "$words" "$work/said" || { head -n 40 "$work/said"; return 1; }
}
check quantized_base_says_so says 'tensors merged and encoded again' "$quant" merge "$work/q8.gguf" "$work/lora.gguf" "$work/m8.gguf"
check quantized_base_warns says 'merging into the original loses less' "$quant" merge "$work/q8.gguf" "$work/lora.gguf" "$work/m8.gguf" --force

fails adapter_as_model 1 'lora.gguf|found an adapter|--lora' "$quant" run -m "$work/lora.gguf" -p x
fails model_as_adapter 1 "general.type: expected 'adapter'" "$quant" run -m $tiny --lora $tiny -p x
fails adapter_of_another_model 1 'another base model?' "$quant" run -m $tiny --lora "$work/lora.gguf" -p x
fails missing_adapter 3 'no/lora.gguf' "$quant" run -m $tiny --lora no/lora.gguf -p x
fails scale_missing 2 'option --lora-scaled|FILE S' "$quant" run -m $tiny -p x --lora-scaled "$work/lora.gguf"
fails base_missing 2 '--base MODEL' "$quant" convert "$peft" "$work/x.gguf"
fails merge_without_adapter 2 'merge needs a model' "$quant" merge $tiny "$work/x.gguf"
fails merge_over_the_base 2 'the output is the input' "$quant" merge "$work/q8.gguf" "$work/lora.gguf" "$work/q8.gguf" --force
fails merge_of_another_model 1 'another base model?' "$quant" merge $tiny "$work/lora.gguf" "$work/x.gguf"
