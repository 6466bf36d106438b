"""Says whether two models compute the same: both run in ONNX Runtime on seeded random inputs.

    python roundtrip_check.py A.onnx B.onnx [--seeds 3] [--dim NAME=SIZE]

Prints "bit-equal", or the largest difference of each output that differs. Exit code 0 where bit-equal, 1 where not.
Graph optimizations are off and one thread is used, so equal graphs give equal bits. Inputs and outputs must have the
same names, types and order. Symbolic dimensions get the size 3, or what --dim says.
"""

import argparse
import sys

import numpy as np

import reference

DEFAULT_DIMENSION = 3
FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
INTEGERS = {f"tensor({name})": np.dtype(name) for name in ("int8", "int16", "int32", "int64")}
INTEGERS |= {f"tensor(u{name})": np.dtype(f"u{name}") for name in ("int8", "int16", "int32", "int64")}
LARGEST_INTEGER = 4  # exclusive: small, as integer inputs are often indices or sizes


def dimension(size, sizes):
    """A fixed size as it is; a named one from `sizes`; everything else the default."""
    return size if isinstance(size, int) else sizes.get(size, DEFAULT_DIMENSION)


def random_input(value, sizes, generator):
    """An array for one graph input."""
    shape = [dimension(size, sizes) for size in value.shape]
    if value.type in FLOATS:
        return generator.standard_normal(shape).astype(FLOATS[value.type])
    if value.type in INTEGERS:
        return generator.integers(0, LARGEST_INTEGER, shape).astype(INTEGERS[value.type])
    if value.type == "tensor(bool)":
        return generator.integers(0, 2, shape).astype(bool)
    raise SystemExit(f"error: input {value.name} has the type {value.type}, for which no random values are made")


def signature(session):
    """Names and types in order; the shapes are left out, as inference may have added to them."""
    values = ("input", session.get_inputs()), ("output", session.get_outputs())
    return [(kind, value.name, value.type) for kind, listed in values for value in listed]


def differences(first, second, inputs):
    """One line for each output whose bytes differ."""
    lines = []
    for value, a, b in zip(first.get_outputs(), first.run(None, inputs), second.run(None, inputs)):
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype != b.dtype:
            lines.append(f"{value.name}: {a.dtype}{list(a.shape)} against {b.dtype}{list(b.shape)}")
        elif a.dtype.kind in "fiub":
            if a.tobytes() != b.tobytes():
                distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
                lines.append(f"{value.name}: max difference {distance.max():.3g}, {np.mean(a != b):.2%} of values differ")
        elif not np.array_equal(a, b):
            lines.append(f"{value.name}: {a.dtype} values differ")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--seeds", type=int, default=3, help="number of random inputs")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE", help="size of a symbolic dimension")
    options = parser.parse_args()
    sizes = {name: int(size) for name, size in (entry.split("=", 1) for entry in options.dim)}
    first, second = reference.open_session(options.first), reference.open_session(options.second)
    if signature(first) != signature(second):
        print(f"inputs or outputs differ:\n  {signature(first)}\n  {signature(second)}")
        return 1
    lines = []
    for seed in range(options.seeds):
        generator = np.random.default_rng(seed)
        inputs = {value.name: random_input(value, sizes, generator) for value in first.get_inputs()}
        lines += [f"seed {seed}: {line}" for line in differences(first, second, inputs)]
    print("\n".join(lines) or f"bit-equal on {options.seeds} random inputs")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
