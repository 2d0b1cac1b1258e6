#!/usr/bin/env python3
"""Cuts tests/golden/formats out of the shared format vectors.
usage: scripts/golden-formats.py SHARED/reference/formats tests/golden/formats"""
import array, os, sys

source, target = sys.argv[1:3]
ROW, ROWS, KINDS = 512, 24, 8


def floats(name):
    data = array.array("f")
    with open(os.path.join(source, name), "rb") as file:
        data.frombytes(file.read())
    return data


def write(name, data):
    with open(os.path.join(target, name), "wb") as file:
        file.write(data)


x, importance = floats("input.f32"), floats("importance.f32")
write("input.f32", x[:ROWS * ROW].tobytes())
write("importance.f32", importance.tobytes())
errors = ["# type, weighted, squared error of the peer's encoding of input.f32 by kind of row (row mod 8)"]
for line in open(os.path.join(source, "index.tsv")).read().splitlines()[1:]:
    name, _, block, size = line.split("\t")[:4]
    row_bytes = ROW // int(block) * int(size)
    encoded, decoded = b"", b""
    # The second row of the peer's encoding and the first random one: the bytes and what the peer reads from them.
    for kind, row in ((".weighted", 1), (".random", 0)):
        with open(os.path.join(source, name + kind + ".bin"), "rb") as file:
            encoded += file.read()[row * row_bytes:(row + 1) * row_bytes]
        decoded += floats(name + kind + ".f32")[row * ROW:(row + 1) * ROW].tobytes()
    write(name + ".bin", encoded)
    write(name + ".f32", decoded)
    for weighted, kind in ((0, ""), (1, ".weighted")):
        if not os.path.exists(os.path.join(source, name + kind + ".f32")):
            continue
        y = floats(name + kind + ".f32")
        sums = [0.0] * KINDS
        for row in range(ROWS):
            sums[row % KINDS] += sum((importance[i] if weighted else 1) * (x[row * ROW + i] - y[row * ROW + i]) ** 2
                                     for i in range(ROW))
        errors.append("\t".join([name, str(weighted)] + ["%.9g" % e for e in sums]))
write("peer-errors.tsv", ("\n".join(errors) + "\n").encode())
