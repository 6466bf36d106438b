"""What post-training quantization to few bits reaches on real data: 1,024 training images, no labels, several seeds.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/lowbit.py --data-dir DATA [--models resnet20,resnet56] [--algorithms none,gptq]
        [--widths W4A4,W2A8] [--granularity tensor] [--edges none] [--seeds 0,1,2] [--json]

Each figure is top-1 in % of the written file on all test images, by a command `bantam quantize` with weights and activations of these
widths, 8 bits in the first and last layer. `--models` also takes ONNX files. `equalize+none` is `--equalize`, `unbound+gptq` is `--equalize unbound --algorithm
gptq`, `smooth+brecq` is `--smooth 0.25 --algorithm brecq`. DATA holds cifar10 and models, as docs/data.md says.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json

ALGORITHMS = ("none", "gptq", "obq", "adaround", "signround", "least-squares", "brecq", "distill")
# What is moved between constants first, before a `+`.
MOVED = {"": [], "equalize": ["--equalize", "exact"], "unbound": ["--equalize", "unbound"], "smooth": ["--smooth", "0.25"]}
WIDTHS = ("W4A8", "W4A4", "W3A8", "W2A8")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--models", default="resnet20")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--widths", default=",".join(WIDTHS))
    parser.add_argument("--granularity", default="channel")
    parser.add_argument("--edges", default="int8")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    return options


def quantize(options, model, algorithm, width, seed, folder):
    """Top-1 and the time of one run."""
    weights, activations = width[1:].split("A")
    data = Path(options.data_dir)
    file = model if model.endswith(".onnx") else str(data / "models" / f"{model}.onnx")
    words = ["quantize", file, "--data", str(data / "cifar10/cifar10.toml"), "--granularity", options.granularity]
    words += ["--weights", f"int{weights}", "--activations", f"uint{activations}", "--edges", options.edges]
    words += ["--samples", str(options.samples), "--seed", str(seed), "-o", str(Path(folder) / "model.onnx")]
    moved, _, chosen = algorithm.rpartition("+")
    words += MOVED[moved]
    if chosen != "none":
        words += ["--algorithm", chosen]
    report = run_json(options, *words)
    top1 = 100 * report["scores"]["second"]["metrics"]["top1"]["value"]
    return {"model": model, "algorithm": algorithm, "width": width, "seed": seed, "top1": top1, "seconds": report["seconds"]}


def cell(runs):
    """Mean accuracy and median time."""
    if not runs:
        return ""
    mean = statistics.mean(run["top1"] for run in runs)
    return f"{mean:.2f} ({statistics.median(run['seconds'] for run in runs):.0f} s)"


def main():
    options = parse_arguments()
    split = {name: getattr(options, name).split(",") for name in ("models", "algorithms", "widths", "seeds")}
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for model in split["models"]:
            for width in split["widths"]:
                for algorithm in split["algorithms"]:
                    for seed in split["seeds"]:
                        runs.append(quantize(options, model, algorithm, width, int(seed), folder))
                        print(runs[-1], file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(runs))
        return
    rows = []
    for model in split["models"]:
        for algorithm in split["algorithms"]:
            of = [run for run in runs if run["model"] == model and run["algorithm"] == algorithm]
            rows.append([model, algorithm, *(cell([run for run in of if run["width"] == width]) for width in split["widths"])])
    print(markdown.table(["network", "codes", *split["widths"]], rows))


if __name__ == "__main__":
    main()
