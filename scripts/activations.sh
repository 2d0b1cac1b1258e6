#!/usr/bin/env bash
# What weights, activations and a cache of few bits cost MODEL: mean KL divergence to it on TEXT, f32 products, for each form as
# the file is, after --transform smoothquant (with CALIBRATION), and rounded times Hadamard matrices.
# usage: scripts/activations.sh MODEL TEXT [CALIBRATION]; CALIBRATION is the text that smoothquant learns from, 32 windows of it.
# WINDOWS (default 16) of 256 tokens are judged; BASE (default MODEL) is what the divergence is measured from.
# Weights: W8 one scale per row (Q8_ROW), W4 Q4_0. Activations: one scale per token. KV4: -ctk q4_0 -ctv q4_0.
set -eu -o pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
model=$1 text=$2 calibration=${3:-} windows=${WINDOWS:-16} base=${BASE:-$1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat "$text" >"$work/text" # read many times, which a pipe is not
[ -z "$calibration" ] || cat "$calibration" >"$work/calibration"
for type in Q8_ROW Q4_0; do "$quant" quantize --quiet "$model" "$work/$type.gguf" $type; done
smooth=
if [ -n "$calibration" ]; then
    for type in Q8_ROW Q4_0; do
        "$quant" quantize --quiet "$model" "$work/$type-smooth.gguf" $type --transform smoothquant --no-gate --keep-mix --rounding search --calibrate "$work/calibration" --calibrate-chunks 32 2>"$work/why" &&
            smooth=yes || echo "smoothquant left out: $(tail -n 1 "$work/why")" >&2
    done
fi
kl() { "$quant" eval -m "$1" --base "$base" -f "$work/text" -c 256 --chunks "$windows" --exact --json --quiet "${@:2}" | sed -n 's/.*"kl_divergence":\([^,]*\).*/\1/p'; }
echo '| form | plain | smoothquant | rotated | rotated / plain |'
echo '|---|---|---|---|---|'
while read -r form type options; do
    # shellcheck disable=SC2086
    plain=$(kl "$work/$type.gguf" $options --no-cache-rotation)
    # shellcheck disable=SC2086
    rotated=$(kl "$work/$type.gguf" $options --rotate-activations)
    # shellcheck disable=SC2086
    smoothed=$([ -z "$smooth" ] || kl "$work/$type-smooth.gguf" $options --no-cache-rotation)
    awk -v f="$form" -v p="$plain" -v s="${smoothed:--}" -v r="$rotated" 'BEGIN { printf "| %s | %.5f | %s | %.5f | %.2f |\n", f, p, s == "-" ? s : sprintf("%.5f", s), r, r / p }'
done <<FORMS
W8A8 Q8_ROW --activations int8
W4A8 Q4_0 --activations int8
W4A4 Q4_0 --activations int4
W4A4KV4 Q4_0 --activations int4 -ctk q4_0 -ctv q4_0
FORMS
