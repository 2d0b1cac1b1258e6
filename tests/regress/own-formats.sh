#!/usr/bin/env bash
# Every format of this program's own through quantize, inspect, eval, run, bench and back to f16.
set -u
cd "$(dirname "$0")/../.."
quant=$(realpath "${QUANT_BUILD:-build}")/quant
tiny=$(realpath models/tiny/tiny-f16.gguf)
sample=$(realpath models/tiny/sample.txt)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tail -c 3000 "$sample" >text.txt
result() { if [ -z "$2" ]; then echo "ok $1"; else echo "FAIL $1: $2"; fi; }
number() { sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2" | head -n 1; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; }
divergence() { "$quant" eval -m "$1" --base "$tiny" -f text.txt -c 128 --chunks 3 --json --quiet >eval.json 2>err.txt && number kl_divergence eval.json; }

formats=$("$quant" formats --json | tr '{' '\n' | grep '"stock": *false' | grep '"encodes": *true' | sed 's/.*"name": *"\([^"]*\)".*"bits_per_weight": *\([0-9.]*\).*/\1 \2/')
# All of them with QUANT_FULL_TESTS=1, otherwise one of each kind.
[ "${QUANT_FULL_TESTS:-}" = 1 ] || formats=$(grep -E '^(NF4|PAL4|A4_G64Z|Q8_ROW|Q8_ROW_O|FP8_E4M3_ROW|L4) ' <<<"$formats")
[ -n "$formats" ] || echo "FAIL own_formats: none in the list"
# Divergences that no format of so many bits exceeds: from the table of scripts/formats-table.sh, with room.
while read -r format bits; do
    why=
    "$quant" quantize --pure --force "$tiny" model.gguf "$format" >out.txt 2>err.txt || why="quantize: $(tail -n 1 err.txt)"
    [ "$(grep -c 'only quant can run this file' err.txt)" = 1 ] || why="$why; no word that others refuse it"
    kl=$(divergence model.gguf)
    limit=$(awk -v b="$bits" 'BEGIN { print b < 2.1 ? 12 : b <= 3 ? 2 : b < 4 ? 0.4 : b < 6 ? 0.1 : 0.01 }')
    at_most "$kl" "$limit" || why="$why; divergence '$kl', at most $limit expected"
    # The same weights as plain numbers give the same model, up to int8 activations and the rounding of f16.
    "$quant" quantize --pure --force --quiet model.gguf back.gguf f16 2>err.txt || why="$why; back: $(tail -n 1 err.txt)"
    back=$(divergence back.gguf)
    at_most "$(awk -v a="$kl" -v b="$back" 'BEGIN { d = a - b; print d < 0 ? -d : d }')" "$(awk -v a="$kl" 'BEGIN { print 0.06 * a + 0.002 }')" ||
        why="$why; as f16 its divergence is $back instead of $kl"
    "$quant" inspect model.gguf 2>err.txt | grep -q "$format" || why="$why; inspect does not name it"
    result "own_format_$format" "$why"
done <<<"$formats"

# What is slow or does not hang on the format: once for each kind.
for format in NF4_DQ PAL2_V4 A5_ROWZ; do
    why=
    "$quant" quantize --force --quiet "$tiny" model.gguf f16 --tensor-type "attn_[qkv]=$format" 2>err.txt || why="quantize"
    [ -n "$("$quant" run -m model.gguf -p "Once upon a time" -n 8 --temp 0 2>err.txt)" ] || why="$why; run: $(tail -n 1 err.txt)"
    "$quant" bench -m model.gguf -p 8 -n 4 -r 1 >out.txt 2>err.txt || why="$why; bench: $(tail -n 1 err.txt)"
    "$quant" inspect --hist blk.0.attn_q.weight model.gguf >out.txt 2>err.txt || why="$why; histogram: $(tail -n 1 err.txt)"
    "$quant" quantize --force --quiet model.gguf copy.gguf copy 2>err.txt || why="$why; copy: $(tail -n 1 err.txt)"
    "$quant" quantize --pure --force --quiet --allow-requantize model.gguf other.gguf q8_0 2>err.txt || why="$why; to q8_0: $(tail -n 1 err.txt)"
    at_most "$(divergence copy.gguf)" 0.5 || why="$why; the copy does not run"
    result "own_format_${format}_in_commands" "$why"
done

# Tables per group of rows cost their bytes and nothing else.
why=
"$quant" quantize --force --quiet --palette-group 32 "$tiny" groups.gguf f16 --tensor-type attn_v=PAL4 2>err.txt || why="quantize: $(tail -n 1 err.txt)"
"$quant" quantize --force --quiet "$tiny" model.gguf f16 --tensor-type attn_v=PAL4
[ "$(wc -c <groups.gguf)" -gt "$(wc -c <model.gguf)" ] || why="$why; groups have no tables of their own"
at_most "$(divergence groups.gguf)" "$(awk -v a="$(divergence model.gguf)" 'BEGIN { print 1.2 * a }')" || why="$why; worse than a table per matrix"
"$quant" quantize --palette-group 0 "$tiny" x.gguf PAL4 >out.txt 2>err.txt && why="$why; takes groups of 0 rows"
result palette_groups "$why"
