"""Our speed beside that of peers, in one run: prompt, generation, long context, own types, load to first token, memory,
quantize, tokenizers.

A peer is a folder with its own llama-bench and, where it has them, llama-quantize and llama-completion (or llama-cli). One that
can repack weights when it loads (ik_llama.cpp) is measured with and without; ours reads the model into memory first (--no-mmap).
Flash attention is on, key and value types are the same for all. Everybody takes a turn in each round; figures are medians over the rounds, with the shares of what the machine
could do at best. A peer that is much slower here than it was found to be on a like processor makes the result worthless: then
the exit status is 1.
"""
import argparse, json, os, platform, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

SHARED = Path(os.environ.get("QUANT_SHARED", "../shared"))
QUANT = Path(os.environ.get("QUANT_BUILD", "build")) / "quant"
FORMATS = "f16 Q8_0 Q6_K Q5_K_M Q4_K_M Q3_K_M Q2_K Q4_0 IQ4_NL TQ2_0".split()
ROWS = os.environ.get("QUANT_BENCH_ROWS", "speed,own,load,quantize,tokenizer").split(",")
QUANTIZED = "Q8_0 Q4_0 TQ2_0 Q4_K_M Q6_K IQ4_NL Q2_K".split()
# name: vocabulary, embedding, layers, heads, kv heads, feed-forward, rope base
SHAPES = {
    "llama1b": ("vocab/gguf/ggml-vocab-llama-bpe.gguf", 2048, 16, 32, 8, 8192, 500000),
    "llama110m": ("vocab/gguf/ggml-vocab-llama-spm.gguf", 768, 12, 12, 12, 2048, 10000),
}
# What formats are called in the file of known shares; the type that a peer which repacks has instead of ours.
KNOWN_FORMATS = {"f16": "f16", "Q8_0": "q80", "Q6_K": "q6k", "Q4_K_M": "q4km", "Q4_0": "q40", "IQ4_NL": "iq4nl", "TQ2_0": "tq20"}
INSTEAD = {"TQ2_0": "IQ2_BN"}
# Types that only we have, each with the stock type of the same bits.
OWN = {"NF4": "IQ4_NL", "A4_G32": "Q4_0", "PAL4": "IQ4_XS", "Q8_ROW": "Q8_0"}
VOCABULARIES = "llama-bpe gpt-2 llama-spm".split()
TEXTS = "books-valid.txt tinyshakespeare.txt wiki.test.raw".split()


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


class Timed:
    """A run of a program: seconds, seconds of processor time, peak resident MB; RuntimeError when it fails."""

    def __init__(self, command):
        started = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds, self.cpu, self.resident = time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {process.returncode}")


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

    def speeds(self, model, tests, depth, threads, kv):
        """Tokens per second of each (kind, tokens) of `tests`, all with `depth` tokens in the cache before."""
        command = [self.bench, "-m", model, "-t", threads, "-r", 1, "-fa", self.flash, "-ctk", kv, "-ctv", kv, "-o", "json"]
        if self.can_repack:
            command += ["-rtr", int(self.repacks)]
        by_depth = "--n-depth" in self.help
        if depth and not by_depth:
            tests = [test for test in tests if test[0] == "tg"]
            command += ["-p", 0, "-n", 0] + [part for _, tokens in tests for part in ("-gp", f"{depth},{tokens}")]
        else:
            command += test_options(tests) + (["-d", depth] if depth else [])
        if not tests:
            return {}
        found = json.loads(output_of(command))
        if depth and not by_depth:
            return {test: float(row["avg_ts"]) for test, row in zip(tests, found)}
        return {("tg", row["n_gen"]) if row["n_gen"] else ("pp", row["n_prompt"]): float(row["avg_ts"]) for row in found}

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

    def speeds(self, model, tests, depth, threads, kv):
        """The same; and what the machine could do at best, as far as it is known."""
        command = [QUANT, "bench", "-m", model, "-t", threads, "-r", 1, "--no-mmap", "-ctk", kv, "-ctv", kv, "--json", "--quiet", "-d", depth] + test_options(tests)
        found = {("tg", row["generated"]) if row["generated"] else ("pp", row["prompt"]): row for row in json.loads(output_of(command))}
        return {test: row["median"] for test, row in found.items()}, {test: row.get("limit", 0) for test, row in found.items()}


