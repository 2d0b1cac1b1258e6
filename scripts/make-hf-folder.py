#!/usr/bin/env python3
"""Writes a Hugging Face folder of the llama family with random BF16 weights, to measure programs that convert such folders.

usage: scripts/make-hf-folder.py FOLDER TOKENIZER_MODEL [--layers 22] [--width 2048] [--feed-forward 5632] [--heads 32]
                                 [--kv-heads 4] [--vocabulary 32000] [--shard-mb 1500]

The default is TinyLlama's shape: 1.1 billion weights, 2.2 GB. TOKENIZER_MODEL is a SentencePiece file. Needs numpy.
"""
import argparse
import json
import os
import shutil

import numpy


def tensors(o):
    head = o.width // o.heads
    yield "model.embed_tokens.weight", (o.vocabulary, o.width)
    for i in range(o.layers):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (o.width,)
        yield at + "mlp.down_proj.weight", (o.width, o.feed_forward)
        yield at + "mlp.gate_proj.weight", (o.feed_forward, o.width)
        yield at + "mlp.up_proj.weight", (o.feed_forward, o.width)
        yield at + "post_attention_layernorm.weight", (o.width,)
        for name, rows in (("k", o.kv_heads * head), ("q", o.width), ("v", o.kv_heads * head)):
            yield f"{at}self_attn.{name}_proj.weight", (rows, o.width)
        yield at + "self_attn.o_proj.weight", (o.width, o.width)
    yield "model.norm.weight", (o.width,)
    yield "lm_head.weight", (o.vocabulary, o.width)


def shards(o):
    part, size = [], 0
    for name, shape in tensors(o):
        amount = 2 * int(numpy.prod(shape))
        if part and size + amount > o.shard_mb * 1000000:
            yield part
            part, size = [], 0
        part.append((name, shape, amount))
        size += amount
    yield part


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("tokenizer")
    for name, value in (("layers", 22), ("width", 2048), ("feed-forward", 5632), ("heads", 32), ("kv-heads", 4), ("vocabulary", 32000),
                        ("shard-mb", 1500)):
        parser.add_argument(f"--{name}", type=int, default=value)
    o = parser.parse_args()
    os.makedirs(o.folder)
    shutil.copy(o.tokenizer, f"{o.folder}/tokenizer.model")
    with open(f"{o.folder}/config.json", "w") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": o.vocabulary,
                   "hidden_size": o.width, "intermediate_size": o.feed_forward, "num_hidden_layers": o.layers,
                   "num_attention_heads": o.heads, "num_key_value_heads": o.kv_heads, "max_position_embeddings": 2048,
                   "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
                   "bos_token_id": 1, "eos_token_id": 2}, file, indent=1)
    with open(f"{o.folder}/tokenizer_config.json", "w") as file:
        json.dump({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>",
                   "eos_token": "</s>", "unk_token": "<unk>"}, file, indent=1)
    # One pool of normal numbers serves all tensors, from a different place each.
    normals = numpy.random.default_rng(1).standard_normal(1 << 22, dtype=numpy.float32) * numpy.float32(0.02)
    pool = (normals.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    parts, where, start = list(shards(o)), {}, 0
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-{len(parts):05}.safetensors"
        header, end = {"__metadata__": {"format": "pt"}}, 0
        for tensor, shape, amount in part:
            header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + amount]}
            where[tensor] = name
            end += amount
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(f"{o.folder}/{name}", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, shape, amount in part:
                if len(shape) == 1:
                    file.write(b"\x80\x3f" * shape[0])  # 1.0
                    continue
                while amount:
                    piece = pool[start:start + amount]
                    file.write(piece)
                    amount -= len(piece)
                    start = (start + 2 * 123457) % len(pool)
    with open(f"{o.folder}/model.safetensors.index.json", "w") as file:
        json.dump({"metadata": {"total_size": sum(t[2] for p in parts for t in p)}, "weight_map": where}, file)


if __name__ == "__main__":
    main()
