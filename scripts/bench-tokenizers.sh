#!/usr/bin/env bash
# Speed of `quant tokenize` on one core: MB of text per second of processor time, with the loading of the vocabulary taken off,
# for each vocabulary of the reference folder, on books and on lines of 1 MB without a cut.
# usage: scripts/bench-tokenizers.sh [TEXT]     (TEXT: default the reference folder's books-valid.txt, 20 times)
set -eu
cd "$(dirname "$0")/.."
quant=$(realpath "${QUANT_BUILD:-build}")/quant
shared=${QUANT_SHARED:-../shared}
[ -d "$shared/vocab/gguf" ] || { echo "bench-tokenizers: needs the reference folder (QUANT_SHARED)" >&2; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
text=${1:-$work/books}
[ $# -gt 0 ] || for _ in $(seq 20); do cat "$shared/text/books-valid.txt"; done >"$text"
line() { yes "$1" | tr -d '\n' | head -c 1000000 >"$work/$2"; }
line a letter
line ' ' spaces
line 1 digits
line '我想在苹果' han
line 'aб我1.é😀 ' mixed
seconds() { { TIMEFORMAT=%U; time "$quant" tokenize -m "$1" -f "$2" >"$work/ids"; } 2>&1; }
printf '%-16s %8s' '' books
printf ' %8s' letter spaces digits han mixed
echo
: >"$work/empty"
for model in "$shared"/vocab/gguf/*.gguf; do
    name=$(basename "$model" .gguf)
    printf '%-16s' "${name#ggml-vocab-}"
    load=$(seconds "$model" "$work/empty")
    for file in "$text" "$work"/{letter,spaces,digits,han,mixed}; do
        awk -v all="$(seconds "$model" "$file")" -v load="$load" -v bytes="$(wc -c <"$file")" \
            'BEGIN { s = all - load; printf " %8.1f", bytes / (s > 0.001 ? s : 0.001) / 1e6 }'
    done
    echo
done
