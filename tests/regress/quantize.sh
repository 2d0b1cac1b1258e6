#!/usr/bin/env bash
# The command quantize: the same bytes whatever runs it, copies and ways back without loss, options, refusals, interruption.
set -u
cd "$(dirname "$0")/../.."
quant=$(realpath "${QUANT_BUILD:-build}")/quant
tiny=$(realpath models/tiny/tiny-f16.gguf)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

quantize() { "$quant" quantize --quiet "$@"; }
result() { if [ -z "$2" ]; then echo "ok $1"; else echo "FAIL $1: $2"; fi; }
# refused NAME CODE WORD ARGUMENT...: fails with CODE, says WORD in one line, leaves no file.
refused() {
    local name=$1 code=$2 word=$3 got why=
    shift 3
    local before
    before=$(ls -A)
    "$quant" quantize "$@" >out.txt 2>err.txt
    got=$?
    [ "$got" -eq "$code" ] || why="exit code $got, expected $code"
    grep -qF -- "$word" err.txt || why="$why; does not say '$word': $(head -c 200 err.txt)"
    [ "$(wc -l <err.txt)" -eq 1 ] || why="$why; not one line"
    rm -f out.txt err.txt
    [ "$(ls -A)" = "$before" ] || why="$why; left files"
    result "$name" "$why"
}