def test_options(tests):
    listed = lambda kind: ",".join(str(tokens) for each, tokens in tests if each == kind) or "0"
    return ["-p", listed("pp"), "-n", listed("tg")]


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
        source = make_model(folder, shape, "f16", maker)
        if form in OWN or not maker:
            output_of([QUANT, "quantize", "--quiet", "--force", source, part, form])
        else:
            output_of([maker, source, part, form, os.cpu_count()])
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
    """One process of each contestant measures all tests of a model, number of threads and depth: they share its loading."""
    groups = {}
    for kind, tokens, depth in args.tests:
        groups.setdefault(depth, []).append((kind, tokens))
    wanted = [(shape, form, threads, depth) for shape in args.shapes for threads in args.threads for depth in groups for form in args.formats]
    for number, (shape, form, threads, depth) in enumerate(wanted, 1):
        tests = groups[depth]
        named = " ".join(kind + str(tokens) for kind, tokens in tests) + (f" @ {depth}" if depth else "")
        say(f"[{number}/{len(wanted)}] {shape} {form} {named}, {threads} threads")
        samples, limits = measure(args, everybody, shape, form, tests, depth, threads)
        for kind, tokens in tests:
            rows.append({"shape": shape, "format": form, "test": kind, "tokens": tokens, "depth": depth, "threads": threads, "unit": "tokens/s",
                         "limit": limits.get((kind, tokens), 0), "samples": samples[kind, tokens]})
            show_row(rows[-1])


def measure(args, everybody, shape, form, tests, depth, threads):
    """Everybody in turn, in each round: {test: {name: speeds}}, {test: limit}."""
    samples, limits = {test: {} for test in tests}, {}
    for _ in range(args.rounds):
        for who in everybody:
            try:
                model = make_model(args.models, shape, form, args.maker)
                if form in INSTEAD and getattr(who, "can_repack", False) and who.program("llama-quantize"):
                    model = make_model(args.models, shape, INSTEAD[form], who.program("llama-quantize"))
                if isinstance(who, Ours):
                    found, best = who.speeds(model, tests, depth, threads, args.kv)
                    for test, limit in best.items():
                        limits[test] = max(limit, limits.get(test, 0))
                else:
                    found = who.speeds(model, tests, depth, threads, args.kv)
                for test, speed in found.items():
                    samples[test].setdefault(who.name, []).append(speed)
            except (RuntimeError, ValueError, KeyError) as error:
                say(f"  {who.name}: {error}")
    return samples, limits


def own_rows(args, rows):
    """Generation in types of our own, beside ours in the stock type with as many bits."""
    for own, stock in OWN.items():
        if own not in args.own:
            continue
        for threads in args.threads:
            say(f"{own} beside {stock}, {threads} threads")
            test, speeds, limit = ("tg", 64), {}, 0
            for _ in range(args.rounds):
                for name, form in (("quant", own), (stock, stock)):
                    found, best = Ours().speeds(make_model(args.models, args.shapes[0], form, args.maker), [test], 0, threads, args.kv)
                    speeds.setdefault(name, []).append(found[test])
                    limit = max(limit, best[test]) if name == "quant" else limit
            rows.append({"shape": args.shapes[0], "format": own, "test": "tg", "tokens": 64, "depth": 0, "threads": threads, "unit": "tokens/s",
                         "limit": limit, "samples": speeds})
            show_row(rows[-1])


