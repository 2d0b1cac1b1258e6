"""Our speed beside that of peers, in one run: prompt, generation, long context, load to first token, memory, quantize.

A peer is a folder with its own llama-bench and, where it has them, llama-quantize and llama-completion (or llama-cli). One that
can repack weights when it loads (ik_llama.cpp) is measured with and without. Flash attention is on, key and value types are the
same for all. Everybody takes a turn in each round; figures are medians over the rounds, with the shares of what the machine
could do at best. A peer that is much slower here than it was found to be on a like processor makes the result worthless: then
the exit status is 1.
"""
import argparse, json, os, platform, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

SHARED = Path(os.environ.get("QUANT_SHARED", "../shared"))
QUANT = Path(os.environ.get("QUANT_BUILD", "build")) / "quant"
FORMATS = "f16 Q8_0 Q6_K Q5_K_M Q4_K_M Q3_K_M Q2_K Q4_0 IQ4_NL TQ2_0".split()
QUANTIZED = "Q8_0 Q4_0 TQ2_0 Q4_K_M Q6_K IQ4_NL Q2_K".split()
# name: vocabulary, embedding, layers, heads, kv heads, feed-forward, rope base
SHAPES = {
    "llama1b": ("vocab/gguf/ggml-vocab-llama-bpe.gguf", 2048, 16, 32, 8, 8192, 500000),
    "llama110m": ("vocab/gguf/ggml-vocab-llama-spm.gguf", 768, 12, 12, 12, 2048, 10000),
}
# What formats are called in the file of known shares; the type that a peer which repacks has instead of ours.
KNOWN_FORMATS = {"f16": "f16", "Q8_0": "q80", "Q6_K": "q6k", "Q4_K_M": "q4km", "Q4_0": "q40", "IQ4_NL": "iq4nl", "TQ2_0": "tq20"}
INSTEAD = {"TQ2_0": "IQ2_BN"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def timed(command):
    """Seconds, peak resident MB, whether it ended well."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    return time.monotonic() - started, usage.ru_maxrss / 1024, status == 0


class Peer:
    def __init__(self, folder, name, repacks=False):
        self.folder, self.name, self.repacks = folder, name, repacks
        self.bench = folder / "llama-bench"
        shown = subprocess.run([str(self.bench), "--help"], capture_output=True, text=True)
        self.help = shown.stdout + shown.stderr
        self.can_repack = "--run-time-repack" in self.help
        self.flash = "on" if "<on|off" in self.help else "1"

    def program(self, *names):
        return next((self.folder / name for name in names if os.access(self.folder / name, os.X_OK)), None)

    def speed(self, model, kind, tokens, depth, threads, kv):
        command = [self.bench, "-m", model, "-t", threads, "-r", 1, "-fa", self.flash, "-ctk", kv, "-ctv", kv, "-o", "json"]
        if self.can_repack:
            command += ["-rtr", int(self.repacks)]
        by_depth = "--n-depth" in self.help
        if depth and kind == "tg" and not by_depth:
            command += ["-p", 0, "-n", 0, "-gp", f"{depth},{tokens}"]
        else:
            command += ["-p", tokens if kind == "pp" else 0, "-n", tokens if kind == "tg" else 0] + (["-d", depth] if depth else [])
        return float(json.loads(output_of(command))[-1]["avg_ts"])

    def about(self):
        flags = []
        for cache in (self.folder.parent / "CMakeCache.txt", self.folder / "CMakeCache.txt"):
            if cache.exists():
                flags = re.findall(r"^(?:CMAKE_BUILD_TYPE|CMAKE_CXX_FLAGS|CMAKE_CXX_COMPILER|GGML_NATIVE|GGML_LLAMAFILE|GGML_BLAS):\w+=.+$", cache.read_text(), re.M)
        version = subprocess.run([str(self.bench), "--version"], capture_output=True, text=True)
        lines = [line for line in (version.stdout + version.stderr).splitlines() if re.match(r"(version|built with|build)", line)]
        return "; ".join(lines + flags) or "no build information"


class Ours:
    name = "quant"

    def measured(self, model, kind, tokens, depth, threads, kv):
        command = [QUANT, "bench", "-m", model, "-t", threads, "-r", 1, "-ctk", kv, "-ctv", kv, "--json", "--quiet",
                   "-p", tokens if kind == "pp" else 0, "-n", tokens if kind == "tg" else 0, "-d", depth]
        return json.loads(output_of(command))[0]


def peers_in(folders):
    found = []
    for folder in folders:
        folder = Path(folder).resolve()
        folder = next((place for place in (folder, folder / "build/bin", folder / "bin") if (place / "llama-bench").exists()), None)
        if folder is None:
            sys.exit(f"{folders}: no llama-bench in one of them")
        peer = Peer(folder, "")
        base = "ik" if peer.can_repack else "llama.cpp"
        base += str(sum(other.name.startswith(base) for other in found) or "")
        peer.name = base
        found.append(peer)
        if peer.can_repack:
            found.append(Peer(folder, base + "+rtr", True))
    return found


def make_model(folder, shape, form, maker):
    """The synthetic model of a shape in a format, made when it is not there yet; `maker` quantizes."""
    wanted = folder / f"{shape}-{form}.gguf"
    if wanted.exists():
        return wanted
    say(f"making {wanted}")
    part = wanted.with_suffix(".part")
    if form == "f16":
        vocabulary, *sizes = SHAPES[shape]
        output_of([sys.executable, SHARED / "tools/make_synthetic.py", part, SHARED / vocabulary, *sizes])
    else:
        output_of([maker, make_model(folder, shape, "f16", maker), part, form, os.cpu_count()])
    part.rename(wanted)
    return wanted


def known_shares(flags):
    """{(shape, kind, tokens, threads, format): {peer: share}} from the file of known speeds, or nothing when the processor differs."""
    path = SHARED / "reference/peers-speed.md"
    if not path.exists() or "avx512_vnni" not in flags or "amx_int8" in flags:
        return {}
    shares, key = {}, None
    for line in path.read_text().splitlines():
        title = re.match(r"### (\w+) (pp|tg)(\d+), (\d+) thread", line)
        if title:
            key = (title[1], title[2], int(title[3]), int(title[4]))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "format":
            columns = cells
        elif key and len(cells) > 3 and cells[0] in KNOWN_FORMATS.values():
            found = {name: re.search(r"\[(\d+)%\]", cell) for name, cell in zip(columns, cells)}
            shares[(*key, cells[0])] = {name: int(match[1]) / 100 for name, match in found.items() if match}
    return shares


def speed_rows(args, everybody, rows):
    wanted = [(shape, form, kind, tokens, depth, threads)
              for shape in args.shapes for threads in args.threads for kind, tokens, depth in args.tests for form in args.formats]
    for number, (shape, form, kind, tokens, depth, threads) in enumerate(wanted, 1):
        say(f"[{number}/{len(wanted)}] {shape} {form} {kind}{tokens}{f' @ {depth}' if depth else ''}, {threads} threads")
        speeds, limit = {}, []
        for _ in range(args.rounds):
            for who in everybody:
                model = make_model(args.models, shape, form, args.maker)
                if form in INSTEAD and getattr(who, "can_repack", False):
                    model = make_model(args.models, shape, INSTEAD[form], who.program("llama-quantize"))
                try:
                    if isinstance(who, Ours):
                        result = who.measured(model, kind, tokens, depth, threads, args.kv)
                        speed = result["median"]
                        limit.append(result.get("limit", 0))
                    else:
                        speed = who.speed(model, kind, tokens, depth, threads, args.kv)
                    speeds.setdefault(who.name, []).append(speed)
                except (RuntimeError, ValueError, IndexError) as error:
                    say(f"  {who.name}: {error}")
        rows.append({"shape": shape, "format": form, "test": kind, "tokens": tokens, "depth": depth, "threads": threads, "unit": "tokens/s",
                     "limit": max(limit, default=0), "samples": speeds})
        show_row(rows[-1])


def quantize_rows(args, everybody, rows):
    for shape in args.shapes:
        source = make_model(args.models, shape, "f16", args.maker)
        size = source.stat().st_size / 1e6
        for form in args.quantize:
            say(f"quantize {shape} f16 -> {form}")
            speeds, memory = {}, {}
            for _ in range(args.rounds):
                for who in everybody:
                    target = Path(args.fast) / f"quant-bench-{os.getpid()}.gguf"
                    threads = args.threads[-1]
                    if isinstance(who, Ours):
                        command = [QUANT, "quantize", "--force", "--quiet", "--pure", "-t", threads, source, target, form]
                    elif who.repacks or not who.program("llama-quantize"):
                        continue
                    else:
                        command = [who.program("llama-quantize"), "--pure", source, target, form, threads]
                    seconds, resident, well = timed(command)
                    target.unlink(missing_ok=True)
                    if well:
                        speeds.setdefault(who.name, []).append(size / seconds)
                        memory.setdefault(who.name, []).append(resident)
            rows.append({"shape": shape, "format": form, "test": "quantize", "tokens": 0, "depth": 0, "threads": args.threads[-1], "unit": "MB/s",
                         "limit": 0, "samples": speeds, "resident_mb": {name: max(values) for name, values in memory.items()}})
            show_row(rows[-1])


def load_rows(args, everybody, rows):
    """From the start of the program to the end of one generated token; with it the peak of resident memory."""
    for shape in args.shapes:
        for form in args.formats:
            model = make_model(args.models, shape, form, args.maker)
            say(f"load to first token, {shape} {form}")
            speeds, memory = {}, {}
            for _ in range(args.rounds):
                for who in everybody:
                    threads = args.threads[-1]
                    if isinstance(who, Ours):
                        command = [QUANT, "run", "-m", model, "-p", "a", "-n", 1, "-t", threads, "-c", 512, "--quiet"]
                    elif not who.program("llama-completion", "llama-cli"):
                        continue
                    else:
                        command = [who.program("llama-completion", "llama-cli"), "-m", model, "-p", "a", "-n", 1, "-t", threads, "-c", 512,
                                   "-fa", who.flash] + (["-rtr"] if who.repacks else [] if who.can_repack else ["-no-cnv", "--no-warmup"])
                    seconds, resident, well = timed(command)
                    if well:
                        speeds.setdefault(who.name, []).append(1 / seconds)
                        memory.setdefault(who.name, []).append(resident)
            rows.append({"shape": shape, "format": form, "test": "load", "tokens": 1, "depth": 0, "threads": args.threads[-1], "unit": "1/s",
                         "limit": 0, "samples": speeds, "resident_mb": {name: max(values) for name, values in memory.items()}})
            show_row(rows[-1])


def show_row(row):
    """Adds medians, shares and the ratio to the best peer; one line of text."""
    row["median"] = {name: statistics.median(values) for name, values in row["samples"].items()}
    peers = {name: value for name, value in row["median"].items() if name != "quant"}
    best = max(peers.values(), default=0)
    row["ratio"] = row["median"].get("quant", 0) / best if best else None
    row["share"] = {name: value / row["limit"] for name, value in row["median"].items()} if row["limit"] else {}
    test = row["test"] + (str(row["tokens"]) if row["test"] in ("pp", "tg") else "") + (f" @ {row['depth']}" if row["depth"] else "")
    line = f"{row['shape']:<10} {row['format']:<8} {test:<14} {row['threads']:>2}T "
    for name, value in row["median"].items():
        low, high = min(row["samples"][name]), max(row["samples"][name])
        share = f" {100 * row['share'][name]:.0f}%" if row["share"] else ""
        resident = f" {row['resident_mb'][name]:.0f}MB" if row.get("resident_mb") else ""
        line += f"  {name} {value:.4g} ({low:.4g}-{high:.4g}){share}{resident}"
    print(line + (f"   ratio {row['ratio']:.2f}" if row["ratio"] else ""), flush=True)


def refused(rows, shares):
    wrong = []
    for row in rows:
        known = shares.get((row["shape"], row["test"], row["tokens"], row["threads"], KNOWN_FORMATS.get(row["format"])), {})
        for name, column in (("llama.cpp", "lc26"), ("ik", "ik"), ("ik+rtr", "ikr")):
            if not row["depth"] and column in known and row["share"].get(name, 1) < 0.9 * known[column]:
                wrong.append(f"{row['format']} {row['test']}{row['tokens']}: {name} reaches {100 * row['share'][name]:.0f} %, known {100 * known[column]:.0f} %")
    return wrong


def processor():
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", info)
    flags = re.search(r"flags\s*: (.*)", info)
    return name[1] if name else platform.processor(), set(flags[1].split()) if flags else set()


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench-peers.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="example: scripts/bench-peers.sh ~/llama.cpp ~/ik_llama.cpp --formats Q4_0 --tests pp128,tg32 --threads 1 --rounds 2 --no-quantize --no-load")
    listed = lambda text: [part for part in text.split(",") if part]
    parser.add_argument("peers", nargs="+", metavar="PEERDIR", help="folder with llama-bench, or with build/bin/llama-bench")
    parser.add_argument("--formats", type=listed, default=FORMATS, help=f"default {','.join(FORMATS)}")
    parser.add_argument("--shapes", type=listed, default=list(SHAPES), help=f"default {','.join(SHAPES)}")
    parser.add_argument("--threads", type=lambda text: [int(part) for part in listed(text)], default=[1, 2])
    parser.add_argument("--tests", type=listed, default=["pp512", "tg64", "pp4096", "pp8192", "tg32@4096", "tg32@8192"],
                        help="pp512 a prompt, tg64 generation, tg32@4096 generation after 4096 tokens")
    parser.add_argument("--kv", default="f16", help="type of keys and values (default f16)")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--quantize", type=listed, default=QUANTIZED, help="types for the quantize rows")
    parser.add_argument("--no-quantize", action="store_true")
    parser.add_argument("--no-load", action="store_true")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "quant-bench-models", help="where synthetic models lie or are made")
    parser.add_argument("--fast", default="/dev/shm", help="folder in memory for the output of quantize")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    args = parser.parse_args()
    tests = [re.fullmatch(r"(pp|tg)(\d+)(?:@(\d+))?", test) for test in args.tests]
    if not all(tests) or not set(args.shapes) <= set(SHAPES):
        parser.error("--tests like pp512,tg64@4096; --shapes " + ",".join(SHAPES))
    args.tests = [(test[1], int(test[2]), int(test[3] or 0)) for test in tests]
    return args


def external_limits():
    """What the tool beside the known speeds measures, where it compiles: it needs AVX-512."""
    source = SHARED / "tools/roofline.cpp"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "roofline"
        if not source.exists() or subprocess.run(["g++", "-O3", "-march=native", "-pthread", source, "-o", program], capture_output=True).returncode:
            return None
        return output_of([program, "all", 3])


def main():
    args = options()
    if not QUANT.exists():
        sys.exit(f"{QUANT}: not built")
    args.models.mkdir(parents=True, exist_ok=True)
    peers = peers_in(args.peers)
    args.maker = next((program for program in (peer.program("llama-quantize") for peer in peers) if program), None)
    everybody = [Ours(), *peers]
    name, flags = processor()
    about = {"processor": name, "instruction_sets": sorted(flags & {"avx2", "f16c", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"}),
             "cores": os.cpu_count(), "load": os.getloadavg(), "ours": output_of([QUANT, "--version"]).strip(), "kv": args.kv, "rounds": args.rounds,
             "peers": {peer.name: f"{peer.folder}: {peer.about()}" for peer in peers}, "roofline": external_limits()}
    print("\n".join(f"{key}: {json.dumps(value)}" for key, value in about.items() if value), flush=True)
    if about["load"][0] > 0.5:
        print(f"CAUTION: a load of {about['load'][0]:.1f} before the start: other work runs here", flush=True)
    rows = []
    speed_rows(args, everybody, rows)
    if not args.no_load:
        load_rows(args, everybody, rows)
    if not args.no_quantize:
        quantize_rows(args, everybody, rows)
    wrong = refused(rows, known_shares(flags))
    if args.json:
        args.json.write_text(json.dumps({"about": about, "rows": rows, "refused": wrong}, indent=1) + "\n")
    if wrong:
        sys.exit("refused, a peer is slower than it was found to be on such a processor:\n  " + "\n  ".join(wrong))


if __name__ == "__main__":
    main()
