"""Writes the golden cases of the block formats beside this file, in goldens/.

    python generate.py LIBRARY

Written with gguf 0.19.0, ml_dtypes 0.6.0 and numpy 2.4.6 on x86-64; the random numbers come from `numpy.random.default_rng(7)`.
LIBRARY is llama.cpp's `ggml-quants.c` (of the release in llama-cpp-python 0.3.36) without fused products and sums:

    echo 'unsigned long ggml_row_size(int type, long count) { return 0; }' > one_row.c
    gcc -O2 -ffp-contract=off -shared -fPIC -Iinclude -Isrc src/ggml-quants.c one_row.c -o LIBRARY \\
        -Wl,--unresolved-symbols=ignore-all -lm

Files are little-endian. `input.f32` holds the values of all block formats, `importance.f32` a weight for each; `NAME.bytes` what
they become, `NAME.weighted.bytes` with importance, and `NAME.f32` what the first of the bytes become. `NAME.codes` is what a number
format makes of `elements.f32`, `NAME.values` what each code stands for; `NAME.scales` and `NAME.mx` are the scales and the decoded
values of microscaling formats.
"""

import ctypes
import os
import sys

import gguf
import ml_dtypes
import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "goldens")
LEN = 256
# Rows of LEN values whose decoded values are kept.
DECODED = 5


def save(name, array):
    array.tofile(os.path.join(FOLDER, name))


def inputs():
    """Blocks of 256: weights of several spreads, outliers, few non-zeros, one sign, constants, tiny and large values, zeros."""
    random = np.random.default_rng(7)
    normal = lambda spread=1.0: random.standard_normal(LEN) * spread
    blocks = [normal(), normal(0.02), normal(3e-5), normal(900.0)]
    blocks.append(normal() * (1 + 20 * (random.random(LEN) < 0.02)))
    blocks.append(normal() * (random.random(LEN) < 0.1))
    blocks.append(np.abs(normal()) + 0.5)
    blocks.append(-np.abs(normal()))
    blocks.append(random.integers(-8, 9, LEN) / 8)
    blocks.append(np.where(np.arange(LEN) < 100, 0, normal()))
    blocks.append(np.where(np.arange(LEN) % 64 < 40, 0.25, normal(1e-7)))
    blocks.append(np.zeros(LEN))
    # Without negative zeros: which zero is the smallest is not said.
    return np.concatenate(blocks).astype(np.float32) + np.float32(0), random


def by_gguf(x):
    types = gguf.GGMLQuantizationType
    names = "Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 TQ1_0 TQ2_0 MXFP4".split()
    for name in names:
        packed = gguf.quants.quantize(x.reshape(-1, LEN), types[name])
        file = "mxfp4-gguf" if name == "MXFP4" else name.lower()
        save(f"{file}.bytes", packed)
        save(f"{file}.f32", gguf.quants.dequantize(packed[:DECODED], types[name]))


def by_ggml(x, importance, library):
    types = gguf.GGMLQuantizationType
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    for name in "Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split():
        block, size = gguf.GGML_QUANT_SIZES[types[name]]
        symbol = "quantize_" + (name.lower() if name == "IQ4_NL" else f"q{name[1:]}")
        for kind, weights in ("", None), (".weighted", pointer(importance)):
            packed = np.zeros((x.size // block, size), np.uint8)
            row = ctypes.c_int64(1), ctypes.c_int64(x.size)
            getattr(library, symbol)(pointer(x), pointer(packed), *row, weights)
            save(f"{name.lower()}{kind}.bytes", packed)
            if not kind:
                decoded = packed[: DECODED * LEN // block]
                save(f"{name.lower()}.f32", gguf.quants.dequantize(decoded, types[name]))


def elements(random):
    """Codes and values of number formats by ml_dtypes: all magnitudes, ties, and what is beyond the range."""
    x = random.standard_normal(600) * 2.0 ** random.integers(-12, 9, 600)
    x = np.concatenate([x, np.arange(-80, 81) / 16, np.arange(-40, 41) * 16.0, [0.0, 1e-30, 7e4, -7e4]]).astype(np.float32)
    save("elements.f32", x)
    types = {
        "f8e4m3fn": (ml_dtypes.float8_e4m3fn, 448.0),
        "f8e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, 240.0),
        "f8e5m2": (ml_dtypes.float8_e5m2, 57344.0),
        "f8e5m2fnuz": (ml_dtypes.float8_e5m2fnuz, 57344.0),
        "f6e2m3": (ml_dtypes.float6_e2m3fn, 7.5),
        "f6e3m2": (ml_dtypes.float6_e3m2fn, 28.0),
        "f4e2m1": (ml_dtypes.float4_e2m1fn, 6.0),
    }
    for name, (dtype, largest) in types.items():
        # ml_dtypes does not saturate.
        codes = np.clip(x, -largest, largest).astype(dtype)
        save(f"{name}.codes", codes.view(np.uint8))
        save(f"{name}.values", np.arange(2 ** ml_dtypes.finfo(dtype).bits, dtype=np.uint8).view(dtype).astype(np.float32))
    save("f8e8m0.values", np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float32))


def microscaling(x):
    """OCP Microscaling Formats v1.0, section 6.3, with elements of ml_dtypes: the scale's byte, then codes, one a byte."""
    types = {
        "mxfp8-e4m3": (ml_dtypes.float8_e4m3fn, 8, 448.0),
        "mxfp8-e5m2": (ml_dtypes.float8_e5m2, 15, 57344.0),
        "mxfp6-e2m3": (ml_dtypes.float6_e2m3fn, 2, 7.5),
        "mxfp6-e3m2": (ml_dtypes.float6_e3m2fn, 4, 28.0),
        "mxfp4": (ml_dtypes.float4_e2m1fn, 2, 6.0),
    }
    blocks = x[: DECODED * LEN].reshape(-1, 32).astype(np.float64)
    exponents = np.floor(np.log2(np.abs(blocks).max(axis=1, keepdims=True)))
    for name, (dtype, largest_exponent, largest) in types.items():
        scales = np.clip(exponents - largest_exponent, -127, 127)
        elements = np.clip(blocks / 2.0**scales, -largest, largest).astype(np.float32).astype(dtype)
        save(f"{name}.scales", (scales + 127).astype(np.uint8))
        save(f"{name}.mx", (elements.astype(np.float64) * 2.0**scales).astype(np.float32))


def main():
    os.makedirs(FOLDER, exist_ok=True)
    x, random = inputs()
    importance = (random.random(x.size) ** 2 + 0.01).astype(np.float32)
    save("input.f32", x)
    save("importance.f32", importance)
    elements(random)
    microscaling(x)
    by_gguf(x)
    by_ggml(x, importance, ctypes.CDLL(sys.argv[1], mode=os.RTLD_LAZY))


if __name__ == "__main__":
    main()
