#!/usr/bin/env bash
# The chat of `quant run`, through pipes: messages, commands, templates, Ctrl-C.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf
talk() { "$quant" run -m $tiny --chat-template chatml --temp 0 -n 12 --quiet "$@"; }

first_turn() { # the first answer continues the rendered text; the renderings themselves have tests of their own
    printf 'Who are you?\n' | talk >"$work/a" &&
        "$quant" run -m $tiny --temp 0 -n 12 --quiet --no-display-prompt -p '<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n' >"$work/b" &&
        [ -s "$work/a" ] && cmp "$work/a" "$work/b"
}
# chatml begins with no BOS where the text is continued with one: compared through a model whose vocabulary adds none
qwen=$shared/models/arch/qwen2/qwen2.gguf
if [ -f "$qwen" ]; then
    tiny_saved=$tiny tiny=$qwen
    check answers_continue_the_rendered_text first_turn
    tiny=$tiny_saved
else
    echo "SKIP answers_continue_the_rendered_text: needs the reference data folder (QUANT_SHARED)"
fi

printf 'Who are you?\n' | talk >"$work/answer"
lines() { # MESSAGES gives the answer to one message of two lines
    printf '%b' "$1" | talk >"$work/text" && printf '%b' "$2" | talk >"$work/other" && cmp "$work/text" "$work/other"
}
check lines_go_on_after_a_backslash lines 'a\\\\\nb\n' '"""\na\nb\n"""\n'
check blocks_differ_from_two_messages bash -c "! cmp -s <(printf 'a\nb\n' | '$quant' run -m $tiny --chat-template chatml --temp 0 -n 4 --quiet) <(printf '\"\"\"\na\nb\n\"\"\"\n' | '$quant' run -m $tiny --chat-template chatml --temp 0 -n 4 --quiet)"
check last_line_needs_no_end lines 'Who are you?' 'Who are you?\n'
check first_message_by_option bash -c "'$quant' run -m $tiny --chat-template chatml --temp 0 -n 12 --quiet -cnv -p 'Who are you?' </dev/null | cmp - $work/answer"
check single_turn bash -c "printf 'Who are you?\nAnd now?\n' | '$quant' run -m $tiny --chat-template chatml --temp 0 -n 12 --quiet -st | cmp - $work/answer"
check clear_begins_anew bash -c "printf 'Hello\n/clear\nWho are you?\n' | '$quant' run -m $tiny --chat-template chatml --temp 0 -n 12 --quiet | tail -n \$(wc -l <$work/answer) | cmp - $work/answer"
system() { talk -sys 'Once upon a time there was a king who had three sons.' >"$work/a" <<<'Who are you?' && printf '/system Once upon a time there was a king who had three sons.\nWho are you?\n' | talk >"$work/b" && cmp "$work/a" "$work/b" && ! cmp -s "$work/a" "$work/answer"; }
check system_messages system
regenerates() { printf 'Who are you?\n/regen\n' | talk >"$work/text" && cat "$work/answer" "$work/answer" | cmp - "$work/text"; }
check regen_answers_again regenerates
keeps() { # an answer is the same whether the chat went on or was taken up later
    printf 'Who are you?\n/save %s\nAnd now?\n' "$work/kept" | talk >"$work/whole" && grep -q '^user 12$' "$work/kept" || return 1
    printf '/load %s\nAnd now?\n' "$work/kept" | talk >"$work/later" && cat "$work/answer" "$work/later" | cmp - "$work/whole"
}
check save_and_load keeps
shifts() { # a full context: what stays moves down in the cache, and no turn is read anew
    for turn in 1 2 3 4 5 6; do echo "Message number $turn of the king."; done |
        "$quant" run -m $tiny --chat-template chatml --temp 0 -n 30 -c 400 --verbose -sys 'Be brief.' >/dev/null 2>"$work/err" &&
        grep -Eq 'the context is full: [0-9]+ tokens leave the cache, [0-9]+ behind them move down' "$work/err"
}
check full_context_moves_the_cache_down shifts
gpt2=$shared/models/arch/gpt2/gpt2.gguf
reads_anew() { # where positions are part of the embedding
    for turn in 1 2 3 4 5 6; do echo "Message number $turn of the king."; done |
        "$quant" run -m "$gpt2" --chat-template chatml --temp 0 -n 20 --verbose -sys 'Be brief.' >/dev/null 2>"$work/err" &&
        grep -q 'positions of this model cannot be shifted' "$work/err"
}
if [ -f "$gpt2" ]; then check fixed_positions_are_read_anew reads_anew; else echo "SKIP fixed_positions_are_read_anew: needs the reference data folder (QUANT_SHARED)"; fi
shows() { # on standard error, and no answer is given
    printf '/help\n/system Be brief.\n/system\n' | talk >"$work/text" 2>"$work/err" && [ ! -s "$work/text" ] || return 1
    local words
    for words in /help /clear /system /regen /save /load /quit 'Be brief.'; do grep -qF -- "$words" "$work/err" || { echo "missing: $words"; return 1; }; done
}
check help_and_system_are_shown shows
tells() { # mistakes in a chat are told, and the chat goes on
    printf '/foo\n/load no/such\n/save\n/regen\n/load Makefile\nWho are you?\n/quit\nnever\n' | talk 2>"$work/err" | cmp - "$work/answer" || return 1
    for words in "unknown command '/foo'" 'no/such' "a file's name is missing" 'no message yet' 'no saved chat'; do
        grep -qF -- "$words" "$work/err" || { echo "missing: $words"; return 1; }
    done
}
check mistakes_are_told tells

