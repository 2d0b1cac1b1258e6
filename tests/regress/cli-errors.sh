#!/usr/bin/env bash
# Mistakes of users: each ends with its documented code and one line that names the thing, and leaves nothing behind.
# Codes: 1 bad content, 2 wrong usage, 3 file system.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf

# --- files ---
fails missing_model 3 'no/such.gguf|No such file' "$quant" run -m no/such.gguf -p x
fails missing_model_of_inspect 3 'no/such.gguf|No such file' "$quant" inspect no/such.gguf
fails missing_model_of_bench 3 'no/such.gguf|No such file' "$quant" bench -m no/such.gguf
fails missing_model_of_quantize 3 'no/such.gguf|No such file' "$quant" quantize no/such.gguf "$work/out.gguf" q4_0
fails directory_as_model 3 "$work|directory" "$quant" run -m "$work" -p x
fails not_a_model 1 'Makefile|GGUF' "$quant" run -m Makefile -p x
head -c 100000 $tiny >"$work/cut.gguf"
fails truncated_model 1 'cut.gguf' "$quant" run -m "$work/cut.gguf" -p x
fails truncated_model_of_inspect 1 'cut.gguf' "$quant" inspect "$work/cut.gguf"
fails truncated_model_of_quantize 1 'cut.gguf' "$quant" quantize "$work/cut.gguf" "$work/out.gguf" q4_0
: >"$work/empty.gguf"
fails empty_model 1 'empty.gguf' "$quant" run -m "$work/empty.gguf" -p x
fails missing_prompt_file 3 'no/prompt.txt' "$quant" run -m $tiny -f no/prompt.txt
if [ "$(id -u)" -ne 0 ]; then
    cp $tiny "$work/secret.gguf" && chmod 000 "$work/secret.gguf"
    fails unreadable_model 3 'secret.gguf|Permission denied' "$quant" run -m "$work/secret.gguf" -p x
fi
escaped=$work/$'new\nline\x1b[31m.gguf'
fails escape_bytes_in_a_name 3 'new\nline\x1b[31m.gguf' "$quant" run -m "$escaped" -p x

# --- options ---
fails no_model 2 '-m FILE' "$quant" run -p x
fails no_prompt 2 'no prompt given|-p TEXT' "$quant" run -m $tiny -no-cnv
fails two_prompts 2 '-p and -f' "$quant" run -m $tiny -p x -f Makefile
fails unknown_option 2 '--tmep|did you mean --temp?' "$quant" run -m $tiny -p x --tmep 1
fails unknown_command 2 "unknown command 'rum'" "$quant" rum
fails option_without_value 2 'option -n needs a value' "$quant" run -m $tiny -p x -n
fails not_a_number 2 "option --temp|found 'warm'" "$quant" run -m $tiny -p x --temp warm
fails number_out_of_range 2 'option --min-p|0 to 1' "$quant" run -m $tiny -p x --min-p 2
fails cache_type 2 "option -ctk|f32, f16, q8_0 or q4_0|'q5_0'" "$quant" run -m $tiny -p x -ctk q5_0
fails logit_bias_syntax 2 'option --logit-bias|ID+BIAS' "$quant" run -m $tiny -p x --logit-bias 5
fails logit_bias_token 2 '99999|vocabulary of 4096' "$quant" run -m $tiny -p x --logit-bias 99999+1
fails unexpected_argument 2 "unexpected argument 'x'" "$quant" run -m $tiny x
fails instruction_set 2 'avx1024' env QUANT_ISA=avx1024 "$quant" run -m $tiny -p x
fails unknown_type 2 "q99" "$quant" quantize $tiny "$work/out.gguf" q99
fails output_is_a_dash 2 'OUT is -' "$quant" quantize $tiny - q4
for command in "run -m $tiny -p x" "eval -m $tiny -f Makefile" "quantize $tiny $work/out.gguf q4" "bench -m $tiny"; do
    fails "threads_of_${command%% *}" 2 'option -t|512' "$quant" $command -t 513
done
fails piece_size 2 'option -ub|1 to 65536' "$quant" run -m $tiny -p x -ub 0
fails unknown_tensor 2 "'blk.9'" "$quant" inspect $tiny --hist blk.9
fails nothing_to_measure 2 '-p and -n are both 0' "$quant" bench -m $tiny -p 0 -n 0
fails list_syntax 2 'option -t' "$quant" bench -m $tiny -t 1,x
fails formats_both 2 '--json and --markdown' "$quant" formats --json --markdown

# --- lengths ---
for _ in $(seq 300); do printf 'Once upon a time there was a king. '; done >"$work/long.txt"
fails prompt_too_long 2 'the context holds 1024' "$quant" run -m $tiny -f "$work/long.txt"
fails prompt_too_long_for_c 2 'the prompt has 5 tokens, the context holds 4' "$quant" run -m $tiny -p 'Once upon a time' -c 4
printf 'A short text.' >"$work/short.txt"
fails text_shorter_than_the_context 2 'short.txt' "$quant" eval -m $tiny -f "$work/short.txt" -c 512

# --- outputs ---
if [ -c /dev/full ]; then # Linux has this device
    fails output_full 3 'No space left' bash -c "'$quant' formats >/dev/full"
    fails text_output_full 3 'No space left' bash -c "'$quant' run -m $tiny -p Once -n 5 --quiet >/dev/full"
fi
fails output_closed 3 'Bad file descriptor' bash -c "'$quant' formats >&-"
mkdir "$work/closed" && chmod 500 "$work/closed"
fails output_is_a_directory 2 'closed' "$quant" quantize $tiny "$work/closed" q4_0
fails no_such_folder 3 'nowhere' "$quant" quantize $tiny "$work/nowhere/out.gguf" q4_0
if [ "$(id -u)" -ne 0 ]; then
    fails unwritable_folder 3 'closed|Permission denied' "$quant" quantize $tiny "$work/closed/out.gguf" q4_0
fi
cp $tiny "$work/same.gguf"
fails output_exists 2 'same.gguf|--force' "$quant" quantize $tiny "$work/same.gguf" q4_0
fails output_is_the_input 2 'same.gguf' "$quant" quantize "$work/same.gguf" "$work/same.gguf" q4_0 --force

left=$(find "$work" -type f ! -name cut.gguf ! -name empty.gguf ! -name secret.gguf ! -name long.txt ! -name short.txt ! -name same.gguf \
    ! -name out ! -name err)
if [ -z "$left" ] && cmp -s $tiny "$work/same.gguf"; then echo "ok nothing_left_behind"; else echo "FAIL nothing_left_behind: $left"; fi
