#!/usr/bin/env bash
# Quantizes the bundled model to each type of the table of peers and compares mean KL divergence to the f16 model and file
# size with the peers' figures without importance matrix: ours must be at most 1.02 times theirs, and no larger.
# usage: scripts/compare-kl.sh [TYPE...] (QUANT_BUILD: the build folder; QUANT_SHARED: the folder of reference data)
#        scripts/compare-kl.sh --imatrix PEERDIR [TYPE...]
# With --imatrix, both sides get the shared importance matrix, PEERDIR/llama-quantize writes its file anew, both are judged
# here on CHUNKS windows (default 64), and ours must be at most as far and no larger; without TYPE the mixes below 4 bits
# that need code books.
# Prints a table; ends with an error when a row fails against llama.cpp (column llamacpp).
set -eu
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
shared=${QUANT_SHARED:-../shared}
peers=$shared/reference/peers.md
text=$shared/text/books-test.txt
model=models/tiny/tiny-f16.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -f "$peers" ] && [ -f "$text" ] || { echo "needs the reference data folder (QUANT_SHARED)" >&2; exit 1; }

# TYPE KL BYTES KL BYTES (llama.cpp, ik_llama.cpp; - where a peer has none) of the types that quant knows
rows() {
    awk -F'|' '
        function cell(text,  parts) { gsub(/^ +| +$/, "", text); if (split(text, parts, " · ") != 3) return "- -"; return parts[1] " " parts[3] }
        /^\| *[A-Z][A-Z0-9_]* *\|/ { name = $2; gsub(/ /, "", name); if (cell($3) != "- -") print name, cell($3), cell($5) }' "$peers"
}
number() { sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2" | head -n 1; }

# KL and perplexity of a file
judge() {
    "$quant" eval -m "$1" --base "$model" -f "$text" -c 512 --chunks "${CHUNKS:-64}" --json --quiet >"$work/eval.json"
    echo "$(number kl_divergence "$work/eval.json") $(number perplexity "$work/eval.json")"
}
if [ "${1:-}" = --imatrix ]; then
    peer=$2/llama-quantize imatrix=$shared/reference/imatrix/tiny.gguf status=0
    shift 2
    [ $# -gt 0 ] || set -- IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M
    printf '%-8s %10s %9s %10s | %10s %9s %7s %7s\n' type KL ppl bytes llamacpp ppl ratio bytes
    for type; do
        "$peer" --imatrix "$imatrix" "$model" "$work/peer.gguf" "$type" 1 >"$work/log" 2>&1 || { tail -1 "$work/log"; exit 1; }
        "$quant" quantize --quiet --force --imatrix "$imatrix" "$model" "$work/model.gguf" "$type"
        read -r kl ppl < <(judge "$work/model.gguf")
        read -r peer_kl peer_ppl < <(judge "$work/peer.gguf")
        awk -v type="$type" -v kl="$kl" -v ppl="$ppl" -v peer_kl="$peer_kl" -v peer_ppl="$peer_ppl" \
            -v size="$(wc -c <"$work/model.gguf")" -v bytes="$(wc -c <"$work/peer.gguf")" 'BEGIN {
            if (kl == "" || peer_kl == "") { print type ": no KL divergence"; exit 1 }
            worse = kl > peer_kl; larger = size > bytes
            printf "%-8s %10.5f %9.4f %10d | %10.5f %9.4f %7.3f %+7d%s%s\n", type, kl, ppl, size, peer_kl, peer_ppl, kl / peer_kl,
                size - bytes, worse ? "  KL TOO HIGH" : "", larger ? "  TOO LARGE" : ""
            exit worse || larger
        }' || status=1
    done
    exit $status
fi

printf '%-8s %10s %8s %10s | %10s %7s %9s | %10s %7s %9s\n' type KL ppl bytes llamacpp ratio bytes ik ratio bytes
status=0
while read -r type kl bytes ik_kl ik_bytes; do
    if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qix -- "$type"; then continue; fi
    "$quant" quantize --quiet --force "$model" "$work/model.gguf" "$type"
    "$quant" eval -m "$work/model.gguf" --base "$model" -f "$text" -c 512 --chunks 64 --json --quiet >"$work/eval.json"
    size=$(wc -c <"$work/model.gguf" | tr -d ' ')
    awk -v type="$type" -v ours="$(number kl_divergence "$work/eval.json")" -v ppl="$(number perplexity "$work/eval.json")" \
        -v size="$size" -v kl="$kl" -v bytes="$bytes" -v ik_kl="$ik_kl" -v ik_bytes="$ik_bytes" 'BEGIN {
        if (ours == "") { print type ": no KL divergence"; exit 1 }
        worse = ours > 1.02 * kl; larger = size > bytes
        ik = ik_kl == "-" ? sprintf("%10s %7s %9s", "-", "-", "-") : sprintf("%10.5f %7.3f %+9d", ik_kl, ours / ik_kl, size - ik_bytes)
        printf "%-8s %10.5f %8.4f %10d | %10.5f %7.3f %+9d | %s%s%s\n", type, ours, ppl, size, kl, ours / kl, size - bytes, ik,
            worse ? "  KL TOO HIGH" : "", larger ? "  TOO LARGE" : ""
        exit worse || larger
    }' || status=1
done < <(rows)
exit $status
