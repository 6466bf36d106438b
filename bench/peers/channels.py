"""What removing channels costs on real data: right after, and after training; and what it saves.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/channels.py --data-dir DATA [--models resnet56] [--criteria lamp,magnitude,thinet,taylor,random]
        [--left 0.495] [--epochs 5] [--batch 64] [--learning-rate 0.005] [--seeds 0] [--multiple 1] [--bench] [--json]

Each figure is top-1 in % of a written file on all test images: `bantam prune --structure channel --target-macs`, from 512 training
images, without and with reconstruction, then `bantam train` with the network before pruning as the teacher. `--epochs 0` leaves
training out. `--bench` prints the latency of both networks too, batch 32, in Bantam and in ONNX Runtime where it is installed. DATA
holds cifar10 and models, as docs/data.md says.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json


# The ends of stages, whose channels stay.
STAGES = {
    "resnet56": [f"/layer{stage}.8/add/out" for stage in (1, 2, 3)],
    "resnet20": [f"/layer{stage}.2/relu2/out" for stage in (1, 2, 3)],
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--models", default="resnet56")
    parser.add_argument("--criteria", default="lamp,magnitude,thinet,taylor,random")
    parser.add_argument("--left", type=float, default=0.495, help="share of the MACs that stays")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    parser.add_argument("--multiple", type=int, default=1, help="channels that stay are a multiple of this")
    parser.add_argument("--bench", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    return options


def top1(report):
    return 100 * report["scores"]["second"]["metrics"]["top1"]["value"]


def prune(options, model, criterion, seed, output, plain):
    data = Path(options.data_dir)
    words = ["prune", str(data / "models" / f"{model}.onnx"), "--data", str(data / "cifar10/cifar10.toml")]
    words += ["--structure", "channel", "--criterion", criterion, "--target-macs", str(options.left)]
    words += ["--samples", str(options.samples), "--seed", str(seed), "--steps", str(options.steps), "--multiple", str(options.multiple), "-o", str(output)]
    if plain:
        words += ["--reconstruct", "none", "--no-recalibrate"]
    return run_json(options, *words)


def train(options, model, seed, pruned, output):
    data = Path(options.data_dir)
    words = ["train", str(pruned), "--data", str(data / "cifar10/cifar10.toml"), "--epochs", str(options.epochs)]
    words += ["--batch", str(options.batch), "--learning-rate", str(options.learning_rate), "--weight-decay", "0.0005"]
    words += ["--teacher", str(data / "models" / f"{model}.onnx"), "--temperature", "4", "--teacher-weight", "1", "--ema", "0.998"]
    for value in STAGES[model]:
        words += ["--feature", f"{value}={value}"]
    return run_json(options, *words, "--seed", str(seed), "-o", str(output))


def latency(options, before, after):
    """Median milliseconds of a batch of 32, before and after, by runtime."""
    times = {}
    for runtime in ("bantam", "onnxruntime"):
        medians = []
        for path in (before, after):
            words = ["bench", str(path), "--batch", "32", "--runtime", runtime]
            try:
                report = run_json(options, *words)
            except RuntimeError:
                return times  # this runtime is not installed
            medians.append(report["runtimes"][0]["latency"]["median"])
        times[runtime] = medians
    return times


def measure(options, model, criterion, seed, folder):
    plain, pruned, trained = (Path(folder) / f"{name}.onnx" for name in ("plain", "pruned", "trained"))
    first = prune(options, model, criterion, seed, plain, plain=True)
    second = prune(options, model, criterion, seed, pruned, plain=False)
    cost = second["cost"]
    run = {"model": model, "criterion": criterion, "seed": seed, "seconds": second["seconds"]}
    run["macs"] = cost["macs_before"] / cost["macs_after"]
    run["parameters"] = cost["parameters_before"] / cost["parameters_after"]
    run["plain"], run["pruned"] = top1(first), top1(second)
    if options.epochs:
        report = train(options, model, seed, pruned, trained)
        run["trained"], run["train_seconds"] = top1(report), report["seconds"]
    if options.bench:
        run["latency"] = latency(options, Path(options.data_dir) / "models" / f"{model}.onnx", pruned)
    return run


def row(run):
    cells = [run["model"], run["criterion"], f"{run['macs']:.2f}", f"{run['parameters']:.2f}", f"{run['plain']:.2f}"]
    cells += [f"{run['pruned']:.2f} ({run['seconds']:.0f} s)"]
    cells.append(f"{run['trained']:.2f} ({run['train_seconds']:.0f} s)" if "trained" in run else "")
    pairs = run.get("latency", {}).items()
    cells.append(", ".join(f"{name} {before / after:.2f}" for name, (before, after) in pairs))
    return cells


def main():
    options = parse_arguments()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models.split(","):
            for criterion in options.criteria.split(","):
                for seed in options.seeds.split(","):
                    runs.append(measure(options, model, criterion, int(seed), folder))
                    print(runs[-1], file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(runs))
        return
    header = ["network", "criterion", "MACs, times fewer", "parameters", "removed", "and reconstructed", "and trained", "times faster"]
    print(markdown.table(header, [row(run) for run in runs]))


if __name__ == "__main__":
    main()