def quantize_rows(args, everybody, rows):
    for shape in args.shapes:
        source = make_model(args.models, shape, "f16", args.maker)
        size = source.stat().st_size / 1e6
        for form in args.quantize:
            say(f"quantize {shape} f16 -> {form}")
            row = timed_row(shape, form, "quantize", args.threads[-1], "MB/s")
            for _ in range(args.rounds):
                for who in everybody:
                    target = Path(args.fast) / f"quant-bench-{os.getpid()}.gguf"
                    if isinstance(who, Ours):
                        command = [QUANT, "quantize", "--force", "--quiet", "--pure", "-t", args.threads[-1], source, target, form]
                    elif who.repacks or not who.program("llama-quantize"):
                        continue
                    else:
                        command = [who.program("llama-quantize"), "--pure", source, target, form, args.threads[-1]]
                    add_run(row, who.name, command, lambda run: size / run.seconds)
                    target.unlink(missing_ok=True)
            rows.append(row)
            show_row(row)


def timed_row(shape, form, test, threads, unit):
    return {"shape": shape, "format": form, "test": test, "tokens": 0, "depth": 0, "threads": threads, "unit": unit, "limit": 0,
            "samples": {}, "resident_mb": {}, "cpu_seconds": {}}


def add_run(row, name, command, speed):
    """Runs a program and adds speed(run) to its samples; one that fails is reported and counts nothing."""
    try:
        run = Timed(command)
    except (RuntimeError, OSError) as error:
        return say(f"  {name}: {error}")
    row["samples"].setdefault(name, []).append(speed(run))
    row["resident_mb"][name] = max(run.resident, row["resident_mb"].get(name, 0))
    row["cpu_seconds"].setdefault(name, []).append(run.cpu)


def load_rows(args, everybody, rows):
    """From the start of the program to the end of one generated token; with it the peak of resident memory."""
    for shape in args.shapes:
        for form in args.formats:
            model = make_model(args.models, shape, form, args.maker)
            say(f"load to first token, {shape} {form}")
            row = timed_row(shape, form, "load", args.threads[-1], "1/s")
            for _ in range(args.rounds):
                for who in everybody:
                    if isinstance(who, Ours):
                        command = [QUANT, "run", "-m", model, "-p", "a", "-n", 1, "-t", args.threads[-1], "-c", 512, "--quiet"]
                    elif not who.program("llama-completion", "llama-cli"):
                        continue
                    else:
                        command = [who.program("llama-completion", "llama-cli"), "-m", model, "-p", "a", "-n", 1, "-t", args.threads[-1], "-c", 512,
                                   "-fa", who.flash] + (["-rtr"] if who.repacks else [] if who.can_repack else ["-no-cnv", "--no-warmup"])
                    add_run(row, who.name, command, lambda run: 1 / run.seconds)
            rows.append(row)
            show_row(row)


