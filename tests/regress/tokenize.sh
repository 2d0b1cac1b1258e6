#!/usr/bin/env bash
# `quant tokenize` from the outside.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf

prints() { # EXPECTED COMMAND...: standard output is exactly this
    local expected=$1
    shift
    "$@" >"$work/text" || return 1
    [ "$(cat "$work/text")" = "$expected" ] || { cat "$work/text"; return 1; }
}
# The reference's ids of these words (tests/golden/tokenizer has more).
check ids prints '1 3697 662 261 569' "$quant" tokenize -m $tiny 'Once upon a time'
check without_bos prints '3697 662 261 569' "$quant" tokenize -m $tiny --no-bos 'Once upon a time'
check back prints 'Once upon a time' "$quant" tokenize -m $tiny --decode '3697, 662, [261 569]'
check from_a_pipe prints '1 3697 662' sh -c "printf 'Once upon' | '$quant' tokenize -m $tiny -f -"
check a_line_each prints "$(printf '1 3697\n1\n1 662')" sh -c "printf 'Once\n\nupon\n' | '$quant' tokenize -m $tiny -f - --lines"
check control_token_as_text prints '1' sh -c "'$quant' tokenize -m $tiny --no-bos --parse-special '<s>'"
check as_json prints '[{"id":1,"piece":"<s>"},{"id":3697,"piece":" Once"}]' "$quant" tokenize -m $tiny --json Once
check help_has_examples sh -c "'$quant' tokenize --help | grep -q 'quant tokenize -m model.gguf -f story.txt'"
fails no_model 2 '-m MODEL' "$quant" tokenize hello
fails no_text 2 'expected one of' "$quant" tokenize -m $tiny
fails two_texts 2 'expected one of' "$quant" tokenize -m $tiny -f x hello
fails missing_file 3 'none.txt' "$quant" tokenize -m $tiny -f "$work/none.txt"
fails missing_model 3 'none.gguf' "$quant" tokenize -m "$work/none.gguf" hello
fails id_outside 2 '4095|4096' "$quant" tokenize -m $tiny --decode 4096
fails id_no_number 2 'x' "$quant" tokenize -m $tiny --decode '1 x'
printf 'GGUF' >"$work/short.gguf"
fails short_model 1 'short.gguf' "$quant" tokenize -m "$work/short.gguf" hello
