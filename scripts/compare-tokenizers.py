#!/usr/bin/env python3
"""Compares `quant tokenize` with the Python packages `tokenizers` and `sentencepiece`, line by line.

usage: scripts/compare-tokenizers.py [--lines N] [--quant PATH] [NAME...]

Texts: the reference folder's books and articles (every N-th line of each; --lines 1 for all), and seeded random mixtures of
scripts, digits, spaces and punctuation, and the added tokens of a tokenizer.json. Vocabularies: the vocabulary files of the reference folder; its tokenizer folders, each
through `quant convert` with a model of zeros around it; the tokenizers of its small models, equal ones once; and the models of
tests/golden/tokenizer, as SentencePiece files and as a tokenizer.json with the same pieces. Prints one line per
vocabulary (`ok`, `FAIL` or `SKIP` and why); exits with 1 if any ids differ.
"""
import argparse
import base64
import glob
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
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

    def ids(lines):
        return [e.ids for e in made.encode_batch(lines, add_special_tokens=False)]
    ids.added = [token.content for token in made.get_added_tokens_decoder().values()]
    return ids


def lines_with(added):
    """Texts with a vocabulary's added tokens among words and blanks."""
    rng = random.Random(3)
    parts = sorted(added) * 2 + ["hello", "I am", "123", "a", " wörld"] * len(added)
    for _ in range(300 if added else 0):
        yield "".join(rng.choice(["", " ", "  ", "\t"]) + rng.choice(parts) + rng.choice(["", " ", "  "]) for _ in range(rng.randint(1, 5)))


def from_vocab_and_merges(folder, steps):
    from tokenizers import AddedToken, Tokenizer, models
    made = Tokenizer(models.BPE.from_file(f"{folder}/vocab.json", f"{folder}/merges.txt"))
    made.pre_tokenizer = steps
    with open(f"{folder}/tokenizer_config.json", encoding="utf-8") as file:
        for token in json.load(file)["added_tokens_decoder"].values():
            made.add_tokens([AddedToken(token["content"], special=token["special"], normalized=False)])
    return lambda lines: [e.ids for e in made.encode_batch(lines, add_special_tokens=False)]


def from_sentencepiece(path):
    import sentencepiece
    made = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda lines: made.encode(lines)


def fields(data):
    """(number, value) of a message of the protocol buffer format: numbers and bytes."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
    while at < len(data):
        tag = number()
        size = {0: 0, 1: 8, 5: 4}.get(tag & 7)
        value = number() if size != 8 and size != 4 else size
        if tag & 7 == 0:
            yield tag >> 3, value
        else:
            yield tag >> 3, data[at:at + value]
            at += value


def unigram_json(path):
    """A SentencePiece model as a tokenizer.json, in the form that transformers' converter writes."""
    import sentencepiece
    with open(path, "rb") as file:
        normalizer = dict(fields(dict(fields(file.read()))[3]))
    rules, squeeze = normalizer.get(2, b""), normalizer.get(4, 1)
    steps = [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(rules).decode()}] if rules else []
    if squeeze:
        steps += [{"type": "Strip", "strip_left": True, "strip_right": True},
                  {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    pieces = range(model.vocab_size())
    # The one user-defined token of these models is known by its text.
    added = [{"id": i, "content": model.id_to_piece(i), "special": model.is_control(i), "normalized": False, "single_word": False,
              "lstrip": False, "rstrip": False} for i in pieces if model.is_control(i) or model.id_to_piece(i) == "<tool>"]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": steps},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": bool(squeeze)},
            "post_processor": None, "decoder": None,
            "model": {"type": "Unigram", "unk_id": model.unk_id(), "byte_fallback": any(map(model.is_byte, pieces)),
                      "vocab": [[model.id_to_piece(i), model.get_score(i)] for i in pieces]}}


def converted(quant, out, files, tokens):
    """A GGUF that `quant convert` makes of a folder with these tokenizer files and a model of zeros."""
    import numpy
    from safetensors.numpy import save_file
    folder = f"{out}/hf"
    os.makedirs(folder)
    for name, content in files.items():
        if isinstance(content, bytes):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(content)
        else:
            os.symlink(os.path.abspath(content), f"{folder}/{name}")
    width = 32
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokens, "hidden_size": width,
                   "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}, file)
    layer = "model.layers.0."
    square = [f"{layer}self_attn.{n}_proj.weight" for n in "qkvo"] + [f"{layer}mlp.{n}_proj.weight" for n in ("gate", "up", "down")]
    norms = ["model.norm.weight", f"{layer}input_layernorm.weight", f"{layer}post_attention_layernorm.weight"]
    tensors = {name: numpy.zeros((width, width), numpy.float16) for name in square}
    tensors |= {name: numpy.zeros(width, numpy.float16) for name in norms}
    tensors["model.embed_tokens.weight"] = numpy.zeros((tokens, width), numpy.float16)
    save_file(tensors, f"{folder}/model.safetensors")
    subprocess.run([quant, "convert", folder, f"{out}/model.gguf", "--quiet"], check=True)
    return f"{out}/model.gguf"


