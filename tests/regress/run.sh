#!/usr/bin/env bash
# `quant run` from the outside: texts of references, options, streams, what it says.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
stories=tests/golden/stories260K/stories260K.gguf
golden=tests/golden/greedy

same() { # FILE COMMAND...: standard output equals the file
    local file=$1
    shift
    "$@" >"$work/text" || return 1
    cmp "$file" "$work/text"
}
check greedy_text_of_the_bundled_model same $golden/tiny.txt "$quant" run -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet
check greedy_text_exact same $golden/tiny.txt "$quant" run -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet --exact -ctk f32 -ctv f32
check greedy_text_q8_cache same $golden/tiny.txt "$quant" run -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet -ctk q8_0 -ctv q8_0
check greedy_text_of_stories same $golden/stories260K.txt "$quant" run -m $stories -p '' -n 256 --temp 0 --quiet
check greedy_text_from_standard_input bash -c "'$quant' run -m $tiny -f - -n 64 --temp 0 --quiet <$golden/tiny-prompt.txt | cmp - $golden/tiny.txt"
check greedy_text_in_small_batches same $golden/tiny.txt "$quant" run -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet -b 7 -t 3 --no-mmap
check greedy_text_from_a_mapped_file same $golden/tiny.txt "$quant" run -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet --mmap
check link_named_run same $golden/tiny.txt "$(dirname "$quant")/run" -m $tiny -f $golden/tiny-prompt.txt -n 64 --temp 0 --quiet

generate() { "$quant" run -m $tiny --quiet "$@"; }
asks() { # the makers' choice, kept in the file, holds where the user says nothing
    "$quant" quantize $tiny "$work/asks.gguf" copy --quiet --force --override-kv general.sampling.temp=float:0 --override-kv general.sampling.top_k=int:5 || return 1
    "$quant" run -m "$work/asks.gguf" -f $golden/tiny-prompt.txt -n 64 2>"$work/err" | cmp - $golden/tiny.txt || return 1
    grep -qF 'as the model'"'"'s file says: --temp 0 --top-k 5' "$work/err" || { cat "$work/err"; return 1; }
    "$quant" run -m "$work/asks.gguf" -f $golden/tiny-prompt.txt -n 64 --temp 1 -s 3 --quiet >"$work/a" && ! cmp -s "$work/a" $golden/tiny.txt
}
check model_chooses_its_sampling asks
seeds() {
    generate -p 'The king' -n 40 -s 5 >"$work/a" && generate -p 'The king' -n 40 -s 5 -t 1 >"$work/b" && generate -p 'The king' -n 40 -s 6 >"$work/c" || return 1
    cmp "$work/a" "$work/b" && ! cmp -s "$work/a" "$work/c"
}
check same_seed_same_text seeds

stops() { # the text ends right before the stop string, and no part of it shows
    local whole part
    whole=$(cat $golden/tiny.txt)
    part=$(generate -f $golden/tiny-prompt.txt -n 64 --temp 0 -r 'see you' -r 'never there' | tr '\n' '~')
    [ "$part" = "$(printf '%s' "${whole%%see you*}" | tr '\n' '~')~" ] || { echo "got: $part"; return 1; }
    part=$(generate -f $golden/tiny-prompt.txt -n 64 --temp 0 -r '\n\n"I' --no-display-prompt | tr '\n' '~')
    [ -z "$part" ] || { echo "got: $part"; return 1; }
}
check stop_strings stops

json_lines() { # one object per token; their texts together are the text; the log-probabilities are logarithms
    generate -f $golden/tiny-prompt.txt -n 64 --temp 0 --json --stats >"$work/json" || return 1
    [ "$(grep -c '^{"id":[0-9]*,"text":".*","logprob":-[0-9.e-]*}$' "$work/json")" = 64 ] || { head -3 "$work/json"; return 1; }
    [ "$(grep -c '^{"stats":{.*"generated_tokens":64,.*}}$' "$work/json")" = 1 ] || { tail -1 "$work/json"; return 1; }
    command -v python3 >/dev/null || return 0
    python3 - "$work/json" $golden/tiny.txt <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
text = "".join(line["text"] for line in lines if "text" in line)
assert open(sys.argv[2]).read().rstrip("\n").endswith(text), text
assert all(line["logprob"] <= 0 for line in lines if "logprob" in line)
PY
}
check json json_lines

