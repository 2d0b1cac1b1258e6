#!/usr/bin/env bash
# What `make try` shows once the program is built: the bundled model quantized to 4 bits, judged, and writing text.
# usage: scripts/try.sh (QUANT_BUILD: the build folder, default build)
set -eu
cd "$(dirname "$0")/.."
build=${QUANT_BUILD:-build}
quant=$build/quant
model=models/tiny/tiny-f16.gguf
small=$build/tiny-q4.gguf
text=models/tiny/sample.txt

title() { printf '\n== %s\n\n' "$*"; }
shown() { # prints the command as one would type it, then runs it
    local word line='$'
    for word in "$@"; do
        case $word in *' '*) line="$line \"$word\"" ;; *) line="$line $word" ;; esac
    done
    printf '%s\n' "$line"
    "$@"
}
size() { wc -c <"$1" | tr -d ' '; }
perplexity() { # from the --json of eval
    "$quant" eval -m "$1" -f "$text" -c 512 --json --quiet | sed -n 's/.*"perplexity": *\([0-9.]*\).*/\1/p' | head -n 1
}

title "1. Quantize the bundled model from 16 to about 4 bits a weight"
shown "$quant" quantize --dry-run "$model" "$small" q4
echo
shown "$quant" quantize --force "$model" "$small" q4

title "2. Is it still the same model? Perplexity on $text (lower is better)"
before=$(perplexity "$model")
after=$(perplexity "$small")
awk -v a="$before" -v b="$after" -v x="$(size "$model")" -v y="$(size "$small")" 'BEGIN {
    if (a <= 0 || b <= 0) exit 1
    printf "  f16  %9d bytes   perplexity %8.4f\n", x, a
    printf "  q4   %9d bytes   perplexity %8.4f\n", y, b
    printf "       %8.1f %%                  %8.4f times that of f16\n", 100 * y / x, b / a
}'

title "3. Let the 4-bit model write 100 tokens (it is tiny: it writes sentences, not sense)"
shown "$quant" run -m "$small" -p "Once upon a time" -n 100 --seed 7
printf '\n\nNext: make test; %s --help; README.md\n' "$quant"
