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
    local options=(q4_0 -q --keep-mix --calibrate-ctx 32 --calibrate-chunks 5 --calibrate)
    "$quant" quantize "$tiny" "$work/stdin.gguf" "${options[@]}" - --report "$work/page.html" --report-text <(tail -c 3000 "$text") <"$text" &&
        "$quant" quantize "$tiny" "$work/file.gguf" "${options[@]}" "$work/pipe" && cmp "$work/stdin.gguf" "$work/file.gguf"
}
check a_pipe_is_read_once piped_twice

killed() { # the first run is killed as soon as a layer is saved; the second goes on and makes the same file
    local options=(-q "$tiny" "$text" --chunks -1 -c 128 --checkpoint 0)
    "$quant" calibrate "${options[@]}" -o "$work/whole.gguf" || return 1
    "$quant" calibrate "${options[@]}" -o "$work/again.gguf" &
    local pid=$!
    while kill -0 "$pid" 2>/dev/null && [ ! -e "$work/again.gguf.unfinished" ]; do sleep 0.01; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    if [ -e "$work/again.gguf" ]; then echo "was done before it could be killed"; return 1; fi
    "$quant" calibrate "$tiny" "$text" --chunks -1 -c 128 -o "$work/again.gguf" 2>/dev/null | tee "$work/said" && grep -q 'continued from layer' "$work/said" &&
        cmp "$work/whole.gguf" "$work/again.gguf" && [ ! -e "$work/again.gguf.unfinished" ]
}
check killed_work_goes_on killed

fails an_existing_output 2 'imatrix.gguf|--force' "$quant" calibrate -q "$tiny" "$text" -o "$work/imatrix.gguf"
fails a_missing_text 3 'missing.txt' "$quant" calibrate -q "$tiny" "$work/missing.txt" -o "$work/no.gguf"
fails a_folder_for_working_data_that_is_not_there 3 'nowhere|TMPDIR' env TMPDIR="$work/nowhere" "$quant" calibrate -q "$tiny" "$text" -o "$work/no.gguf" --mem 1K
check nothing_left_behind test ! -e "$work/no.gguf"