def tokens_of(path):
    import sentencepiece
    from tokenizers import Tokenizer
    if path.endswith(".json"):
        return Tokenizer.from_file(path).get_vocab_size()
    return sentencepiece.SentencePieceProcessor(model_file=path).vocab_size()


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
    known = set()
    for folder in sorted(glob.glob(f"{SHARED}/models/arch/*") + [f"{SHARED}/models/tiny", f"{SHARED}/models/stories260K"]):
        name = os.path.basename(folder)
        models = sorted(glob.glob(f"{folder}/{name}*.gguf"))
        for file, make in (("tokenizer.json", from_json), ("tokenizer.model", from_sentencepiece)):
            path = f"{folder}/hf/{file}"
            if not models or not os.path.exists(path):
                continue
            with open(path, "rb") as content:
                digest = (hashlib.sha256(content.read()).hexdigest(), "gemma" in name)
            if digest not in known:
                known.add(digest)
                yield f"model-{name}", models[0], lambda path=path, make=make: make(path)


def folders():
    """Name, tokenizer files, how many tokens, reference: to be converted."""
    from tokenizers import Regex, pre_tokenizers as pre
    vocab, golden = f"{SHARED}/vocab", f"{ROOT}/tests/golden/tokenizer"
    for name in ("gpt2", "falcon", "phi-3"):  # the package does not take the one of llama2: merges of three spaces
        path = f"{vocab}/{name}/tokenizer.json"
        yield f"{name}-json", {"tokenizer.json": path}, tokens_of(path), lambda path=path: from_json(path)
    for name, path in (("llama2", "llama2/tokenizer.model"), ("mistral-v1", "mistral/tokenizer.model.v1"),
                       ("mistral-v3", "mistral/mistral_instruct_tokenizer_240323.model.v3")):
        path = f"{vocab}/{path}"
        yield f"{name}-model", {"tokenizer.model": path}, tokens_of(path), lambda path=path: from_sentencepiece(path)
    qwen = pre.Sequence([pre.Split(Regex(CL100K.replace("{1,3}", "")), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    files = {name: f"{vocab}/qwen2/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json")}
    with open(files["vocab.json"], encoding="utf-8") as file:
        tokens = len(json.load(file)) + 3
    yield "qwen2-merges", files, tokens, lambda: from_vocab_and_merges(f"{vocab}/qwen2", qwen)
    for name in ("unigram", "unigram-bytes"):
        path = f"{golden}/{name}.model"
        yield f"{name}-model", {"tokenizer.model": path}, tokens_of(path), lambda path=path: from_sentencepiece(path)
        # Held against the SentencePiece file: it is what a GGUF can say. The JSON treats blanks at the ends differently.
        text = json.dumps(unigram_json(path)).encode()
        yield f"{name}-json", {"tokenizer.json": text}, tokens_of(path), lambda path=path: from_sentencepiece(path)


def compare(quant, model, reference, lines, lead):
    """`lead` goes before each line for ours only. The lines whose ids differ."""
    with tempfile.NamedTemporaryFile("w", newline="", encoding="utf-8", suffix=".txt") as file:
        file.write("".join(f"{lead}{line}\n" for line in lines))
        file.flush()
        command = [quant, "tokenize", "-m", model, "--no-bos", "--parse-special", "--lines", "-f", file.name]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
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
    with tempfile.TemporaryDirectory() as work:
        sources = list(references())
        for name, files, tokens, make in folders():
            if options.names and name not in options.names:
                continue
            sources.append((name, converted(options.quant, f"{work}/{name}", files, tokens), make))
        for name, model, make in sources:
            if options.names and name not in options.names:
                continue
            # The converter switches the space prefix off for every Gemma, whatever its tokenizer.model says.
            lead = " " if "gemma" in name else ""
            reference = make()
            # The name in phi-3's vocabulary file says that its tokens take the blanks behind them; this tokenizer.json does not.
            own = lines + list(lines_with([] if name == "phi-3" else getattr(reference, "added", [])))
            different = compare(options.quant, model, reference, own, lead)
            failed |= bool(different)
            print(f"{'FAIL' if different else 'ok'} tokenizer-{name}: {len(different)} of {len(own)} lines differ", flush=True)
            for line, ours, theirs in different[:3]:
                print(f"  {ascii(line)[:200]}\n    ours   {ours[:40]}\n    theirs {list(theirs)[:40]}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
