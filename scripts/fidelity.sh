#!/usr/bin/env bash
# How much of a model is left at a file size: ours with calibration, ours plain, and what each peer makes of the same model
# with an importance matrix of the same calibration text. All files are judged by the same program on text that none has
# seen: mean KL divergence to the original with its standard error, by the int8 products and by --exact, perplexity, bytes,
# and the seconds it took to make the file. Our files are no larger than the stock mix of the type.
# usage: scripts/fidelity.sh [--ours-only] MODEL TEXT[,TEXT...] [PEER-FOLDER...]
#   MODEL: an unquantized GGUF; each file is made once and judged on every TEXT; PEER-FOLDER: holds a peer's llama-quantize; the first one with a llama-perplexity judges
#   our file a second time
# environment: QUANT_BUILD the build folder; TYPES (default below); CHUNKS of TEXT to judge (default 64); CONTEXT (default 512);
#   CALIBRATION text (default: the first 2,000,000 bytes of the books in QUANT_SHARED, the shared reference data), WINDOWS of it
#   (default 200); OPTIONS for our calibrated file; NO_PLAIN=1 leaves out our file
#   without calibration; KEEP a folder in which peers' files and judgements stay for the next run
# Where QUANT_SHARED has figures of AutoRound for the model (reference/peers.md), they stand beside.
set -eu
ours_only=
[ "${1:-}" != --ours-only ] || { ours_only=1; shift; }
if [ $# -lt 2 ] || { [ $# -eq 2 ] && [ -z "$ours_only" ]; }; then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    echo "without a peer nothing is compared: name its folder, or say --ours-only" >&2
    exit 2
fi
root=$(dirname "$0")/..
model=$1
IFS=, read -r -a texts <<<"$2"
shift 2
quant=${QUANT_BUILD:-$root/build}/quant
shared=${QUANT_SHARED:-$root/../shared}
types=${TYPES:-Q8_0 Q6_K Q5_K_M Q4_K_M IQ4_NL Q4_0 Q3_K_M Q3_K_S Q2_K}
chunks=${CHUNKS:-64} context=${CONTEXT:-512} windows=${WINDOWS:-200}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keep=${KEEP:-$work/kept}
mkdir -p "$keep"
judge_peer=
for peer in "$@"; do
    [ -x "$peer/llama-quantize" ] || { echo "$peer: no llama-quantize there" >&2; exit 2; }
    [ -n "$judge_peer" ] || [ ! -x "$peer/llama-perplexity" ] || judge_peer=$peer/llama-perplexity
done
if [ -n "${CALIBRATION:-}" ]; then
    calibration=$CALIBRATION
else
    calibration=$work/calibration.txt
    [ -f "$shared/text/books-train.txt.xz" ] || { echo "$shared/text/books-train.txt.xz is not there: name a text in CALIBRATION" >&2; exit 2; }
    # head ends xz early, which is no failure
    { xz -dc "$shared/text/books-train.txt.xz" || true; } 2>/dev/null | head -c 2000000 >"$calibration"
fi

number() { sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2" | head -n 1; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.0f", b - a }'; }

# judge FILE TEXT RESULT: "bytes KL error KL-exact error perplexity" into RESULT; fails where the file has types that we do not read
judge() {
    "$quant" eval -m "$1" --base "$model" -f "$2" -c "$context" --chunks "$chunks" --json --quiet >"$work/fast" &&
        "$quant" eval -m "$1" --base "$model" -f "$2" -c "$context" --chunks "$chunks" --exact --json --quiet >"$work/exact" &&
        echo "$(wc -c <"$1") $(number kl_divergence "$work/fast") $(number kl_divergence_error "$work/fast")" \
            "$(number kl_divergence "$work/exact") $(number kl_divergence_error "$work/exact") $(number perplexity "$work/fast")" >"$3"
}

# row NAME RESULT SECONDS [OURS]: a row; with the result of our file, how far ours is beside it
row() {
    awk -v name="$1" -v seconds="$3" -v ours="${4:-}" '{
        printf "  %-22s %9d  %.6f +/- %.6f  %.6f +/- %.6f  %8.4f %7s", name, $1, $2, $3, $4, $5, $6, seconds
        if (ours != "" && split(ours, o, " ") == 6) printf "   %.3f %.3f", o[2] / $2, o[4] / $4
        printf "\n" }' "$2"
}

# autoround TYPE TEXT: the figures for its file of the type nearest in size: "TYPE KL perplexity bytes"; nothing without
autoround() {
    local wanted=$1
    [ "$(basename "$2")" = books-test.txt ] || return 0
    [ "$wanted" != Q2_K ] || wanted=Q2_K_S
    cmp -s "$model" "$shared/models/tiny/tiny-f16.gguf" && [ -f "$shared/reference/peers.md" ] || return 0
    awk -F'|' -v wanted="$wanted" '
        /^\| *type/ { for (i = 1; i <= NF; ++i) if ($i ~ /AutoRound/) column = i }
        { name = $2; gsub(/ /, "", name) }
        column && name == wanted && split($column, part, " · ") == 3 { print name, part[1] + 0, part[2] + 0, part[3] + 0 }' "$shared/reference/peers.md"
}

