#!/usr/bin/env bash
# quant calibrate: a matrix that quantize takes, work that survives being killed, refusals.
. "$(dirname "$0")/../cases.sh"

tiny=models/tiny/tiny-f16.gguf
text=models/tiny/sample.txt

check matrix_is_written "$quant" calibrate -q "$tiny" "$text" -o "$work/imatrix.gguf" --chunks 4 -c 64
check matrix_is_taken "$quant" quantize -q "$tiny" "$work/out.gguf" q2_k_s --imatrix "$work/imatrix.gguf"
check matrix_is_readable "$quant" inspect "$work/imatrix.gguf"

# A text that can be read only once gives what a file of that name gives.
cp "$text" "$work/pipe"
piped() {
    local out=$work/piped.gguf
    "$quant" calibrate -q "$tiny" <(cat "$text") -o "$out" --chunks 4 -c 64 && "$quant" calibrate -q "$tiny" "$work/pipe" -o "$out.file" --chunks 4 -c 64 && cmp "$out" "$out.file"
}
check a_pipe_is_a_text piped
piped_twice() { # transforms, rounding and the page read it again; standard input is a pipe as well
    local options=(q4_0 -q --keep-mix --rounding search --calibrate-ctx 32 --calibrate-chunks 5 --calibrate)
    "$quant" quantize "$tiny" "$work/stdin.gguf" "${options[@]}" - --report "$work/page.html" --report-text <(tail -c 3000 "$text") <"$text" &&
        "$quant" quantize "$tiny" "$work/file.gguf" "${options[@]}" "$work/pipe" && cmp "$work/stdin.gguf" "$work/file.gguf"
}
check a_pipe_is_read_once piped_twice

killed() { # the first run is killed as soon as a layer is saved; the second goes on and makes the same file
    local options=(-q "$tiny" "$text" --chunks 40 -c 128 --checkpoint 0)
    "$quant" calibrate "${options[@]}" -o "$work/whole.gguf" --gram "$work/whole-gram.gguf" || return 1
    "$quant" calibrate "${options[@]}" -o "$work/again.gguf" --gram "$work/again-gram.gguf" &
    local pid=$!
    while kill -0 "$pid" 2>/dev/null && [ ! -e "$work/again.gguf.unfinished" ]; do sleep 0.01; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    if [ -e "$work/again.gguf" ]; then echo "was done before it could be killed"; return 1; fi
    "$quant" calibrate "$tiny" "$text" --chunks 40 -c 128 -o "$work/again.gguf" --gram "$work/again-gram.gguf" 2>/dev/null | tee "$work/said" && grep -q 'continued from layer' "$work/said" &&
        cmp "$work/whole.gguf" "$work/again.gguf" && cmp "$work/whole-gram.gguf" "$work/again-gram.gguf" && ! ls "$work" | grep unfinished
}
check killed_work_goes_on killed

# Gram matrices: from them a model is rounded with feedback, without a text.
tail -c 12000 "$text" >"$work/unseen.txt"
head -c 30000 "$text" >"$work/seen.txt"
divergence() {
    "$quant" eval -m "$1" --base "$tiny" -f "$work/unseen.txt" -c 256 --chunks 4 --exact --quiet --json | sed -n 's/.*"kl_divergence": *\([0-9.e-]*\).*/\1/p'
}
kept() {
    "$quant" calibrate -q "$tiny" "$work/seen.txt" -c 256 --chunks 12 -o "$work/seen.gguf" --gram "$work/gram.gguf" && [ ! -e "$work/gram.gguf.unfinished" ] &&
        "$quant" calibrate -q "$tiny" "$work/seen.txt" -c 256 --chunks 12 -t 1 --mem 1M -o "$work/seen-1.gguf" --gram "$work/gram-1.gguf" &&
        cmp "$work/gram.gguf" "$work/gram-1.gguf" && cmp "$work/seen.gguf" "$work/seen-1.gguf"
}
check gram_matrices_are_kept kept
nearer() { # 0.5 of nearest
    "$quant" quantize -q "$tiny" "$work/plain.gguf" q4_0 && "$quant" quantize -q "$tiny" "$work/fed.gguf" q4_0 --gram "$work/gram.gguf" || return 1
    echo "KL plain $(divergence "$work/plain.gguf"), by Gram matrices $(divergence "$work/fed.gguf")"
    awk -v a="$(divergence "$work/fed.gguf")" -v b="$(divergence "$work/plain.gguf")" 'BEGIN { exit !(a > 0 && a < 0.55 * b) }'
}
check gram_matrices_bring_a_model_nearer nearer
# From the same statistics the same bytes, whatever runs: scales of every kind, a code book, tables.
same_bytes() {
    local type from
    for type in q4_k iq4_nl ${QUANT_FULL_TESTS:+q4_0 q2_k q6_k iq4_xs iq2_xs pal4}; do
        for from in "--gram $work/gram.gguf" "--imatrix $work/seen.gguf"; do
            # shellcheck disable=SC2086
            "$quant" quantize -q --force "$tiny" "$work/wide.gguf" $type $from --pure --tensor-type 'blk.[123]|token_embd=f16' 2>/dev/null &&
                QUANT_ISA=scalar "$quant" quantize -q --force -t 1 "$tiny" "$work/narrow.gguf" $type $from --pure --tensor-type 'blk.[123]|token_embd=f16' 2>/dev/null || return 1
            cmp "$work/wide.gguf" "$work/narrow.gguf" || { echo "$type $from"; return 1; }
        done
    done
}
check same_statistics_same_bytes same_bytes
fails gram_and_text 2 'leave --calibrate or --gram out' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --gram "$work/gram.gguf" --calibrate "$text"
fails gram_and_search 2 'error feedback' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --gram "$work/gram.gguf" --rounding search
fails gram_and_transform 2 'weighs|--calibrate TEXT' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --gram "$work/gram.gguf" --transform rotate --no-gate
fails no_gram_matrices 1 'seen.gguf|calibrate --gram' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --gram "$work/seen.gguf"
fails a_gram_matrix_in_the_way 2 'gram.gguf|--force' "$quant" calibrate -q "$tiny" "$text" -o "$work/no.gguf" --gram "$work/gram.gguf"

fails an_existing_output 2 'imatrix.gguf|--force' "$quant" calibrate -q "$tiny" "$text" -o "$work/imatrix.gguf"
fails a_missing_text 3 'missing.txt' "$quant" calibrate -q "$tiny" "$work/missing.txt" -o "$work/no.gguf"
fails a_folder_for_working_data_that_is_not_there 3 'nowhere|TMPDIR' env TMPDIR="$work/nowhere" "$quant" calibrate -q "$tiny" "$text" -o "$work/no.gguf" --mem 1K
check nothing_left_behind test ! -e "$work/no.gguf"
