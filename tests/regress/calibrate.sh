#!/usr/bin/env bash
# quantize --calibrate: closer to the original on text it has not seen, the same bytes for any number of threads, refusals.
. "$(dirname "$0")/../cases.sh"

tiny=models/tiny/tiny-f16.gguf
head -c 12000 models/tiny/sample.txt >"$work/seen.txt"
tail -c 12000 models/tiny/sample.txt >"$work/unseen.txt"
head -c 300 models/tiny/sample.txt >"$work/short.txt"

divergence() { # of a model from the original, on the text it was not calibrated on
    "$quant" eval -m "$1" --base "$tiny" -f "$work/unseen.txt" -c 256 --chunks 4 --exact --quiet --json |
        sed -n 's/.*"kl_divergence": *\([0-9.e-]*\).*/\1/p'
}
# Without feedback the ratio is 1; on this little text 0.7 is reached, and 0.5 when the formats are chosen too.
closer() {
    local type=$1 most=$2 plain calibrated
    shift 2
    "$quant" quantize --quiet --force "$tiny" "$work/plain.gguf" "$type" || return 1
    "$quant" quantize --quiet --force "$tiny" "$work/calibrated.gguf" "$type" --calibrate "$work/seen.txt" --calibrate-ctx 256 --calibrate-chunks 8 "$@" || return 1
    plain=$(divergence "$work/plain.gguf")
    calibrated=$(divergence "$work/calibrated.gguf")
    echo "$type: KL plain $plain, calibrated $calibrated"
    awk -v a="$calibrated" -v b="$plain" -v most="$most" 'BEGIN { exit !(a > 0 && b > 0 && a < most * b) }' &&
        [ "$(stat -c %s "$work/calibrated.gguf")" -le "$(($(stat -c %s "$work/plain.gguf") + 256))" ]
}
shown_by_test || check closer_to_the_original_q4_0 closer q4_0 0.75 --keep-mix
shown_by_test || check closer_to_the_original_q4_k_m closer q4_k_m 0.6 --calibrate-ctx 128

# Code books need importance: refused without, in one line that says how to get it, before anything is written.
refused() {
    ! "$quant" quantize --quiet "$tiny" "$work/books.gguf" iq2_xs 2>"$work/error" && [ ! -e "$work/books.gguf" ] &&
        [ "$(wc -l <"$work/error")" -eq 1 ] && grep -q -- "--imatrix FILE or --calibrate TEXT" "$work/error"
}
check code_books_refuse_without_importance refused
shown_by_test || check code_books_are_calibrated "$quant" quantize --quiet --force "$tiny" "$work/books.gguf" iq2_xs --keep-mix \
    --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2

killed() { # while measuring and while rounding; a third run goes on and makes the same file as one that was let be
    local options=(-q "$tiny" "$work/again.gguf" q4_k_m --calibrate "$work/seen.txt" --calibrate-ctx 128 --calibrate-chunks 4) pid size
    "$quant" quantize -q "$tiny" "$work/undisturbed.gguf" q4_k_m --calibrate "$work/seen.txt" --calibrate-ctx 128 --calibrate-chunks 4 || return 1
    for size in 5000 300000; do # the first is passed by numbers, the second by rounded matrices
        "$quant" quantize "${options[@]}" &
        pid=$!
        while kill -0 "$pid" 2>/dev/null && [ "$(stat -c %s "$work/again.gguf.unfinished" 2>/dev/null || echo 0)" -lt "$size" ]; do sleep 0.01; done
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        if [ -e "$work/again.gguf" ]; then echo "was done before it could be killed"; return 1; fi
    done
    truncate -s -5 "$work/again.gguf.unfinished" # a torn piece is done again
    "$quant" quantize "${options[@]}" --json >"$work/said" && grep -q '"calibration_goes_on": *true' "$work/said" &&
        cmp "$work/undisturbed.gguf" "$work/again.gguf" && [ ! -e "$work/again.gguf.unfinished" ]
}
shown_by_test || check killed_work_goes_on killed
stopped() { # work of another text is no help; who stops it is told where it lies
    "$quant" quantize -q "$tiny" "$work/other.gguf" q4_0 --calibrate "$work/seen.txt" --calibrate-ctx 128 --calibrate-chunks 4 &
    local pid=$!
    while kill -0 "$pid" 2>/dev/null && [ "$(stat -c %s "$work/other.gguf.unfinished" 2>/dev/null || echo 0)" -lt 300000 ]; do sleep 0.01; done
    kill -TERM "$pid"
    ! wait "$pid" || return 1
    [ -e "$work/other.gguf.unfinished" ] && "$quant" quantize -q "$tiny" "$work/other.gguf" q4_0 --calibrate "$work/unseen.txt" --calibrate-ctx 128 --calibrate-chunks 4 --json >"$work/said" &&
        grep -q '"calibration_goes_on": *false' "$work/said" && [ ! -e "$work/other.gguf.unfinished" ]
}
shown_by_test || check work_of_another_text_is_left stopped

