"""The order of pruning and quantization at equal size and equal training: prune then quantize, at two widths, against both at once.

    cargo build --release
    python3 bench/combined.py --data-dir DATA [--seeds 0,1,2] [--model resnet20] [--json]

DATA holds cifar10 and models, as docs/data.md says. Every row is a recipe of `bantam compress --recipe`, so that it can be run alone; shares of
parameters are chosen so that the files have nearly the same size. Scores are on all 10,000 test images. Needs Python's standard library alone.
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

REPOSITORY = Path(__file__).resolve().parent.parent
T_QUANTILES = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t for 95% intervals, by the number of seeds

PRUNE = """
[[step]]
do = "prune"
structure = "channel"
criterion = "taylor"
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
# Name: share of the parameters that is left, and the steps behind the removal.
RECIPES = {
    "prune, train, then INT8": ("int8_left", TRAIN + INT8),
    "prune, train, then INT4": ("int4_left", TRAIN + INT4),
    "prune, then trained to be INT4": ("int4_left", TRAIN + AWARE),
}
LEFT = {"int8_left": 32, "int4_left": 70}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--model", default="resnet20", help="resnet20 or resnet56")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def run(options, folder, name, seed):
    """Score in percent, bytes and seconds of one recipe."""
    left, steps = RECIPES[name]
    recipe = folder / "recipe.toml"
    text = f"version = 1\nseed = {seed}\n" + PRUNE.format(left=LEFT[left]) + steps.format(epochs=options.epochs)
    recipe.write_text(text)
    model = options.data_dir / "models" / f"{options.model}.onnx"
    command = [options.bantam, "compress", model, "--data", options.data_dir / "cifar10" / "cifar10.toml"]
    command += ["--recipe", recipe, "--json", "-o", folder / "result.onnx"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    report = json.loads(done.stdout)
    score = 100 * report["scores"]["second"]["metrics"]["top1"]["value"]
    return {"top1": score, "bytes": report["bytes_after"], "seconds": report["seconds"]}


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
    with tempfile.TemporaryDirectory() as temporary:
        for name in RECIPES:
            results[name] = []
            for seed in options.seeds:
                results[name].append(run(options, Path(temporary), name, seed))
                print(f"{name}, seed {seed}: {results[name][-1]}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(results))
        return
    print("| steps | kB | top-1, mean and 95% interval | each seed | seconds |\n|---|---|---|---|---|")
    for name, runs in results.items():
        print(row(name, runs))


main()
