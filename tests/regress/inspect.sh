#!/usr/bin/env bash
# `quant inspect` and `quant formats` from the outside.
# shellcheck source=tests/cases.sh
. "$(dirname "$0")/../cases.sh"
tiny=models/tiny/tiny-f16.gguf

prints() { # WORDS COMMAND...: a line of standard output matches
    local words=$1
    shift
    "$@" >"$work/text" || return 1
    grep -qE -- "$words" "$work/text" || { head -n 3 "$work/text"; return 1; }
}
check shows_metadata prints '^llama.context_length +u32 +1024$' "$quant" inspect $tiny
check shows_tensors prints '^blk.2.ffn_up.weight +F16 +\[256, 768\] +16 +393216$' "$quant" inspect $tiny
check shows_roles prints '^blk.\*.ffn_down.weight +4 +786432 +16.000 +1572864 ' "$quant" inspect $tiny
check shows_totals prints '^total: 38 tensors, 4196608 weights' "$quant" inspect $tiny
check shortens_arrays prints '^tokenizer.ggml.tokens +string\[4096\] .*, \.\.\.\]$' "$quant" inspect $tiny
counts() { # LINES COMMAND...
    local lines=$1
    shift
    [ "$("$@" | wc -l)" = "$lines" ] || { "$@" | wc -l; return 1; }
}
check filters_keys counts 5 "$quant" inspect $tiny --keys 'llama.attention.*_count*'
check filters_tensors counts 4 bash -c "'$quant' inspect $tiny --tensors attn_k | grep '^blk.[0-9]'"
check names_a_key_that_is_not_there prints "^no key matches 'nothere'" "$quant" inspect $tiny --keys nothere
check names_a_tensor_that_is_not_there prints "^no tensor matches 'nothere'" "$quant" inspect $tiny --tensors nothere
check histogram_counts_every_value prints '196608 values' "$quant" inspect $tiny --hist blk.0.ffn_down.weight

as_json() {
    command -v python3 >/dev/null || return 0
    "$quant" inspect $tiny --json --full >"$work/all" && "$quant" inspect $tiny --json >"$work/short" &&
        "$quant" inspect $tiny --hist token_embd.weight --json >"$work/hist" && "$quant" formats --json >"$work/formats" || return 1
    python3 - "$work" <<'PY'
import json, sys
load = lambda name: json.load(open(sys.argv[1] + "/" + name))
whole, short, hist, formats = load("all"), load("short"), load("hist"), load("formats")
assert len(whole["metadata"]["tokenizer.ggml.tokens"]["value"]) == 4096
assert len(short["metadata"]["tokenizer.ggml.tokens"]["first"]) < 10
assert whole["total"]["tensors"] == len(whole["tensors"]) == 38
assert sum(t["bytes"] for t in whole["tensors"]) == whole["total"]["bytes"] == sum(t["bytes"] for t in whole["by_role"].values())
assert sum(hist["bins"]) + hist["below"] + hist["above"] == hist["count"] == 4096 * 256
assert {f["name"]: f["id"] for f in formats}["Q4_K"] == 12
PY
}
check json_is_valid_and_adds_up as_json

agrees() { # with the ecosystem's own reader, tensor by tensor; mean and deviation with numpy
    python3 - "$quant" $tiny <<'PY'
import json, subprocess, sys
import gguf, numpy
ours = json.loads(subprocess.check_output([sys.argv[1], "inspect", sys.argv[2], "--json", "--full"]))
theirs = gguf.GGUFReader(sys.argv[2])
assert [t["name"] for t in ours["tensors"]] == [t.name for t in theirs.tensors]
for mine, other in zip(ours["tensors"], theirs.tensors):
    assert mine["shape"] == [int(n) for n in other.shape] and mine["type"] == other.tensor_type.name and mine["bytes"] == other.n_bytes
for key, mine in ours["metadata"].items():
    value = theirs.fields[key].contents()
    if isinstance(value, float): value = float(numpy.float32(value)); mine["value"] = float(numpy.float32(mine["value"]))
    if isinstance(value, list) and value and isinstance(value[0], float):
        assert numpy.array_equal(numpy.float32(value), numpy.float32(mine["value"])), key
    else:
        assert value == mine["value"], key
values = next(t for t in theirs.tensors if t.name == "blk.1.ffn_up.weight").data.astype(numpy.float64)
hist = json.loads(subprocess.check_output([sys.argv[1], "inspect", sys.argv[2], "--hist", "blk.1.ffn_up.weight", "--json"]))
deviation = values.std()
kurtosis = ((values - values.mean()) ** 4).mean() / deviation ** 4 - 3
for name, expected in (("mean", values.mean()), ("deviation", deviation), ("excess_kurtosis", kurtosis), ("min", values.min()), ("max", values.max())):
    assert abs(hist[name] - expected) <= 1e-9 * max(1, abs(expected)), (name, hist[name], expected)
assert hist["bins"] == numpy.histogram(values, len(hist["bins"]), (hist["low"], hist["high"]))[0].tolist()
PY
}
if python3 -c 'import gguf, numpy' 2>/dev/null; then
    check agrees_with_the_ecosystem agrees
else
    echo "SKIP agrees_with_the_ecosystem: needs the Python packages gguf and numpy"
fi

if [ -d "$shared/models/arch" ]; then
    split=$shared/models/arch/qwen3/split/qwen3-split-00001-of-00003.gguf
    check split_files_are_one prints ', 3 files$' "$quant" inspect "$split"
    check version_2 prints 'GGUF version 2' "$quant" inspect "$shared/models/arch/qwen2/qwen2-v2.gguf"
    unknown() { # a file whose architecture nobody knows is shown all the same
        LC_ALL=C sed 's/qwen3moe/zwen3moe/g' "$shared/models/arch/qwen3moe/qwen3moe.gguf" >"$work/unknown.gguf"
        prints '^general.architecture +string +zwen3moe' "$quant" inspect "$work/unknown.gguf"
    }
    check unknown_architecture unknown
else
    echo "SKIP other_files: needs the reference data folder (QUANT_SHARED)"
fi
check formats_names_kernels prints "^Q4_K +12 +stock +4.5 +256 +144 +read, write +6\.98 +8\.32 +gemv_(q4_k|any)_q8_[a-z0-9]+ " "$quant" formats
check forced_instruction_set prints 'in use: scalar' env QUANT_ISA=scalar "$quant" formats