says() { # WORDS COMMAND...: standard error holds the words
    local words=$1
    shift
    "$@" 2>"$work/err" >/dev/null || { cat "$work/err"; return 1; }
    grep -qF -- "$words" "$work/err" || { cat "$work/err"; return 1; }
}
run=("$quant" run -m $tiny -p Once -n 3)
check says_the_context says "context 1024 tokens (the model's)" "${run[@]}"
check says_the_speed says 'prompt 2 tokens' "${run[@]}"
check says_the_seed says 'seed 77' "${run[@]}" -s 77
check gpu_options_warn says 'option -ngl has no effect' "${run[@]}" -ngl 99
check flash_attention_takes_a_value says 'option -fa has no effect' "${run[@]}" -fa on
check long_context_warns says 'longer than the 1024 tokens' "${run[@]}" -c 1025
check verbose_names_kernels says "$("$quant" formats --json | sed -n 's/.*"name":"F16".*"gemv":"\(gemv_f16[^"]*\)".*/\1/p')" "${run[@]}" --verbose
check verbose_prompt_shows_tokens says "3697 -> " "$quant" run -m $tiny -p 'Once upon' -n 1 --verbose-prompt
check forced_kernels_are_used says ', scalar, context' env QUANT_ISA=scalar "${run[@]}"
quiet() { "${run[@]}" --quiet >/dev/null 2>"$work/err" && [ ! -s "$work/err" ]; }
check quiet_says_nothing quiet

full_context() {
    generate -p 'Once upon a time' -n -1 -c 16 --ignore-eos --json >"$work/json" || return 1
    [ "$(wc -l <"$work/json")" = 12 ] || { wc -l "$work/json"; return 1; }  # 5 of the prompt, 11 more fit, one beyond is chosen
    says 'the context of 16 tokens is full' "$quant" run -m $tiny -p 'Once upon a time' -n -1 -c 16 --ignore-eos
}
check stops_at_a_full_context full_context
bias() { # a token is forbidden, another forced
    generate -p 'Once upon a time' -n 1 --temp 0 -l 1092+100 --json | grep -q '"id":1092' &&
        ! generate -p 'Once' -n 1 --temp 0 -l 261-inf --json | grep -q '"id":261,'
}
check logit_bias bias
escapes() {
    generate -p 'a\tb' -n 0 | od -c | grep -q 'a  \\t   b' && [ "$(generate -p 'a\tb' -n 0 --no-escape)" = 'a\tb' ]
}
check escapes escapes

pipes() { # a reader that goes away is no error and no message
    generate -p Once -n 500 2>"$work/err" | head -c 10 >/dev/null
    [ "${PIPESTATUS[0]}" = 0 ] && [ ! -s "$work/err" ]
}
check closed_pipe_ends_quietly pipes
interrupts() { # Ctrl-C ends the text, the summary follows, the code tells the signal
    local signal=$1 code=$2 found process
    rm -f "$work/text"
    # job control gives the child a default SIGINT, which a shell takes from its background jobs
    set -m
    "$quant" run -m $tiny -p Once -n -1 -c 100000 --ignore-eos >"$work/text" 2>"$work/err" &
    process=$!
    set +m
    for _ in $(seq 300); do [ "$(wc -c <"$work/text" 2>/dev/null || echo 0)" -gt 20 ] && break; sleep 0.02; done
    kill "-$signal" $process
    wait $process
    found=$?
    [ $found = "$code" ] && tail -n 1 "$work/err" | grep -q 'generated' || { echo "code $found"; tail -n 2 "$work/err"; return 1; }
}
check interrupt_ends_cleanly interrupts INT 130
check terminate_ends_cleanly interrupts TERM 143
