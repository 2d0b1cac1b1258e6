#!/usr/bin/env python3
"""Writes the vectors of tests/golden/tokenizer with the Python package `tokenizers` (made with version 0.23.3).

usage: scripts/make-tokenizer-vectors.py [TEXT]     TEXT: some public-domain text to learn the small vocabulary from
                                                    (default: ../shared/text/tinyshakespeare.txt)

texts.txt        one text a line, with \\n, \\r, \\t and \\\\ escaped
words-NAME.txt   for each text the bytes of each word that the pre-tokenizer NAME cuts it into
bytes.vocab      a byte-level BPE vocabulary of 600 tokens: the tokens, an empty line, the merges
unigram.model    a unigram SentencePiece model of 400 tokens, learned from the same text by the Python package `sentencepiece`,
                 with some normalization rules; unigram-bytes.model: the same with byte fallback and without rules
unigram*.txt     for each text its ids with that model
spm-MODEL.txt    for each text its ids with the tokenizer.model of models/tiny and models/stories260K of the reference folder,
                 by the Python package `sentencepiece`
ids-NAME.txt     for each text its ids with that vocabulary behind the pre-tokenizer NAME (three of them)
"""
import json
import os
import random
import re
import shutil
import sys
import tempfile

import sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers as pre, trainers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden/tokenizer")
SHARED = os.environ.get("QUANT_SHARED", "../shared")

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CL100K = CONTRACTIONS + (r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN35 = CONTRACTIONS + (r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LEAD = r"[^\r\n\p{L}\p{N}]?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (f"{LEAD}{UPPER}*{LOWER}+{CONTRACTIONS}?|{LEAD}{UPPER}+{LOWER}*{CONTRACTIONS}?" + r"|\p{N}{1,3}" + REST)
TEKKEN = f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*" + r"|\p{N}" + REST
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
             r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")

SEED = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
BAILING = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def deepseek_llm():
    """The two long classes are spelled in the program, the rest here."""
    source = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../src/text/pretokenize.h"), encoding="utf-8").read()
    def members(name):
        return "".join(re.findall(r'"(.*)"', source[source.index(name):].split(";")[0]))
    return [r"[\r\n]", r"\s?[" + members("kDeepSeekLetters") + "]+", r"\s?[" + members("kDeepSeekMarks") + "]+", r"\s+$",
            "[一-龥ࠀ-一가-\ud7ff]+"]


def split(pattern):
    return pre.Split(Regex(pattern), "isolated")


def steps():
    plain, gpt2 = pre.ByteLevel(add_prefix_space=False, use_regex=False), pre.ByteLevel(add_prefix_space=False)
    punctuation = pre.Punctuation("contiguous")
    return {
        "gpt-2": [gpt2],
        "default": [punctuation, split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
                    split(r"\p{N}+"), split("[0-9][0-9][0-9]"), plain],
        "starcoder": [pre.Digits(True), gpt2],
        "llama-bpe": [split(CL100K), plain],
        "qwen2": [split(CL100K.replace("{1,3}", "")), plain],
        "qwen35": [split(QWEN35), plain],
        "gpt-4o": [split(O200K), plain],
        "tekken": [split(TEKKEN), plain],
        "falcon": [punctuation, gpt2, pre.Digits(False), split("[0-9][0-9][0-9]")],
        "deepseek-coder": [split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\ud7ff]+"),
                           pre.Digits(True), plain],
        "deepseek-llm": [*map(split, deepseek_llm()), pre.Digits(True), plain],
        "bloom": [split(BLOOM), plain],
        "viking": [split(BLOOM), pre.Digits(True), plain],
        "seed-coder": [split(SEED), plain],
        "bailingmoe": [split(BAILING), plain],
        "minicpm5": [split(r"\p{N}{1,3}"), split(CL100K.replace("{1,3}", "+")), plain],
        "deepseek-v3": [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3), plain],
    }