def tokenizer_rows(args, everybody, rows):
    """MB of text per second of processor time on one core, with the loading of the vocabulary taken off."""
    with tempfile.TemporaryDirectory() as folder:
        text, empty = Path(folder) / "text", Path(folder) / "empty"
        parts = b"".join((SHARED / "text" / name).read_bytes() for name in TEXTS if (SHARED / "text" / name).exists())
        if not parts:
            return say(f"no texts in {SHARED / 'text'}: no tokenizer rows")
        text.write_bytes(parts * (12_000_000 // len(parts) + 1))
        empty.write_bytes(b"a")
        size = text.stat().st_size / 1e6
        for vocabulary in VOCABULARIES:
            model = SHARED / f"vocab/gguf/ggml-vocab-{vocabulary}.gguf"
            say(f"tokenizer {vocabulary}, {size:.0f} MB")
            row = timed_row("-", vocabulary, "tokenize", 1, "MB/s")
            for _ in range(args.rounds):
                for who in everybody:
                    if isinstance(who, Ours):
                        command = [QUANT, "tokenize", "-m", model, "-f"]
                    elif who.repacks or not who.program("llama-tokenize"):
                        continue
                    else:
                        command = [who.program("llama-tokenize"), "--ids", "--log-disable", "-m", model, "-f"]
                    loading = Timed([*command, empty]).cpu
                    add_run(row, who.name, [*command, text], lambda run: size / max(run.cpu - loading, 1e-3))
            rows.append(row)
            show_row(row)


def show_row(row):
    """Adds medians, shares and the ratio to the best peer; one line of text."""
    row["median"] = {name: statistics.median(values) for name, values in row["samples"].items()}
    peers = {name: value for name, value in row["median"].items() if name != "quant"}
    best = max(peers.values(), default=0)
    row["ratio"] = row["median"].get("quant", 0) / best if best else None
    row["share"] = {name: value / row["limit"] for name, value in row["median"].items()} if row["limit"] else {}
    test = row["test"] + (str(row["tokens"]) if row["test"] in ("pp", "tg") else "") + (f" @ {row['depth']}" if row["depth"] else "")
    line = f"{row['shape']:<10} {row['format']:<9} {test:<14} {row['threads']:>2}T "
    for name, value in row["median"].items():
        low, high = min(row["samples"][name]), max(row["samples"][name])
        share = f" {100 * row['share'][name]:.0f}%" if row["share"] else ""
        more = f" {row['resident_mb'][name]:.0f}MB {statistics.median(row['cpu_seconds'][name]):.2f}s CPU" if row.get("resident_mb") else ""
        line += f"  {name} {value:.4g} ({low:.4g}-{high:.4g}){share}{more}"
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
                                     epilog="example: scripts/bench-peers.sh ~/llama.cpp ~/ik_llama.cpp --formats Q4_0 --tests pp128,tg32 --threads 1 --rounds 2 --rows speed")
    listed = lambda text: [part for part in text.split(",") if part]
    parser.add_argument("peers", nargs="+", metavar="PEERDIR", help="folder with llama-bench, or with build/bin/llama-bench")
    parser.add_argument("--formats", type=listed, default=FORMATS, help=f"default {','.join(FORMATS)}")
    parser.add_argument("--shapes", type=listed, default=list(SHAPES), help=f"default {','.join(SHAPES)}")
    parser.add_argument("--threads", type=lambda text: [int(part) for part in listed(text)], default=[1, 2])
    parser.add_argument("--tests", type=listed, default=["pp512", "tg64", "pp4096", "pp8192", "tg32@4096", "tg32@8192"],
                        help="pp512 a prompt, tg64 generation, tg32@4096 generation after 4096 tokens")
    parser.add_argument("--kv", default="f16", help="type of keys and values (default f16)")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("QUANT_BENCH_ROUNDS", 5)), help="default 5, or $QUANT_BENCH_ROUNDS")
    parser.add_argument("--rows", type=listed, default=ROWS, help=f"kinds of rows, default {','.join(ROWS)}, or $QUANT_BENCH_ROWS")
    parser.add_argument("--own", type=listed, default=list(OWN), help=f"types of our own, default {','.join(OWN)}")
    parser.add_argument("--quantize", type=listed, default=QUANTIZED, help="types for the quantize rows")
    parser.add_argument("--models", type=Path, default=Path(tempfile.gettempdir()) / "quant-bench-models", help="where synthetic models lie or are made")
    parser.add_argument("--fast", default="/dev/shm", help="folder in memory for the output of quantize")
    parser.add_argument("--json", type=Path, help="also write everything measured to this file")
    args = parser.parse_args()
    tests = [re.fullmatch(r"(pp|tg)(\d+)(?:@(\d+))?", test) for test in args.tests]
    if not set(args.rows) <= {"speed", "own", "load", "quantize", "tokenizer"}:
        parser.error("--rows are of speed,own,load,quantize,tokenizer")
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
    kinds = {"speed": lambda: speed_rows(args, everybody, rows), "own": lambda: own_rows(args, rows),
             "load": lambda: load_rows(args, everybody, rows), "quantize": lambda: quantize_rows(args, everybody, rows),
             "tokenizer": lambda: tokenizer_rows(args, everybody, rows)}
    try:
        for kind in args.rows:
            try:
                kinds[kind]()
            except (RuntimeError, OSError) as error:
                say(f"{kind}: {error}")
    except KeyboardInterrupt:
        say("stopped: what was measured is kept")
    wrong = refused(rows, known_shares(flags))
    if args.json:
        args.json.write_text(json.dumps({"about": about, "rows": rows, "refused": wrong}, indent=1) + "\n")
    if wrong:
        sys.exit("refused, a peer is slower than it was found to be on such a processor:\n  " + "\n  ".join(wrong))


if __name__ == "__main__":
    main()