plan_given_back() { # a saved plan makes the same file again
    local text=("$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2)
    "$quant" quantize --quiet --force "$tiny" "$work/first.gguf" q4_k_m --calibrate "${text[@]}" --save-plan "$work/plan.txt" &&
        "$quant" quantize --quiet --force "$tiny" "$work/again.gguf" q4_k_m --calibrate "${text[@]}" --tensor-type-file "$work/plan.txt" &&
        cmp "$work/again.gguf" "$work/first.gguf"
}
[ -z "${QUANT_FULL_TESTS:-}" ] || check plan_given_back plan_given_back

target_size() { # at most 0.5 % below the target, never above
    "$quant" quantize --quiet --force "$tiny" "$work/target.gguf" q4_k_m --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 "$@" &&
        stat -c %s "$work/target.gguf"
}
within() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b && a >= 0.995 * b) }'; }
shown_by_test || check target_size_is_met within "$(target_size --target-size 2400000)" 2400000
if [ -n "${QUANT_FULL_TESTS:-}" ]; then
    check target_bits_are_met within "$(target_size --target-bpw 5.5)" 2885168
    check like_another_mix within "$(target_size --like q3_k_m)" 2480700
fi
fails impossible_target 2 'smallest file' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 --target-size 1000
fails target_without_text 2 'give --calibrate' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --target-size 3M
fails two_targets 2 'exclude each other' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --target-size 3M --like q8_0