def texts():
    yield from [
        "", " ", "  ", "\n", "\n\n\n", "\t\n \n", "Hello", " Hello", "  Hello world", "Hello, world!", "I'll they've WE'RE 'tis don'T x'ſ'",
        "'s 'S 'll 'Ll '' 'x", "3 33 333 3333 1234567890", " 12 3.14 1,000,000", "a1b22c333", "½ ² ① Ⅷ ٣٤ 10²", "!!!! ?? ...\n\n--\r\n",
        "if (x == 1) {\n    return y;\n}\n", "http://example.org/a/b?c=d#e", "foo/bar//\n/baz", "camelCaseHTTPServer XMLHttp aB Ab AB ab",
        "ÄÖÜ äöü ǅ ʰª e\u0301a\u0308 \u0301x \u0301\u0302", "нещо на Български", "我想在apple工作1314151天～", "ひらがなカタカナ漢字 한국어 문장",
        "कान्तै हिन्दी भाषा", "กขค ่้", "🚀 (normal) 😶‍🌫️ ✅🦙", "a\u00a0b\u3000c\u2003 d", "   leading\n   lines\n\n trailing   ",
        " \u00a0 x", "$100 + 5% = <b>~`|^</b>", "¿Qué? «oui» “yes” — no…", "\\n \\t \\\\", "_under_score __init__ -a--b", "x\r\ny\rz\n",
        "\u0085\u2028\u2029 \x0b\x0c", "\ue000\ufffd\u0378", "'", "''s", "tab\tand\tspace \t x",
    ]
    rng = random.Random(1)
    pools = ["abcXYZ", "0123456789", "  \t\n\r\u00a0", "'.,!?/-_$+<=>", "äÄǅʰª\u0301", "我你ひ한ก", "½²٣", "😀\u200d", "'s'LL're"]
    for _ in range(60):
        yield "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(4, 28)))
    yield "\u3000我 \u3000\u3000あ\u3000"  # a blank that is also a mark


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def write(name, lines):
    with open(f"{OUT}/{name}", "w", encoding="utf-8", newline="") as file:
        file.write("".join(f"{line}\n" for line in lines))


def main():
    corpus = sys.argv[1] if len(sys.argv) > 1 else f"{SHARED}/text/tinyshakespeare.txt"
    all_texts = list(texts())
    write("texts.txt", map(escaped, all_texts))

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    learner.train([corpus], trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False))
    vocab = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in json.loads(learner.to_str())["model"]["merges"]]
    write("bytes.vocab", [text for text, _ in vocab] + [""] + [" ".join(m) for m in merges])

    for name, parts in steps().items():
        whole = pre.Sequence(parts)
        write(f"words-{name}.txt", (" ".join(str(len(word)) for word, _ in whole.pre_tokenize_str(t)) for t in all_texts))
        if name not in ("gpt-2", "llama-bpe", "deepseek-coder"):
            continue
        model = Tokenizer(models.BPE(dict(vocab), merges, ignore_merges=name == "llama-bpe"))
        model.pre_tokenizer = whole
        write(f"ids-{name}.txt", (" ".join(map(str, model.encode(t, add_special_tokens=False).ids)) for t in all_texts))

    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/rules.tsv", "w", encoding="utf-8") as file:  # code points in hexadecimal: from, to
            for source, target in (("½", "1/2"), ("ﬁ", "fi"), ("\u3000", " "), ("\u00a0", " "), ("\t", " "), ("\n", " "), ("ǅ", "Dž"),
                                   ("e\u0301", "é"), ("²", "")):
                file.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
        for name, options in (("unigram", {"normalization_rule_tsv": f"{folder}/rules.tsv", "user_defined_symbols": "<tool>"}),
                              ("unigram-bytes", {"normalization_rule_name": "identity", "byte_fallback": True,
                                                 "remove_extra_whitespaces": False})):
            sentencepiece.SentencePieceTrainer.train(
                input=corpus, model_prefix=f"{folder}/{name}", model_type="unigram", vocab_size=600 if options.get("byte_fallback") else 400,
                character_coverage=0.999, num_threads=1, minloglevel=2, **options)
            shutil.copy(f"{folder}/{name}.model", f"{OUT}/{name}.model")
            made = sentencepiece.SentencePieceProcessor(model_file=f"{OUT}/{name}.model")
            write(f"{name}.txt", (" ".join(map(str, made.encode(t))) for t in all_texts))
    for name in ("tiny", "stories260K"):
        model = f"{SHARED}/models/{name}/hf/tokenizer.model"
        if os.path.exists(model):
            made = sentencepiece.SentencePieceProcessor(model_file=model)
            write(f"spm-{name}.txt", (" ".join(map(str, made.encode(t))) for t in all_texts))


if __name__ == "__main__":
    main()