interrupted() { # Ctrl-C ends an answer, the next message gets one too; Ctrl-C while waiting ends the chat
    local process
    mkfifo "$work/in"
    set -m
    "$quant" run -m $tiny --chat-template chatml --ignore-eos -c 100000 --verbose <"$work/in" >"$work/text" 2>"$work/err" &
    process=$!
    set +m
    exec 3>"$work/in"
    local turn
    for turn in 1 2; do
        : >"$work/text"
        echo "Message $turn" >&3
        for _ in $(seq 500); do [ -s "$work/text" ] && break; sleep 0.02; done
        kill -INT $process
        for _ in $(seq 500); do [ "$(grep -c 'stopped: interrupted' "$work/err")" = $turn ] && break; sleep 0.02; done
        [ "$(grep -c 'stopped: interrupted' "$work/err")" = $turn ] || { kill -KILL $process; exec 3>&-; tail -n 3 "$work/err"; return 1; }
    done
    sleep 0.2
    kill -INT $process
    wait $process
    [ $? = 130 ] || return 1
    exec 3>&-
}
check ctrl_c_ends_answers interrupted

# The model's own template, put into a copy of the bundled model.
chatml='{% for message in messages %}{{"<|im_start|>" + message["role"] + "\n" + message["content"] + "<|im_end|>" + "\n"}}{% endfor %}{% if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif %}'
"$quant" quantize $tiny "$work/templated.gguf" copy --quiet --override-kv "tokenizer.chat_template=str:$chatml"
"$quant" quantize $tiny "$work/strange.gguf" copy --quiet --override-kv 'tokenizer.chat_template=str:{% for i in range(1000000000) %}{% endfor %}'
check template_of_the_model bash -c "printf 'Who are you?\n' | '$quant' run -m '$work/templated.gguf' --temp 0 -n 12 --quiet | cmp - '$work/answer'"
bare() { # said once
    "$quant" run -m "$work/templated.gguf" -p Once -n 2 >/dev/null 2>"$work/err" && [ "$(grep -c 'has a chat template' "$work/err")" = 1 ]
}
check bare_prompt_is_told bare
fails unknown_template_text 2 'strange.gguf|--chat-template' "$quant" run -m "$work/strange.gguf" --quiet
fails no_template 2 'tiny-f16.gguf|no chat template|--chat-template' "$quant" run -m $tiny --quiet
fails unknown_template 2 "chatmll|chatml" "$quant" run -m $tiny --quiet --chat-template chatmll
fails json_needs_a_prompt 2 '--json' "$quant" run -m $tiny --json --chat-template chatml
fails both_modes 2 '-cnv and -no-cnv' "$quant" run -m $tiny -cnv -no-cnv -p x
