#!/usr/bin/env bash
# Compares the plan of `quant quantize --dry-run` with the one of the ecosystem's own tool: the format of every tensor, for
# every mix, with and without importance matrix, on the bundled model and on models that are nothing but headers (32 layers
# with grouped heads, 80 layers, 8 and 16 experts, joined qkv, rows that no block divides).
# usage: scripts/compare-plan.sh FOLDER-OF-llama-quantize [--write]
#   --write stores what the peer said in tests/golden/plans instead of comparing
# needs python3; QUANT_BUILD: the build folder
set -eu
[ $# -ge 1 ] && [ -x "$1/llama-quantize" ] || { echo "usage: $0 FOLDER-OF-llama-quantize [--write]" >&2; exit 2; }
peer=$(cd "$1" && pwd)/llama-quantize
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PEER=$peer QUANT=${QUANT_BUILD:-build}/quant WORK=$work WRITE=${2:-} python3 - <<'PYTHON'
import glob, json, os, re, struct, subprocess, sys

PEER, QUANT, WORK, WRITE = (os.environ[k] for k in ("PEER", "QUANT", "WORK", "WRITE"))
TINY = "models/tiny/tiny-f16.gguf"
MIXES = ("Q1_0 Q2_0 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q2_K_S Q3_K Q3_K_S Q3_K_M Q3_K_L Q4_K Q4_K_S Q4_K_M Q5_K Q5_K_S Q5_K_M "
         "Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ2_M IQ3_XXS IQ3_XS IQ3_S IQ3_M IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4_MOE F16 BF16 F32").split()
# One letter per format in the stored plans.
LETTERS = {name: chr(ord("a") + i if i < 26 else ord("A") + i - 26) for i, name in enumerate(
    "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS TQ1_0 TQ2_0 MXFP4 Q1_0 Q2_0 IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split())}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def header_only(name, arch, layers, heads, kv, width, ff, vocab=512, experts=0, joined=False, tied=False, extra=()):
    """A GGUF whose tensors are a hole in the file: enough for a plan."""
    keys = [("general.architecture", arch)] + [(arch + "." + key, value) for key, value in (
        ("block_count", layers), ("context_length", 2048), ("embedding_length", width), ("feed_forward_length", ff),
        ("attention.head_count", heads), ("attention.head_count_kv", kv), ("attention.layer_norm_rms_epsilon", 1e-5),
        ("rope.dimension_count", width // heads)) + tuple(extra)]
    if experts:
        keys += [(arch + ".expert_count", experts), (arch + ".expert_used_count", 2)]
    kv_width = width // heads * kv
    tensors = [("token_embd.weight", (width, vocab)), ("output_norm.weight", (width,))]
    tensors += [] if tied else [("output.weight", (width, vocab))]
    for layer in range(layers):
        parts = [("attn_norm", (width,)), ("attn_output", (width, width)), ("ffn_norm", (width,))]
        if joined:
            parts += [("attn_qkv", (width, width + 2 * kv_width)), ("ffn_up", (width, 2 * ff)), ("ffn_down", (ff, width))]
        else:
            parts += [("attn_q", (width, width)), ("attn_k", (width, kv_width)), ("attn_v", (width, kv_width))]
            if experts:
                parts += [("ffn_gate_inp", (width, experts)), ("ffn_gate_exps", (width, ff, experts)),
                          ("ffn_up_exps", (width, ff, experts)), ("ffn_down_exps", (ff, width, experts))]
            else:
                parts += [("ffn_gate", (width, ff)), ("ffn_up", (width, ff)), ("ffn_down", (ff, width))]
        tensors += [(f"blk.{layer}.{part}.weight", dims) for part, dims in parts]
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys:
        raw += text(key)
        raw += (struct.pack("<I", 8) + text(value) if isinstance(value, str) else
                struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value))
    offset = 0
    for tensor, dims in tensors:
        plain = len(dims) == 1
        raw += text(tensor) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        raw += struct.pack("<IQ", 0 if plain else 1, offset)
        size = 4 if plain else 2
        for dim in dims:
            size *= dim
        offset += (size + 31) // 32 * 32
    path = os.path.join(WORK, name + ".gguf")
    with open(path, "wb") as file:
        file.write(raw + b"\0" * (-len(raw) % 32))
        file.truncate(file.tell() + offset)
    return path


def importance():
    """An importance matrix that no tensor's name is found in: it only says that there is one."""
    path = os.path.join(WORK, "imatrix.dat")
    entry = struct.pack("<i", 4) + b"none" + struct.pack("<iii", 1, 1, 0)[:8] + struct.pack("<f", 1.0)
    with open(path, "wb") as file:
        file.write(struct.pack("<i", 1) + entry + struct.pack("<ii", 1, 4) + b"none")
    return path


def peer_plan(model, mix, options):
    run = subprocess.run([PEER, "--dry-run", *options, model, mix], capture_output=True, text=True)
    out = run.stdout + run.stderr
    plan = {}
    for found in re.finditer(r"^\[ *\d+/ *\d+\] (\S+) +- \[([^]]*)\], type = +(\w+), .*?size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?",
                             out, re.M):
        dims = [int(dim) for dim in found[2].split(",")]
        while len(dims) > 1 and dims[-1] == 1:
            dims.pop()
        plan[found[1]] = ("x".join(map(str, dims)), (found[4] or found[3]).upper())
    if run.returncode != 0 or not plan:
        return None
    return plan


def our_plan(model, mix, options):
    run = subprocess.run([QUANT, "quantize", "--json", "--quiet", "--dry-run", *options, model, mix], capture_output=True, text=True)
    if run.returncode != 0:
        return None
    return {t["name"]: ("x".join(map(str, t["shape"])), t["to"].upper()) for t in json.loads(run.stdout)["tensors"]}


MODELS = {
    "tiny": TINY,
    "grouped32": header_only("grouped32", "llama", 32, 32, 8, 2048, 5632),
    "experts8": header_only("experts8", "llama", 32, 32, 8, 1024, 3584, experts=8),
    "odd": header_only("odd", "llama", 12, 6, 6, 288, 752, tied=True),
    "llama80": header_only("llama80", "llama", 80, 64, 8, 2048, 5632),
    "few": header_only("few", "llama", 2, 8, 8, 512, 1024, tied=True),
    "layers17": header_only("layers17", "llama", 17, 16, 4, 1024, 2816),
    "experts16": header_only("experts16", "qwen3moe", 24, 16, 4, 1024, 768, experts=16, extra=(("expert_feed_forward_length", 768),)),
    "joined": header_only("joined", "phi3", 20, 16, 16, 1024, 3072, joined=True,
                          extra=(("rope.freq_base", 10000.0), ("attention.sliding_window", 2048))),
}
# Real headers of other architectures, where the reference data lies beside the project.
for path in sorted(glob.glob(os.path.join(os.environ.get("QUANT_SHARED", "../shared"), "models/arch/*/*.gguf"))):
    name = os.path.basename(path)[:-5]
    if not name.endswith(("q8_0", "mxfp4", "-v2", "-f16", "-bf16")):
        MODELS[name] = path
STORED = ("tiny", "grouped32", "experts8", "odd")

if WRITE == "--write":
    for name in STORED:
        columns, plans = [], []
        for mix in MIXES:
            for given in (False, True):
                plan = peer_plan(MODELS[name], mix, ["--imatrix", importance()] if given else [])
                if plan:
                    columns.append(mix + ("+importance" if given else ""))
                    plans.append(plan)
        with open(f"tests/golden/plans/{name}.tsv", "w") as file:
            file.write("# formats\t" + " ".join(f"{letter}={form}" for form, letter in LETTERS.items()) + "\n")
            file.write("# columns\t" + " ".join(columns) + "\n")
            for tensor, (shape, _) in plans[0].items():
                file.write(f"{tensor}\t{shape}\t{''.join(LETTERS[plan[tensor][1]] for plan in plans)}\n")
        print(f"tests/golden/plans/{name}.tsv: {len(columns)} plans of {len(plans[0])} tensors")
    sys.exit(0)

different = compared = tensors = 0
refused = []
for name, model in MODELS.items():
    for mix in MIXES:
        for given in (False, True):
            options = ["--imatrix", importance()] if given else []
            theirs, ours = peer_plan(model, mix, options), our_plan(model, mix, options)
            compared += 1
            if theirs == ours:
                tensors += len(theirs or {})
                refused += [] if theirs else [f"{name} {mix}{'+importance' if given else ''}"]
                continue
            different += 1
            wrong = [t for t in (theirs or {}) if not ours or ours.get(t) != theirs[t]]
            first = f": {wrong[0]} {theirs[wrong[0]]} {ours[wrong[0]]}" if theirs and ours and wrong else ""
            print(f"{name} {mix}{' with importance' if given else ''}: "
                  f"{'peer refuses' if not theirs else 'we refuse' if not ours else f'{len(wrong)} tensors differ'}{first}")
print(f"{compared} plans compared, {different} differ; {tensors} tensors equal; {len(refused)} refused by both: {', '.join(refused)}")
sys.exit(1 if different else 0)
PYTHON