# Same bytes for 1, 2, 3 threads and without vector code, in every format that needs no importance: a small
# matrix each, the rest kept.
formats=$("$quant" formats --json | tr '{' '\n' | grep '"encodes": *true' | grep '"needs_importance": *false' | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p')
why=
set -- $formats
while [ $# -gt 0 ]; do
    batch=() names=
    for place in 0.attn_q 0.attn_v 1.attn_q 1.attn_v 2.attn_q 2.attn_v 3.attn_q 3.attn_v; do
        [ $# -gt 0 ] || break
        batch+=(--tensor-type "blk\.${place/./\\.}\.=$1") names="$names $1"
        shift
    done
    quantize --force "$tiny" one.gguf f16 1 "${batch[@]}" || why="$why$names: failed"
    for threads in 2 3; do
        quantize --force "$tiny" other.gguf f16 $threads "${batch[@]}"
        cmp -s one.gguf other.gguf || why="$why$names: $threads threads"
    done
    QUANT_ISA=scalar quantize --force "$tiny" other.gguf f16 "${batch[@]}"
    cmp -s one.gguf other.gguf || why="$why$names: scalar"
done
[ -n "$formats" ] || why="no formats"
result same_bytes_for_any_threads_and_instructions "$why"

# The same importance matrix and recipe, whatever the processor: mixes of super-blocks and of code books.
why=
head -c 4000 "$(dirname "$tiny")/sample.txt" >seen.txt
"$quant" calibrate -q "$tiny" seen.txt -c 64 --chunks 4 -o matrix.gguf || why="no matrix"
for type in q3_k_m iq2_xs; do
    layers=(--imatrix matrix.gguf --tensor-type 'blk\.[123]|token_embd=f16')
    quantize --force "$tiny" one.gguf $type "${layers[@]}" 2>>err.txt && QUANT_ISA=scalar quantize --force "$tiny" other.gguf $type "${layers[@]}" 2>>err.txt &&
        cmp one.gguf other.gguf || why="$why; $type differs"
done
result same_bytes_from_the_same_importance "$why"

why=
quantize --force "$tiny" one.gguf q4_k_m 1 && quantize --force "$tiny" other.gguf q4_k_m 2 && cmp one.gguf other.gguf || why="differ"
result same_bytes_of_a_mix "$why"

# Nothing is lost on the way to wider numbers and back, and by copies.
why=
quantize "$tiny" copy.gguf COPY && cmp copy.gguf "$tiny" || why="copy differs"
quantize "$tiny" wide.gguf f32 && quantize wide.gguf back.gguf f16 && cmp back.gguf "$tiny" || why="$why; f16 -> f32 -> f16 differs"
quantize --force "$tiny" small.gguf q8_0 && quantize --force small.gguf back32.gguf f32 &&
    quantize --force small.gguf back16.gguf f16 && quantize --force back32.gguf back16b.gguf f16 && cmp back16.gguf back16b.gguf ||
    why="$why; q8_0 -> f16 differs from q8_0 -> f32 -> f16"
result copies_and_ways_back "$why"

# Two and three values per weight: the bundled model is warned about with its perplexities, what comes of it is lossless.
why=
for type in ternary binary; do
    "$quant" quantize --force "$tiny" few.gguf $type >said.txt 2>err.txt || why="$why; $type failed"
    grep -Eq 'warning: 28 of 28 matrices hold more than (two|three) values.* expect a perplexity like [0-9.]+ on .* source has 60\.' err.txt || why="$why; $type: no warning"
    ! grep -q lossless: said.txt || why="$why; $type: said to be lossless"
    quantize --force few.gguf plain.gguf f16 && "$quant" quantize --force plain.gguf again.gguf $type >said.txt 2>err.txt || why="$why; $type again failed"
    grep -q '^lossless: all 28 matrices' said.txt && [ ! -s err.txt ] || why="$why; $type again: not lossless: $(cat err.txt)"
    quantize --force again.gguf back.gguf f16 && cmp back.gguf plain.gguf || why="$why; $type: said to be lossless, and is not"
done
result few_values_are_lossless_or_warned_about "$why"
rm -f said.txt err.txt

# The derived name stands beside the input, the type replaced.
cp "$tiny" model-f16.gguf
why=
quantize model-f16.gguf q8 && [ -f model-Q8_0.gguf ] || why="no model-Q8_0.gguf"
quantize model-f16.gguf q6_k 2 && [ -f model-Q6_K.gguf ] || why="$why; no model-Q6_K.gguf"
result derived_names "$why"

# The dry run writes nothing and tells the exact size.
why=
for type in q4_k_m q8_0 f32; do
    planned=$("$quant" quantize --json --dry-run "$tiny" dry.gguf $type | sed -n 's/.*"output_bytes": *\([0-9]*\).*/\1/p')
    [ ! -e dry.gguf ] || why="$why; wrote a file"
    written=$("$quant" quantize --json --force "$tiny" wet.gguf $type | sed -n 's/.*"output_bytes": *\([0-9]*\).*/\1/p')
    [ "$planned" = "$written" ] && [ "$written" = "$(stat -c %s wet.gguf 2>/dev/null || stat -f %z wet.gguf)" ] ||
        why="$why; $type: planned $planned, written $written"
done
result dry_run_tells_the_exact_size "$why"

# Split: by size, kept, and joined again.
why=
quantize "$tiny" split.gguf COPY --split-max-size 3M && [ -f split-00001-of-00003.gguf ] || why="not three files: $(ls split*)"
quantize split-00001-of-00003.gguf joined.gguf COPY && cmp joined.gguf "$tiny" || why="$why; joined differs"
quantize split-00001-of-00003.gguf kept.gguf q4_0 --keep-split && [ -f kept-00003-of-00003.gguf ] || why="$why; split not kept"
quantize --force "$tiny" whole.gguf q4_0 && quantize kept-00001-of-00003.gguf kept-joined.gguf COPY &&
    cmp kept-joined.gguf whole.gguf || why="$why; kept split differs from whole"
result split_kept_and_joined "$why"

# Patterns from a file, the last one wins; the report says so.
printf 'attn_v=q8_0\nblk\\.1\\.attn_v=f16 token_embd=q5_k\n' >patterns.txt
plan=$("$quant" quantize --dry-run "$tiny" x.gguf q4_k_s --tensor-type-file patterns.txt)
why=
for row in 'blk.0.attn_v.weight.*Q8_0 .*attn_v=q8_0' 'blk.1.attn_v.weight.*F16 ' 'token_embd.weight.*Q5_K ' '(file type 14)'; do
    grep -q -- "$row" <<<"$plan" || why="$why; no line '$row'"
done
result patterns_from_a_file "$why"

: >empty.gguf
head -c 100000 "$tiny" >short.gguf
printf 'not an importance matrix' >wrong.dat
ln -s model-f16.gguf soft.gguf
ln model-f16.gguf hard.gguf
number=0
for name in model-f16.gguf ./model-f16.gguf soft.gguf hard.gguf "$work/model-f16.gguf"; do
    number=$((number + 1))
    refused "output_is_input_$number" 2 "the output is the input" --force model-f16.gguf "$name" q4_0
done
refused existing_output 2 "--force" model-f16.gguf copy.gguf q4_0
refused output_is_a_folder 2 "directory" model-f16.gguf . q4_0
refused no_folder_for_output 3 "No such file" model-f16.gguf nowhere/x.gguf q4_0
refused missing_input 3 "missing.gguf" missing.gguf x.gguf q4_0
refused empty_input 1 "empty.gguf" empty.gguf x.gguf q4_0
refused truncated_input 1 "short.gguf" short.gguf x.gguf q4_0
refused unknown_type 2 "unknown type 'q9'" model-f16.gguf x.gguf q9
refused unknown_option 2 "did you mean --pure" model-f16.gguf x.gguf q4 --pur
refused wrong_threads 2 "THREADS" model-f16.gguf x.gguf q4 0
refused wrong_pattern 2 "--tensor-type" model-f16.gguf x.gguf q4 --tensor-type '[=q4_0'
refused wrong_pattern_type 2 "q99" model-f16.gguf x.gguf q4 --tensor-type 'a=q99'
refused wrong_override 2 "--override-kv" model-f16.gguf x.gguf q4 --override-kv a=b
refused missing_pattern_file 3 "none.txt" model-f16.gguf x.gguf q4 --tensor-type-file none.txt
refused wrong_importance 1 "wrong.dat" model-f16.gguf x.gguf q4 --imatrix wrong.dat
refused importance_needed 2 "--imatrix" model-f16.gguf x.gguf q2_k_s
refused quantized_twice 2 "--allow-requantize" small.gguf x.gguf q4_0
refused include_and_exclude 2 "together" model-f16.gguf x.gguf q4 --include-weights a --exclude-weights b
refused empty_output 2 "OUT is empty" model-f16.gguf "" q4
refused device 2 "not a regular file" model-f16.gguf /dev/null q4_0

# An interruption leaves nothing and says so by its code. A shell's background jobs ignore SIGINT unless env resets it.
mkdir interrupted
interrupt() {
    local signal=$1 expected=$2 why="never caught it at work" code pid
    shift 2
    for _ in 1 2 3 4 5 6 7 8; do
        "$@" "$quant" quantize --quiet "$tiny" interrupted/x.gguf q4_1 1 &
        pid=$!
        for _ in $(seq 2000); do [ -z "$(ls -A interrupted)" ] || break; done
        kill -"$signal" "$pid" 2>/dev/null
        wait "$pid"
        code=$?
        if [ "$code" -eq "$expected" ]; then
            why=
            [ -z "$(ls -A interrupted)" ] || why="left $(ls -A interrupted)"
            break
        fi
        rm -f interrupted/x.gguf
    done
    result "interruption_leaves_nothing_$signal" "$why"
}
interrupt TERM 143
if env --default-signal=INT true 2>/dev/null; then interrupt INT 130 env --default-signal=INT; fi

shared=${QUANT_SHARED:-$OLDPWD/../shared}
if [ -d "$shared/models/tiny/hf" ]; then
    why=
    "$quant" convert --quiet "$shared/models/tiny/hf" from-hf.gguf || why="convert failed"
    quantize from-hf.gguf two-steps.gguf q4 && quantize "$shared/models/tiny/hf" one-step.gguf q4 && cmp two-steps.gguf one-step.gguf ||
        why="$why; a file in between changes the result"
    quantize "$shared/models/arch/gpt-oss-mxfp4/hf" experts.gguf mxfp4_moe || why="$why; MXFP4 experts failed"
    result folders_in_one_step "$why"
    why=
    for folder in "$shared"/models/quantized/*/hf; do
        quantize --force "$folder" packed.gguf q8_0 && "$quant" run -m packed.gguf -p 'Once upon a time' -n 4 --temp 0 >said.txt 2>err.txt &&
            grep -q 'generated 4 tokens' err.txt || why="$why; $folder: $(head -c 200 err.txt)"
        "$quant" convert --quiet --force "$folder" packed.gguf || why="$why; $folder: convert failed"
    done
    result packed_checkpoints_run "$why"
else
    echo "SKIP folders_in_one_step: needs the reference data folder (QUANT_SHARED)"
    echo "SKIP packed_checkpoints_run: needs the reference data folder (QUANT_SHARED)"
fi
importance=$shared/reference/imatrix/tiny
if [ -d "$shared/models/arch/bitnet" ]; then
    why=
    for folder in bitnet bitnet-packed; do
        "$quant" quantize --force "$shared/models/arch/$folder/hf" few.gguf ternary >said.txt 2>err.txt || why="$why; $folder failed"
        grep -q '^lossless: all 21 matrices hold three values' said.txt && [ ! -s err.txt ] || why="$why; $folder: $(tail -n 1 said.txt) $(cat err.txt)"
        quantize --force few.gguf back.gguf f32 && quantize --force "$shared/models/arch/$folder/hf" plain.gguf f32 || why="$why; $folder: no f32"
        for file in back plain; do
            "$quant" eval -m $file.gguf --tokens 1,2,3,4,5 --logits $file.f32 --force --quiet >out.txt 2>&1 || why="$why; $folder: no logits"
        done
        cmp back.f32 plain.f32 || why="$why; $folder: other logits"
    done
    result ternary_models_are_lossless "$why"
else
    echo "SKIP ternary_models_are_lossless: needs the reference data folder (QUANT_SHARED)"
fi
if [ -f "$importance.gguf" ]; then
    why=
    quantize --force "$tiny" one.gguf q2_k_s --imatrix "$importance.gguf" || why="failed"
    quantize --force "$tiny" other.gguf q2_k_s --imatrix "$importance.dat" || why="$why; .dat failed"
    quantize --force "$tiny" plain.gguf q4_0 --imatrix "$importance.gguf" --exclude-weights ffn || why="$why; exclude failed"
    error=$("$quant" quantize --json --force "$tiny" x.gguf q4_0 --imatrix "$importance.gguf" | sed -n 's/.*"weighted_error": *\([0-9.e-]*\).*/\1/p')
    [ -n "$error" ] || why="$why; no weighted error"
    result importance_in_both_forms "$why"
else
    echo "SKIP importance_in_both_forms: needs the reference data folder (QUANT_SHARED)"
fi
