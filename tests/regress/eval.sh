#!/usr/bin/env bash
# `quant eval` from the outside: figures in text and JSON, raw logits against reference ones, errors in one line.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
golden=tests/golden/stories260K
model=$golden/stories260K.gguf
for i in $(seq 60); do echo "Once upon a time there was a little girl named Lily. She had $i apples and a big red ball."; done >"$work/story.txt"
field() { sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$work/json"; }
between() { awk -v x="$1" -v low="$2" -v high="$3" 'BEGIN { exit !(x >= low && x <= high) }'; }

figures() {
    "$quant" eval -m $model -f "$work/story.txt" -c 64 --chunks 4 --exact --json --quiet >"$work/json" || return 1
    [ "$(field windows)" = 4 ] && [ "$(field tokens)" = 124 ] && between "$(field perplexity)" 1.5 60 && between "$(field perplexity_error)" 0.01 20
}
check perplexity_as_json figures
text() { "$quant" eval -m $model -f "$work/story.txt" -c 64 --chunks 4 --quiet | grep -q '^perplexity [0-9.]* +/- [0-9.]* (124 tokens in 4 windows of 64)$'; }
check perplexity_as_text text
piped() { [ "$("$quant" eval -m $model -f - -c 64 --quiet <"$work/story.txt")" = "$("$quant" eval -m $model -f "$work/story.txt" -c 64 --quiet)" ]; }
check text_from_standard_input piped
itself() {
    "$quant" eval -m $model --base $model -f "$work/story.txt" -c 64 --chunks 2 --json --quiet >"$work/json" || return 1
    [ "$(field kl_max)" = 0 ] && [ "$(field same_top)" = 1 ] && [ "$(field log_perplexity_ratio)" = 0 ]
}
check a_model_against_itself itself
rounded() {
    "$quant" eval -m $model --base $model -f "$work/story.txt" -c 64 --chunks 2 --json --quiet --activations "$@" >"$work/json" && field kl_divergence
}
activations() {
    eight=$(rounded int8) && four=$(rounded int4) && groups=$(rounded int4,g4) || return 1
    between "$eight" 1e-6 0.01 && between "$four" 0.005 5 && awk -v a="$eight" -v b="$groups" -v c="$four" 'BEGIN { exit !(10 * a < b && 2 * b < c) }'
}
check activations_of_fewer_bits activations
cache() {
    "$quant" eval -m models/tiny/tiny-f16.gguf --base models/tiny/tiny-f16.gguf -f "$work/story.txt" -c 64 --chunks 2 --json --quiet -ctk q4_0 -ctv q4_0 "$@" >"$work/json" &&
        between "$(field kl_divergence)" 1e-5 0.02 && field kl_divergence
}
caches() { with=$(cache) && without=$(cache --no-cache-rotation) && [ "$with" != "$without" ]; }
check cache_of_four_bits caches
threads() { [ "$("$quant" eval -m $model -f "$work/story.txt" -c 64 -t 1 --quiet)" = "$("$quant" eval -m $model -f "$work/story.txt" -c 64 -t 3 --quiet)" ]; }
check any_number_of_threads threads

logits() {
    ids=$(sed -n 's/.*"tokens": \[\([^]]*\)\].*/\1/p' $golden/logits.json)
    "$quant" eval -m $model --tokens "$ids" --logits "$work/out.f32" --exact -ctk f32 -ctv f32 --quiet >/dev/null || return 1
    [ "$(wc -c <"$work/out.f32")" = "$(wc -c <$golden/logits.f32)" ] || return 1
    od -An -v -tf4 -w4 "$work/out.f32" >"$work/ours"
    od -An -v -tf4 -w4 $golden/logits.f32 >"$work/theirs"
    paste "$work/ours" "$work/theirs" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d; if ($2 > high) high = $2; if ($2 < low) low = $2 }
        END { if (most > 2e-5 * (high - low)) { print "off by", most; exit 1 } }'
}
check raw_logits logits
from_file() {
    printf '1 403\n407,261' >"$work/ids"
    "$quant" eval -m $model --tokens "$work/ids" --logits "$work/four.f32" --quiet >/dev/null && [ "$(wc -c <"$work/four.f32")" = $((4 * 512 * 4)) ]
}
check token_ids_from_a_file from_file

story=(-f "$work/story.txt" -c 64)
fails text_too_short_says_both_figures 2 'README.md|two windows of 512 need 1024' "$quant" eval -m $model -f $golden/README.md
fails no_such_text 3 nowhere.txt "$quant" eval -m $model -f nowhere.txt
fails no_such_model 3 nowhere.gguf "$quant" eval -m nowhere.gguf "${story[@]}"
fails tokens_without_logits 2 'belong together' "$quant" eval -m $model --tokens 1,2
fails neither_text_nor_tokens 2 'give a text' "$quant" eval -m $model
fails activations_of_no_bits 2 "option --activations|int2 to int8|'int9'" "$quant" eval -m $model "${story[@]}" --activations int9
fails groups_that_do_not_fit 2 'multiple of the group of 24' "$quant" eval -m $model "${story[@]}" --activations int4,g24
fails rotation_of_nothing 2 'says how --activations FORM rounds' "$quant" eval -m $model "${story[@]}" --rotate-activations
fails token_outside_the_vocabulary 2 'token id 512|511' "$quant" eval -m $model --tokens 512 --logits "$work/none.f32"
echo keep >"$work/kept.f32"
fails existing_logits_are_refused 2 kept.f32 "$quant" eval -m $model --tokens 1 --logits "$work/kept.f32"
kept() { [ "$(cat "$work/kept.f32")" = keep ] && [ ! -e "$work/none.f32" ] && ! find "$work" -name '*.tmp' | grep .; }
check nothing_lost_or_left_behind kept
fails another_vocabulary_is_refused 2 'tiny-f16.gguf|compared' "$quant" eval --quiet -m $model --base models/tiny/tiny-f16.gguf "${story[@]}"
