#!/usr/bin/env bash
# How much of a model is left at a file size: ours with calibration, ours plain, and what each peer makes of the same model
# with an importance matrix of the same calibration text. All files are judged by the same program on text that none has
# seen: mean KL divergence to the original with its standard error, by the int8 products and by --exact, perplexity, bytes.
# usage: scripts/fidelity.sh [--ours-only] MODEL TEXT CALIBRATION-TEXT [PEER-FOLDER...]
#   MODEL: an unquantized GGUF; PEER-FOLDER: holds a peer's llama-quantize, and its llama-perplexity for a second opinion
# environment: QUANT_BUILD the build folder; TYPES (default below); CHUNKS of TEXT to judge (default 64); CONTEXT (default 512);
#   WINDOWS of the calibration text (default 128)
set -eu
ours_only=
[ "${1:-}" != --ours-only ] || { ours_only=1; shift; }
if [ $# -lt 3 ] || { [ $# -eq 3 ] && [ -z "$ours_only" ]; }; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    echo "without a peer nothing is compared: name its folder, or say --ours-only" >&2
    exit 2
fi
model=$1 text=$2 calibration=$3
shift 3
quant=${QUANT_BUILD:-$(dirname "$0")/../build}/quant
types=${TYPES:-Q8_0 Q6_K Q5_K_M Q4_K_M IQ4_NL Q4_0 Q3_K_M Q3_K_S Q2_K}
chunks=${CHUNKS:-64} context=${CONTEXT:-512} windows=${WINDOWS:-128}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for peer in "$@"; do
    [ -x "$peer/llama-quantize" ] || { echo "$peer: no llama-quantize there" >&2; exit 2; }
done

number() { sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2" | head -n 1; }

# judge NAME FILE SECONDS REFERENCE-KL: prints a row; the KL by --exact is left in $work/kl.
judge() {
    local name=$1 file=$2 seconds=$3 reference=$4
    "$quant" eval -m "$file" --base "$model" -f "$text" -c "$context" --chunks "$chunks" --json --quiet >"$work/fast"
    "$quant" eval -m "$file" --base "$model" -f "$text" -c "$context" --chunks "$chunks" --exact --json --quiet >"$work/exact"
    number kl_divergence "$work/exact" >"$work/kl"
    awk -v name="$name" -v size="$(wc -c <"$file")" -v fast="$(number kl_divergence "$work/fast")" -v fe="$(number kl_divergence_error "$work/fast")" \
        -v exact="$(cat "$work/kl")" -v ee="$(number kl_divergence_error "$work/exact")" -v ppl="$(number perplexity "$work/fast")" \
        -v seconds="$seconds" -v reference="$reference" 'BEGIN {
        printf "  %-22s %11d  %.5f +/- %.5f  %.5f +/- %.5f  %9.4f %7s s", name, size, fast, fe, exact, ee, ppl, seconds
        if (reference != "") printf "  ours is %.2f of it", reference / exact
        printf "\n" }'
}

# The peer's own judgement of one of our files, against its own record of the original.
second_opinion() {
    local peer=$1 file=$2
    [ -x "$peer/llama-perplexity" ] || return 0
    [ -s "$work/base" ] || "$peer/llama-perplexity" -m "$model" -f "$text" -c "$context" --chunks "$chunks" --kl-divergence-base "$work/base" >/dev/null 2>&1
    "$peer/llama-perplexity" -m "$file" --kl-divergence-base "$work/base" --kl-divergence 2>/dev/null |
        sed -n 's/^Mean *KLD: */      the peer judges our calibrated file: KL /p'
}

"$quant" calibrate -q "$model" "$calibration" -o "$work/imatrix.gguf" --chunks "$windows"
"$quant" calibrate -q "$model" "$calibration" -o "$work/imatrix.dat" --chunks "$windows"
printf '  %-22s %11s  %-19s  %-19s  %9s %9s\n' "" bytes "KL" "KL --exact" perplexity time
for type in $types; do
    echo "$type"
    began=$SECONDS
    "$quant" quantize --quiet --force "$model" "$work/ours.gguf" "$type" --calibrate "$calibration" --calibrate-chunks "$windows"
    judge "ours, calibrated" "$work/ours.gguf" $((SECONDS - began)) ""
    ours=$(cat "$work/kl")
    began=$SECONDS
    "$quant" quantize --quiet --force "$model" "$work/plain.gguf" "$type" --imatrix "$work/imatrix.gguf"
    judge "ours, importance" "$work/plain.gguf" $((SECONDS - began)) "$ours"
    for peer in "$@"; do
        began=$SECONDS
        if ! "$peer/llama-quantize" --imatrix "$work/imatrix.gguf" "$model" "$work/peer.gguf" "$type" >"$work/log" 2>&1 &&
            ! "$peer/llama-quantize" --imatrix "$work/imatrix.dat" "$model" "$work/peer.gguf" "$type" >"$work/log" 2>&1; then
            echo "  $peer: $(tail -n 1 "$work/log")"
            continue
        fi
        judge "$(basename "$(dirname "$(dirname "$(cd "$peer" && pwd)")")")" "$work/peer.gguf" $((SECONDS - began)) "$ours"
    done
    [ $# -eq 0 ] || second_opinion "$1" "$work/ours.gguf"
done
