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
# Without feedback the ratio is 1; on this little text 0.7 is reached.
closer() {
    local type=$1 plain calibrated
    "$quant" quantize --quiet --force "$tiny" "$work/plain.gguf" "$type" || return 1
    "$quant" quantize --quiet --force "$tiny" "$work/calibrated.gguf" "$type" --calibrate "$work/seen.txt" --calibrate-ctx 256 --calibrate-chunks 8 || return 1
    plain=$(divergence "$work/plain.gguf")
    calibrated=$(divergence "$work/calibrated.gguf")
    echo "$type: KL plain $plain, calibrated $calibrated"
    awk -v a="$calibrated" -v b="$plain" 'BEGIN { exit !(a > 0 && b > 0 && a < 0.75 * b) }'
}
for type in q4_0 q4_k_m; do check "closer_to_the_original_$type" closer "$type"; done

same_bytes() {
    "$quant" quantize --quiet --force -t 1 "$tiny" "$work/one.gguf" q4_k_m --calibrate "$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 4 &&
        "$quant" quantize --quiet --force -t 3 "$tiny" "$work/three.gguf" q4_k_m --calibrate "$work/seen.txt" --calibrate-ctx 64 --calibrate-chunks 4 &&
        cmp "$work/one.gguf" "$work/three.gguf"
}
check same_bytes_for_any_threads same_bytes

fails a_short_text 1 'short.txt|two windows' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/short.txt"
fails no_such_text 3 'missing.txt' "$quant" quantize -q "$tiny" "$work/no.gguf" q4_0 --calibrate "$work/missing.txt"
touch "$work/there.gguf"
fails an_existing_output 2 'there.gguf' "$quant" quantize -q "$tiny" "$work/there.gguf" q4_0 --calibrate models/tiny/sample.txt
check nothing_left_behind test ! -e "$work/no.gguf"
