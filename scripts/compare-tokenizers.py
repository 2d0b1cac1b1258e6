#!/usr/bin/env python3
"""Compares `quant tokenize` with the Python packages `tokenizers` and `sentencepiece`, line by line.

usage: scripts/compare-tokenizers.py [--lines N] [--quant PATH] [NAME...]

Texts: the reference folder's books and articles (every N-th line of each), and seeded random mixtures of scripts, digits,
spaces and punctuation. Vocabularies: those of the reference folder, and each small model's tokenizer.json. Prints one line
per vocabulary (`ok`, `FAIL` or `SKIP` and why); exits with 1 if any differs.
"""
import argparse
import glob
import os
import random
import subprocess
import sys
import tempfile

SHARED = os.environ.get("QUANT_SHARED", "../shared")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def random_lines(count):
    rng = random.Random(7)
    pools = [
        "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "   \t\u00a0\u3000\u2003\r\x0b",
        "'''.,;:!?()[]{}<>|\\/@#$%^&*-_=+`~\"", "äöüßéèñçøåæœÄÖÜ", "абвгдежзиклмнопрстуфхцчшщ", "我想在苹果工作你好世界",
        "กขคงจฉชซญ่้๊๋", "हिन्दीभाषा", "😀🚀🦙👨‍👩‍👧", "٠١٢٣٤٥½²³①Ⅷ", "ﬁǅʰªº\u0301\u0308", "＇！～。、「」", "the and of ing 's 'LL 'ſ",
    ]
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(1, 12)):
            pool = rng.choice(pools)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 6))))
        yield rng.choice(["", " "]).join(parts)
    for _ in range(count // 4):
        yield "".join(chr(c) for c in (rng.choice([rng.randrange(32, 0x3000), rng.randrange(32, 0x20000)]) for _ in range(20))
                      if not 0xD800 <= c <= 0xDFFF)


def text_lines(every):
    lines = []
    for path in sorted(glob.glob(f"{SHARED}/text/*.txt") + glob.glob(f"{SHARED}/text/*.raw")):
        with open(path, newline="", encoding="utf-8") as file:
            lines += file.read().split("\n")[::every]
    lines += random_lines(4000)
    return [line for line in lines if line and "\n" not in line]


def byte_level(path, steps, whole_words=False):
    """A reference from the tokens and merges of a GGUF file and the published pre-tokenizer."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, models
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, ignore_merges=whole_words))
    made.pre_tokenizer = steps
    for text, kind in zip(tokens, fields["tokenizer.ggml.token_type"].contents()):
        if kind in (3, 4):
            made.add_tokens([AddedToken(text, special=kind == 3, normalized=False)])
    return lambda lines: [e.ids for e in made.encode_batch(lines, add_special_tokens=False)]


def from_json(path):
    from tokenizers import Tokenizer, normalizers
    made = Tokenizer.from_file(path)
    if isinstance(made.normalizer, normalizers.NFC):
        made.normalizer = normalizers.Sequence([])  # GGUF has no place for it
    return lambda lines: [e.ids for e in made.encode_batch(lines, add_special_tokens=False)]


def from_sentencepiece(path):
    import sentencepiece
    made = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda lines: made.encode(lines)


def references():
    from tokenizers import Regex, pre_tokenizers as pre

    def split(pattern):
        return pre.Split(Regex(pattern), "isolated")

    plain, gpt2 = pre.ByteLevel(add_prefix_space=False, use_regex=False), pre.ByteLevel(add_prefix_space=False)
    vocab = f"{SHARED}/vocab"

    def stock(name):
        return f"{vocab}/gguf/ggml-vocab-{name}.gguf"

    yield "gpt-2", stock("gpt-2"), lambda: byte_level(stock("gpt-2"), gpt2)
    yield "falcon", stock("falcon"), lambda: from_json(f"{vocab}/falcon/tokenizer.json")
    yield "llama-bpe", stock("llama-bpe"), lambda: byte_level(stock("llama-bpe"), pre.Sequence([split(CL100K), plain]), True)
    yield "qwen2", stock("qwen2"), lambda: byte_level(
        stock("qwen2"), pre.Sequence([split(CL100K.replace("{1,3}", "")), plain]))
    yield "starcoder", stock("starcoder"), lambda: byte_level(stock("starcoder"), pre.Sequence([pre.Digits(True), gpt2]))
    yield "deepseek-coder", stock("deepseek-coder"), lambda: byte_level(stock("deepseek-coder"), pre.Sequence(
        [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\ud7ff]+"), pre.Digits(True), plain]))
    yield "llama-spm", stock("llama-spm"), lambda: from_sentencepiece(f"{vocab}/llama2/tokenizer.model")
    yield "phi-3", stock("phi-3"), lambda: from_json(f"{vocab}/phi-3/tokenizer.json")
    for folder in sorted(glob.glob(f"{SHARED}/models/arch/*") + [f"{SHARED}/models/tiny", f"{SHARED}/models/stories260K"]):
        name = os.path.basename(folder)
        models = sorted(glob.glob(f"{folder}/{name}*.gguf"))
        if not models:
            continue
        if os.path.exists(path := f"{folder}/hf/tokenizer.json"):
            yield name, models[0], lambda path=path: from_json(path)
        if os.path.exists(path := f"{folder}/hf/tokenizer.model"):
            yield name, models[0], lambda path=path: from_sentencepiece(path)


def compare(quant, model, reference, lines, lead):
    """`lead` goes before each line for ours only."""
    with tempfile.NamedTemporaryFile("w", newline="", encoding="utf-8", suffix=".txt") as file:
        file.write("".join(f"{lead}{line}\n" for line in lines))
        file.flush()
        run = subprocess.run([quant, "tokenize", "-m", model, "--no-bos", "--parse-special", "--lines", "-f", file.name],
                             capture_output=True, text=True, check=True)
    ours = [[int(i) for i in line.split()] for line in run.stdout.split("\n")[:-1]]
    theirs = reference(lines)
    assert len(ours) == len(theirs), f"{len(ours)} lines of ids for {len(theirs)} lines of text"
    return [(line, a, b) for line, a, b in zip(lines, ours, theirs) if a != list(b)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10, metavar="N", help="every N-th line of each text (default 10)")
    parser.add_argument("--quant", default=f"{os.environ.get('QUANT_BUILD', 'build')}/quant")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    try:
        import gguf, sentencepiece, tokenizers  # noqa: F401, E401
    except ImportError as error:
        return print(f"SKIP tokenizers-against-python: {error}")
    if not os.path.exists(f"{SHARED}/README.md"):
        return print("SKIP tokenizers-against-python: needs the reference data folder (QUANT_SHARED)")
    lines = text_lines(options.lines)
    failed = False
    for name, model, make in references():
        if options.names and name not in options.names:
            continue
        # The converter switches the space prefix off for every Gemma, whatever its tokenizer.model says.
        lead = " " if "gemma" in name else ""
        different = compare(options.quant, model, make(), lines, lead)
        failed |= bool(different)
        print(f"{'FAIL' if different else 'ok'} tokenizer-{name}: {len(different)} of {len(lines)} lines differ", flush=True)
        for line, ours, theirs in different[:3]:
            print(f"  {ascii(line)[:200]}\n    ours   {ours[:40]}\n    theirs {list(theirs)[:40]}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
