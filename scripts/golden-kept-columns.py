#!/usr/bin/env python3
"""Reference vectors of Q8_ROW_O, computed from the layout in src/formats/kept_columns.h with numpy alone.
usage: scripts/golden-kept-columns.py tests/golden/kept_columns"""
import pathlib
import sys

import numpy as np

ROWS, COLS, KEPT = 12, 64, 8


def choose(x, h):
    """One by one the column without which sum(h of the rest) * sum(largest square of each row) falls most."""
    rest = list(range(COLS))
    for _ in range(KEPT):
        left = np.abs(x[:, rest]).astype(np.float64)
        noise, weight = (left.max(1) ** 2).sum(), h[rest].sum()
        gain = []
        for i, column in enumerate(rest):
            without = np.delete(left, i, axis=1).max(1)
            gain.append(h[column] / weight + (noise - (without**2).sum()) / noise)
        rest.pop(int(np.argmax(gain)))
    return sorted(set(range(COLS)) - set(rest))


def least_error(row, h):
    """Of int8 codes under one scale, over a fine grid of scales."""
    top = np.abs(row).max() / 127
    best = np.inf
    for d in top * np.linspace(0.5, 1.02, 4000):
        off = row - d * np.clip(np.rint(row / d), -128, 127)
        best = min(best, (h * off * off).sum())
    return best


def main(folder):
    rng = np.random.default_rng(20)
    x = rng.normal(size=(ROWS, COLS))
    x[:, [5, 40]] *= 25  # stretch the rows
    x[:, [17, 18]] *= 0.02
    h = rng.uniform(0.5, 2, COLS)
    h[[17, 18, 50]] *= 900  # read large activations
    x, h = x.astype(np.float32), h.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    x.tofile(folder / "input.f32")
    h.tofile(folder / "importance.f32")
    columns, errors = [], []
    for weights in (np.ones(COLS), h.astype(np.float64)):
        kept = choose(x.astype(np.float64), weights)
        columns.append(kept)
        left = x.astype(np.float64)
        left[:, kept] = 0
        errors.append([least_error(row, weights) for row in left])
    np.array(columns, "<u4").tofile(folder / "columns.u32")
    np.array(errors, "<f8").tofile(folder / "errors.f64")

    # Stored bytes and what they stand for; one column that the tensor does not have.
    kept = np.array([0, 3, 9, 31, 32, 47, 63, 70], "<u4")
    stored, values = kept.tobytes(), np.zeros((ROWS, COLS), np.float32)
    for r in range(ROWS):
        halves = rng.normal(size=KEPT).astype(np.float16)
        d = np.float32(rng.uniform(0.001, 0.1))
        codes = rng.integers(-128, 128, COLS, dtype=np.int8)
        values[r] = d * codes.astype(np.float32)
        for column, half in zip(kept, halves):
            if column < COLS:
                values[r, column] += np.float32(half)
        stored += halves.tobytes() + d.tobytes() + codes.tobytes()
    (folder / "stored.bin").write_bytes(stored)
    values.tofile(folder / "stored.f32")


main(pathlib.Path(sys.argv[1]))
