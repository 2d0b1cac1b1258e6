#!/usr/bin/env bash
# Does a stock llama.cpp read what we write? Quantizes the bundled model to every stock type and mix, loads each in the
# peer's llama-perplexity and compares its perplexity with our `eval --exact`: within 0.5 %.
# usage: scripts/check-peer.sh PEER-FOLDER [TYPE...] (the folder holds llama-perplexity; QUANT_BUILD: the build folder)
set -eu
[ $# -ge 1 ] && [ -x "$1/llama-perplexity" ] || { echo "usage: $0 FOLDER-OF-llama-perplexity [TYPE...]" >&2; exit 2; }
peer=$(cd "$1" && pwd)/llama-perplexity
shift
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
model=models/tiny/tiny-f16.gguf
text=models/tiny/sample.txt
chunks=6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

types() {
    "$quant" formats --json | tr '{' '\n' | grep '"stock": *true' | grep '"encodes": *true' | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p'
    echo q2_k_s q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m q2 q3 q4 q5 q6 q8 ternary | tr ' ' '\n'
}
status=0 count=0
printf '%-10s %12s %12s %9s\n' type peer ours ratio
for type in ${*:-$(types)}; do
    count=$((count + 1))
    "$quant" quantize --quiet --force "$model" "$work/model.gguf" "$type"
    ours=$("$quant" eval -m "$work/model.gguf" -f "$text" -c 512 --chunks $chunks --exact --json --quiet |
        sed -n 's/.*"perplexity": *\([0-9.e+]*\).*/\1/p' | head -n 1)
    theirs=
    for _ in 1 2 3 4 5; do # the peer ends with success and at times without its last line
        "$peer" -m "$work/model.gguf" -f "$text" -c 512 --chunks $chunks >"$work/log" 2>&1 || break
        theirs=$(sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' "$work/log")
        [ -z "$theirs" ] || break
    done
    if [ -z "$theirs" ]; then
        printf '%-10s refused by the peer: %s\n' "$type" "$(grep -iE 'error|fail' "$work/log" | head -n 1)"
        status=1
        continue
    fi
    awk -v type="$type" -v a="$theirs" -v b="$ours" 'BEGIN {
        wrong = b == "" || b / a > 1.005 || b / a < 0.995
        printf "%-10s %12.4f %12.4f %9.5f%s\n", type, a, b, b / a, wrong ? "  DIFFERS" : ""
        exit wrong
    }' || status=1
done
[ "$count" -gt 0 ] || { echo "no types" >&2; exit 1; }
exit $status