# Ways of rounding: nearest is what no data give, importance from a text is that of the matrix made from it, feedback is more.
ways_of_rounding() {
    local text=("$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 8)
    "$quant" calibrate -q --force "$tiny" "$work/seen.txt" -c 64 --chunks 8 --process-output -o "$work/imatrix.gguf" &&
        "$quant" quantize "$tiny" "$work/plain.gguf" q4_0 -q --force &&
        "$quant" quantize "$tiny" "$work/nearest.gguf" q4_0 -q --force --rounding nearest &&
        "$quant" quantize "$tiny" "$work/matrix.gguf" q4_0 -q --force --imatrix "$work/imatrix.gguf" &&
        "$quant" quantize "$tiny" "$work/search.gguf" q4_0 -q --force --keep-mix --transform none --rounding search --calibrate "${text[@]}" &&
        cmp "$work/plain.gguf" "$work/nearest.gguf" &&
        same_model "$work/matrix.gguf" "$work/search.gguf" && ! same_model "$work/plain.gguf" "$work/search.gguf"
}
same_model() { # all weights but a few alike: the matrix on disk has rounded sums
    "$quant" eval -m "$1" --base "$2" -f "$work/unseen.txt" -c 64 --chunks 2 --exact --quiet --json |
        awk -F'"kl_divergence": *' '{ exit !($2 + 0 < 1e-6) }'
}
shown_by_test || check ways_of_rounding ways_of_rounding
fails gptq_without_text 2 'rounding gptq|--calibrate TEXT' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --rounding gptq
fails search_without_data 2 'rounding search|--imatrix FILE or --calibrate TEXT' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --rounding search
fails nearest_with_matrix 2 'leave --imatrix out' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --rounding nearest --imatrix "$work/imatrix.gguf"
fails nearest_code_book 2 'rounding nearest has none' "$quant" quantize -q "$tiny" "$work/no.gguf" iq2_xs --rounding nearest
fails unknown_rounding 2 'expected nearest, search or gptq' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --rounding random

# The table of a tied model is rounded for both its uses: 0.53 of plain rounding, 0.71 when only the output counts.
tied_table() {
    local table=(--tensor-type 'token_embd=q4_0') plain calibrated
    "$quant" quantize --quiet --force "$tiny" "$work/plain.gguf" f16 "${table[@]}" &&
        "$quant" quantize --quiet --force "$tiny" "$work/tied.gguf" f16 "${table[@]}" --keep-mix --calibrate "$work/seen.txt" --calibrate-ctx 256 --calibrate-chunks 8 || return 1
    plain=$(divergence "$work/plain.gguf") calibrated=$(divergence "$work/tied.gguf")
    echo "KL plain $plain, calibrated $calibrated"
    awk -v a="$calibrated" -v b="$plain" 'BEGIN { exit !(a > 0 && a < 0.62 * b) }'
}
[ -z "${QUANT_FULL_TESTS:-}" ] || check tied_table_counts_in_both_places tied_table

# Tables of a matrix, and double-quantized scales: rounded with feedback under what was made for the whole tensor.
tables() {
    local text=("$work/seen.txt" --calibrate-ctx 128 --calibrate-chunks 8 --tensor-type 'token_embd=f16')
    "$quant" quantize --quiet --force "$tiny" "$work/plain.gguf" "$1" --tensor-type 'token_embd=f16' &&
        "$quant" quantize --quiet --force "$tiny" "$work/tables.gguf" "$1" --calibrate "${text[@]}" || return 1
    local plain calibrated
    plain=$(divergence "$work/plain.gguf") calibrated=$(divergence "$work/tables.gguf")
    echo "$1: KL plain $plain, calibrated $calibrated"
    awk -v a="$calibrated" -v b="$plain" 'BEGIN { exit !(a > 0 && a < 0.9 * b) }'
}
if [ -n "${QUANT_FULL_TESTS:-}" ]; then
    check tables_are_calibrated tables pal4
    check double_quantization_is_calibrated tables nf4_dq
    check pairs_are_calibrated tables pal2_v2
fi

asked_for() { # what a budget would never choose stays what the user asked for
    "$quant" quantize --force "$tiny" "$work/own.gguf" nf4 --tensor-type 'ffn|token_embd=f16' --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 2>/dev/null | grep -q '^  NF4 '
}
shown_by_test || check own_types_are_kept asked_for

same_bytes() {
    "$quant" quantize --quiet --force -t 1 "$tiny" "$work/one.gguf" q4_k_m --tensor-type "ffn|token_embd=f16" --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 &&
        "$quant" quantize --quiet --force -t 3 "$tiny" "$work/three.gguf" q4_k_m --tensor-type "ffn|token_embd=f16" --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 &&
        cmp "$work/one.gguf" "$work/three.gguf"
}
shown_by_test || check same_bytes_for_any_threads same_bytes

fails a_short_text 1 'short.txt|two windows' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/short.txt"
fails no_such_text 3 'missing.txt' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/missing.txt"
touch "$work/there.gguf"
fails an_existing_output 2 'there.gguf' "$quant" quantize -q "$tiny" "$work/there.gguf" q4_0 --calibrate models/tiny/sample.txt
check nothing_left_behind test ! -e "$work/no.gguf"

# Every input is calibrated as it is: a Hugging Face folder and a split model give the bytes of the GGUF they hold.
quick=(q4_0 --keep-mix --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2)
"$quant" quantize -q "$tiny" "$work/whole.gguf" "${quick[@]}"
split() {
    "$quant" quantize -q "$tiny" "$work/part.gguf" copy --split-max-size 3M && [ -e "$work/part-00002-of-00003.gguf" ] &&
        "$quant" quantize -q "$work/part-00001-of-00003.gguf" "$work/split.gguf" "${quick[@]}" && cmp "$work/split.gguf" "$work/whole.gguf"
}
shown_by_test || check a_split_model_is_calibrated split
folder() { # by way of a temporary file, of which nothing stays
    "$quant" convert --quiet "$shared/models/tiny/hf" "$work/converted.gguf" && "$quant" quantize -q "$work/converted.gguf" "$work/two-steps.gguf" "${quick[@]}" || return 1
    mkdir "$work/alone"
    "$quant" quantize -q "$shared/models/tiny/hf" "$work/alone/one-step.gguf" "${quick[@]}" && cmp "$work/alone/one-step.gguf" "$work/two-steps.gguf" &&
        [ "$(ls -A "$work/alone")" = one-step.gguf ]
}
stopped() { # by a signal while it works on the converted model
    rm -rf "$work/alone" && mkdir "$work/alone"
    "$quant" quantize "$shared/models/tiny/hf" "$work/alone/never.gguf" q4_0 --calibrate "$work/seen.txt" --calibrate-ctx 64 2>"$work/said" &
    local pid=$! tries=0
    while kill -0 "$pid" 2>/dev/null && ! grep -q 'calibration takes about' "$work/said" && [ $((tries += 1)) -lt 600 ]; do sleep 0.1; done
    kill -TERM "$pid"
    wait "$pid"
    [ $? -eq 143 ] && [ -z "$(ls -A "$work/alone")" ]
}
if [ -d "$shared/models/tiny/hf" ]; then
    shown_by_test || check a_folder_is_calibrated folder
    [ -z "${QUANT_FULL_TESTS:-}" ] || check a_stopped_run_leaves_nothing stopped
else
    echo "SKIP a_folder_is_calibrated: no $shared/models/tiny/hf"
fi

# The effort says its time beforehand; the least is an importance matrix and the mix's own formats.
fast() {
    "$quant" quantize --force "$tiny" "$work/fast.gguf" q4_0 --calibrate "$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 2 --effort fast 2>"$work/said" >/dev/null &&
        grep -q 'calibration takes about .*: reading .*, rounding' "$work/said" &&
        "$quant" calibrate -q --process-output "$tiny" "$work/seen.txt" -c 64 --chunks 2 -o "$work/fast-imatrix.gguf" &&
        "$quant" quantize -q "$tiny" "$work/by-matrix.gguf" q4_0 --imatrix "$work/fast-imatrix.gguf" &&
        [ "$(stat -c %s "$work/fast.gguf")" -le "$(($(stat -c %s "$work/by-matrix.gguf") + 256))" ] && [ "$(divergence "$work/fast.gguf")" = "$(divergence "$work/by-matrix.gguf")" ]
}
shown_by_test || check the_least_effort fast
fails effort_without_a_text 2 '--effort|--calibrate TEXT' "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --effort max
fails memory_without_a_text 2 '--mem|--calibrate TEXT' "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --mem 1G
fails windows_without_a_text 2 '--calibrate-chunks|--calibrate TEXT' "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --calibrate-chunks 4
fails a_seed_without_a_rotation 2 '--seed|--transform rotate' "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --seed 4
fails an_unknown_effort 2 'effort|fast, normal or max|much' "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/seen.txt" --effort much

# A dry run says what would be tried and how long it would take.
foreseen() {
    "$quant" quantize "$tiny" "$work/no.gguf" q4_0 --dry-run --calibrate "$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 8 "$@" 2>&1 | tee "$work/said"
    [ ! -e "$work/no.gguf" ] && grep -q 'calibration on 8 windows would take about .*rounding.*nothing written' "$work/said"
}
foreseen_by_name() { foreseen --transform awq,rotate --lowrank 8 && grep -q 'to be tried: rotate, awq$' "$work/said" && grep -q 'transforms .*low rank' "$work/said"; }
foreseen_by_default() { foreseen && grep -q 'to be tried: channels that stand out' "$work/said"; }
check a_dry_run_says_what_it_would_try foreseen_by_name
check a_dry_run_says_the_default foreseen_by_default

# A time per token: refused in one line where nothing is as fast, else said in the end.
timed=("$tiny" "$work/timed.gguf" q4_0 --calibrate "$work/seen.txt" --calibrate-ctx 32 --calibrate-chunks 2 --effort fast)
refused_time() {
    ! "$quant" quantize --quiet "${timed[@]}" --target-ms 0.000001 2>"$work/error" && [ "$(wc -l <"$work/error")" -eq 1 ] &&
        grep -q 'the fastest formats within the size take .* ms per token' "$work/error" && [ ! -e "$work/timed.gguf" ]
}
shown_by_test || check an_impossible_time refused_time
met_time() { "$quant" quantize "${timed[@]}" --target-ms 100000 2>/dev/null | tee "$work/said" && grep -q 'about .* ms per token' "$work/said"; }
shown_by_test || check a_time_is_said met_time

# Sizes of every kind are met to half a percent.
sizes=3300000
shown_by_test && sizes="1500000 2000000"
for target in $sizes; do
    check "size_${target}_is_met" within "$(target_size --target-size $target --effort fast)" $target
done
