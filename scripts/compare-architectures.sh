#!/usr/bin/env bash
# Does a stock llama.cpp run our GGUF of every architecture as we do? Converts each reference folder, lets the peer's
# llama-perplexity and our `eval --exact` judge the same text, and compares: within 0.5 %. The same for a model with
# an adapter beside it, and with the adapter merged.
# usage: scripts/compare-architectures.sh PEER-FOLDER [NAME...] (QUANT_BUILD: the build folder; QUANT_SHARED: the reference data)
# Not compared: bitnet-b1.58, where the peer quantizes activations and the original of these models does not.
# gpt-oss, within 1 %: the peer rounds the ends of YaRN's ramp to whole dimensions, the original and quant do not
# (with the ramp rounded, quant's perplexities of the two folders are 0.2 % and 0.00 % from the peer's).
set -eu
[ $# -ge 1 ] && [ -x "$1/llama-perplexity" ] || { echo "usage: $0 FOLDER-OF-llama-perplexity [NAME...]" >&2; exit 2; }
peer=$(cd "$1" && pwd)/llama-perplexity
shift
cd "$(dirname "$0")/.."
quant=${QUANT_BUILD:-build}/quant
shared=${QUANT_SHARED:-../shared}
text=$shared/text/books-test.txt
[ -f "$text" ] || { echo "needs the reference data folder (QUANT_SHARED)" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 20000 "$text" >"$work/text"

names=${*:-$(for each in "$shared"/models/arch/*; do basename "$each"; done)}
status=0
printf '%-22s %12s %12s %9s\n' model peer ours ratio
compare() { # NAME OPTION...: both programs take the options
    local name=$1 ours theirs=''
    shift
    ours=$("$quant" eval "$@" -f "$work/text" -c 128 --chunks 16 --exact -ctk f32 -ctv f32 --json --quiet |
        sed -n 's/.*"perplexity": *\([0-9.e+]*\).*/\1/p' | head -n 1)
    for _ in 1 2 3 4 5; do # the peer ends with success and at times without its last line
        "$peer" "$@" -f "$work/text" -c 128 -b 128 --chunks 16 -ctk f32 -ctv f32 -fa off >"$work/log" 2>&1 || break
        theirs=$(sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p' "$work/log")
        [ -z "$theirs" ] || break
    done
    if [ -z "$theirs" ]; then
        printf '%-22s refused by the peer: %s\n' "$name" "$(grep -iE 'error|fail' "$work/log" | head -n 1)"
        status=1
        return
    fi
    local bound=0.005
    case $name in gpt-oss*) bound=0.01 ;; esac
    awk -v name="$name" -v a="$theirs" -v b="$ours" -v bound=$bound 'BEGIN {
        wrong = b == "" || b / a > 1 + bound || b / a < 1 - bound
        printf "%-22s %12.4f %12.4f %9.5f%s\n", name, a, b, b / a, wrong ? "  DIFFERS" : ""
        exit wrong
    }' || status=1
}
for name in $names; do
    case $name in bitnet*) continue ;; esac
    "$quant" convert "$shared/models/arch/$name/hf" "$work/model.gguf" --quiet --force
    compare "$name" -m "$work/model.gguf"
    [ "$name" = llama ] || continue
    "$quant" convert "$shared/models/lora/peft" "$work/lora.gguf" --base "$work/model.gguf" --quiet
    compare "$name + adapter" -m "$work/model.gguf" --lora "$work/lora.gguf"
    "$quant" merge "$work/model.gguf" "$work/lora.gguf" "$work/merged.gguf" --quiet
    compare "$name + adapter merged" -m "$work/merged.gguf"
done
exit $status
