"""Pruning and quantization at equal size and equal training: one after the other, in both orders, both at once, and searched together.

    cargo build --release
    python3 bench/peers/combined.py --data-dir DATA [--seeds 0,1,2] [--model resnet20] [--epochs 3] [--only searched] [--json]

DATA holds cifar10 and models, as docs/data.md says. Every row but the last is a recipe of `bantam compress --recipe`; the last is `bantam compress --minimize loss`
with the size of the others. Shares of parameters are chosen so that files have nearly the same size. The first 2,000 test images decide where something is
searched, the other 8,000 score. Needs Python's standard library alone.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import manifest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
T_QUANTILES = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for 95% intervals, by the number of seeds

PRUNE = """
[[step]]
do = "prune"
structure = "channel"
target-parameters = "{left}%"
"""
TRAIN = """
[[step]]
do = "distil"
epochs = {epochs}
batch = 64
learning-rate = 0.003
weight-decay = 5e-4
"""
INT8 = """
[[step]]
do = "quantize"
range = "mse"
"""
INT4 = """
[[step]]
do = "quantize"
weights = "int4"
activations = "uint8"
edges = "int8"
algorithm = ["least-squares"]
"""
AWARE = """quantize = true
weights = "int4"
activations = "uint8"
edges = "int8"
"""
DEQUANTIZE = """
[[step]]
do = "dequantize"
"""
# Name: share of the parameters that is left, and the steps.
RECIPES = {
    "prune, train, then INT8": ("int8", PRUNE + TRAIN + INT8),
    "prune, train, then INT4": ("int4", PRUNE + TRAIN + INT4),
    "trained to be INT4, prune, then INT4 again": ("int4", TRAIN + AWARE + DEQUANTIZE + PRUNE + INT4),
    "prune, then trained to be INT4": ("int4", PRUNE + TRAIN + AWARE),
}
SEARCHED = "bits and channels searched, then trained"
# Percent of the parameters, and bytes of the files of 4 bits.
LEFT = {"resnet20": {"int8": 38, "int4": 74}, "resnet56": {"int8": 36, "int4": 70}}
BYTES = {"resnet20": 137000, "resnet56": 397500}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--model", default="resnet20", help="resnet20 or resnet56")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--only", default="", help="comma-separated parts of names of rows")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def command(options, name, seed, data, folder):
    """The command of one row."""
    model = options.data_dir / "models" / f"{options.model}.onnx"
    words = [options.bantam, "compress", model, "--data", data, "--json", "-o", folder / "result.onnx"]
    if name == SEARCHED:
        words += ["--minimize", "loss", "--max-bytes", BYTES[options.model], "--keep", "90%,80%,70%,60%"]
        return words + ["--epochs", options.epochs, "--learning-rate", "0.003", "--seed", seed]
    kind, steps = RECIPES[name]
    recipe = folder / "recipe.toml"
    steps = steps.format(left=LEFT[options.model][kind], epochs=options.epochs)
    recipe.write_text(f"version = 1\nseed = {seed}\n{steps}")
    return [*words, "--recipe", recipe]


def run(options, name, seed):
    """Score in percent, bytes and seconds of one row."""
    with tempfile.TemporaryDirectory() as temporary:
        data = manifest.write(Path(temporary), options.data_dir)
        words = [str(word) for word in command(options, name, seed, data, Path(temporary))]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[-500:])
    report = json.loads(done.stdout)
    score = 100 * report["scores"]["second"]["metrics"]["top1"]["value"]
    size = report["after"]["bytes"] if name == SEARCHED else report["bytes_after"]
    return {"top1": score, "bytes": size, "seconds": report["seconds"]}


def row(name, runs):
    scores = [one["top1"] for one in runs]
    interval = ""
    if len(scores) in T_QUANTILES:
        interval = f" ± {T_QUANTILES[len(scores)] * statistics.stdev(scores) / math.sqrt(len(scores)):.2f}"
    each = ", ".join(f"{score:.2f}" for score in scores)
    size = statistics.mean(one["bytes"] for one in runs) / 1000
    seconds = statistics.median(one["seconds"] for one in runs)
    return f"| {name} | {size:.1f} | {statistics.mean(scores):.2f}{interval} | {each} | {seconds:.0f} |"


def main():
    options = parse_arguments()
    results = {}
    parts = options.only.split(",")
    for name in [*RECIPES, SEARCHED]:
        if not any(part in name for part in parts):
            continue
        results[name] = []
        for seed in options.seeds:
            results[name].append(run(options, name, seed))
            print(f"{name}, seed {seed}: {results[name][-1]}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(results))
        return
    print("| steps | kB | top-1, mean and 95% interval | each seed | seconds |\n|---|---|---|---|---|")
    for name, runs in results.items():
        print(row(name, runs))


main()