# judged_by PROGRAM FILE TEXT: the "KL ± error" that a peer's llama-perplexity finds, against its own record of the original
judged_by() {
    local record
    record=$keep/original-$(cd "$(dirname "$1")" && pwd | cksum | cut -d' ' -f1)-$(basename "$3")
    [ -s "$record" ] || "$1" -m "$model" -f "$3" -c "$context" --chunks "$chunks" --kl-divergence-base "$record" >/dev/null 2>&1
    for _ in 1 2 3; do # its last lines get lost now and then
        "$1" -m "$2" --kl-divergence-base "$record" --kl-divergence 2>/dev/null | sed -n 's/^Mean *KLD: *//p' | grep . && return 0
    done
    echo "not said"
}

# peer_file PEER NAME TYPE: quantized once; the seconds are left beside it
peer_file() {
    local began out=$keep/$2-$3.gguf matrix
    [ ! -s "$out" ] || return 0
    for matrix in "$keep/imatrix.dat" "$keep/imatrix.gguf"; do # some read only one of the two
        began=$(now)
        if "$1/llama-quantize" --imatrix "$matrix" "$model" "$work/peer.gguf" "$3" >"$work/log" 2>&1; then
            since "$began" >"$out.seconds"
            mv "$work/peer.gguf" "$out"
            return 0
        fi
    done
    return 1
}

if [ ! -s "$keep/imatrix.dat" ]; then
    "$quant" calibrate -q --force "$model" "$calibration" -o "$keep/imatrix.gguf" --chunks "$windows"
    "$quant" calibrate -q --force "$model" "$calibration" -o "$keep/imatrix.dat" --chunks "$windows"
fi
echo "ours / it: our calibrated file's KL over that row's, by int8 products and by --exact"
printf '  %-22s %9s  %-21s  %-21s  %8s %7s   %s\n' "" bytes "KL" "KL --exact" ppl seconds "ours / it"
# beside PEER TYPE TEXT OURS: the peer's row
beside() {
    local name text_name=${3##*/} judged
    name=$(basename "$(dirname "$(dirname "$(cd "$1" && pwd)")")")
    judged=$keep/$name-$2-${text_name%.*}.judged
    if ! peer_file "$1" "$name" "$2"; then
        echo "  $name: $(tail -n 1 "$work/log")"
        return 0
    fi
    if [ -s "$judged" ] || judge "$keep/$name-$2.gguf" "$3" "$judged" 2>"$work/log"; then
        row "$name" "$judged" "$(cat "$keep/$name-$2.gguf.seconds")" "$4"
        return 0
    fi
    sed "s/^/  $name: /" "$work/log"
    [ -x "$1/llama-perplexity" ] || return 0
    echo "    its own program judges its file of $(wc -c <"$keep/$name-$2.gguf") bytes: KL $(judged_by "$1/llama-perplexity" "$keep/$name-$2.gguf" "$3"), ours: KL $(judged_by "$1/llama-perplexity" "$work/ours.gguf" "$3")"
}

# on_text TYPE TEXT: the rows of one type and text
on_text() {
    local ours peer
    [ ${#texts[@]} -eq 1 ] || echo "  -- $(basename "$2")"
    judge "$work/ours.gguf" "$2" "$work/ours"
    ours=$(cat "$work/ours")
    row "ours, calibrated" "$work/ours" "$ours_seconds"
    if [ -z "${NO_PLAIN:-}" ]; then
        judge "$work/plain.gguf" "$2" "$work/plain"
        row "ours, importance" "$work/plain" "$plain_seconds" "$ours"
    fi
    for peer in "${peers[@]}"; do beside "$peer" "$1" "$2" "$ours"; done
    autoround "$1" "$2" | while read -r name kl perplexity bytes; do
        awk -v name="AutoRound $name" -v kl="$kl" -v ppl="$perplexity" -v bytes="$bytes" -v ours="$ours" 'BEGIN {
            split(ours, o, " "); printf "  %-22s %9d  %.5f                %-21s  %8.4f %7s   %.3f\n", name, bytes, kl, "", ppl, "", o[2] / kl }'
    done
    [ -z "$judge_peer" ] || echo "    the peer judges our calibrated file: KL $(judged_by "$judge_peer" "$work/ours.gguf" "$2")"
}

peers=("$@")
for type in $types; do
    echo "$type"
    began=$(now)
    # shellcheck disable=SC2086 # several options
    "$quant" quantize --quiet --force "$model" "$work/ours.gguf" "$type" --calibrate "$calibration" --calibrate-chunks "$windows" ${OPTIONS:-}
    ours_seconds=$(since "$began")
    began=$(now)
    [ -n "${NO_PLAIN:-}" ] || "$quant" quantize --quiet --force "$model" "$work/plain.gguf" "$type" --imatrix "$keep/imatrix.gguf"
    plain_seconds=$(since "$began")
    for text in "${texts[@]}"; do on_text "$type" "$text"; done
done
