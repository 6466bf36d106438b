"""What training with masks reaches on real data: zeros that grow, connections that move, lottery tickets; several seeds.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/sparse.py --data-dir DATA [--tables grown,ways,moved,tickets] [--sparsities 80%,90%,95%]
        [--models resnet20,resnet56] [--seeds 0,1,2] [--json]

Each figure is top-1 in % of a written file on all test images, by the commands below. DATA holds cifar10, fashion_mnist and models, as
docs/data.md says. Standard library only.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json, summary
from channels import STAGES

TABLES = ("grown", "ways", "moved", "tickets")
TAUGHT = "--teacher {model} --teacher-weight 1 --epochs 5 --batch 64 --learning-rate 0.02"
GROWN = {
    "gradual": f"--sparse-method gradual {TAUGHT}",
    "feedback": f"--sparse-method feedback {TAUGHT}",
}
FIRST = "--epochs 3 --learning-rate 0.05"
WAYS = {
    "95%, gradual": "--sparsity 95%",
    "95%, gradual, taylor": "--sparsity 95% --sparsity-criterion taylor",
    "95%, gradual, movement": "--sparsity 95% --sparsity-criterion movement",
    "95%, feedback": "--sparsity 95% --sparse-method feedback",
    "95%, feedback, every 17 steps": "--sparsity 95% --sparse-method feedback --sparsity-every 17",
    "2:4, gradual": "--sparsity 2:4",
    "2:4, feedback": "--sparsity 2:4 --sparse-method feedback --sparsity-mask-decay 2e-4",
}
MOVED = ("static", "set", "rigl")
# Fresh networks in which connections move: arguments of `bantam new`, data set, arguments of `bantam train`.
MOVED_IN = {
    "lenet-300-100": ("--input 1x28x28", "fashion_mnist", "--sparsity 98% --epochs 5 --learning-rate 0.1"),
    "resnet20": ("", "cifar10", "--sparsity 90% --epochs 5 --batch 64 --learning-rate 0.1 --weight-decay 5e-4 --warmup 0.5"),
}
TICKETS = "--sparsity 90% --rounds 5 --rewind-step 100 --epochs 3 --learning-rate 0.05 --control --init xavier"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--models", default="resnet20")
    parser.add_argument("--methods", default=",".join(GROWN), help="of the first table")
    parser.add_argument("--sparsities", default="80%,90%,95%", help="of the first table")
    parser.add_argument("--moved-in", default="lenet-300-100", help="fresh networks of the third table: " + ", ".join(MOVED_IN))
    parser.add_argument("--training", default="", help="arguments of `bantam train` for the first table, behind its own")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def manifest(options, name):
    return str(options.data_dir / name / f"{name}.toml")


def fresh(options, seed, folder, network="lenet-300-100"):
    model = str(folder / "fresh.onnx")
    run_json(options, "new", network, *MOVED_IN[network][0].split(), "--seed", str(seed), "-o", model)
    return model


def train(options, model, data, words, seed, folder):
    """Accuracy, share of zeros and time of one training."""
    output = ["--seed", str(seed), "-o", str(folder / "sparse.onnx")]
    report = run_json(options, "train", model, "--data", manifest(options, data), *words, *output)
    zeros = sum(layer["zeros"] for layer in report["sparsity"]) / sum(layer["elements"] for layer in report["sparsity"])
    top1 = 100 * report["scores"]["second"]["metrics"]["top1"]["value"]
    return {"seed": seed, "top1": {"bantam": top1}, "zeros": zeros, "seconds": report["seconds"]}


def grown(options, folder):
    """Zeros that grow in a trained network, which teaches itself."""
    runs = {}
    for name in options.models.split(","):
        model = str(options.data_dir / "models" / f"{name}.onnx")
        for method in options.methods.split(","):
            for sparsity in options.sparsities.split(","):
                words = f"--sparsity {sparsity} {GROWN[method]} {options.training}".format(model=model).split()
                words += [word for value in STAGES[name] for word in ("--feature", f"{value}={value}")]
                of = runs[f"{name}, {method}, {sparsity}"] = []
                for seed in options.seeds:
                    of.append(train(options, model, "cifar10", words, seed, folder))
                    print(name, method, sparsity, of[-1], file=sys.stderr, flush=True)
    return runs


def ways(options, folder):
    """Ways to zeros in a small network that was trained before."""
    runs = {name: [] for name in WAYS}
    for seed in options.seeds:
        trained = str(folder / "trained.onnx")
        words = ["train", fresh(options, seed, folder), "--data", manifest(options, "fashion_mnist"), *FIRST.split()]
        run_json(options, *words, "--seed", str(seed), "-o", trained)
        for name, arguments in WAYS.items():
            words = f"{arguments} {FIRST}".split()
            runs[name].append(train(options, trained, "fashion_mnist", words, seed, folder))
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    return runs


def moved(options, folder):
    """Connections of a fresh network that stay, or give way to others."""
    runs = {}
    for network in options.moved_in.split(","):
        _, data, training = MOVED_IN[network]
        for method in MOVED:
            words = f"--sparse-method {method} {training}".split()
            of = runs[f"{network}, {method}"] = []
            for seed in options.seeds:
                of.append(train(options, fresh(options, seed, folder, network), data, words, seed, folder))
                print(network, method, of[-1], file=sys.stderr, flush=True)
    return runs


def tickets(options, folder):
    """Tickets and their controls."""
    runs = []
    for seed in options.seeds:
        words = ["lottery", fresh(options, seed, folder), "--data", manifest(options, "fashion_mnist"), *TICKETS.split()]
        report = run_json(options, *words, "--seed", str(seed), "-o", str(folder / f"ticket-{seed}.onnx"))
        runs.append({"seed": seed, **report})
        print(tickets_row(runs[-1]), file=sys.stderr, flush=True)
    return runs


def tickets_row(run):
    def score(part):
        estimate = part["scores"]["metrics"]["top1"]
        return "{:.2f} ({:.2f} .. {:.2f})".format(*(100 * estimate[key] for key in ("value", "low", "high")))

    paired = run["control"]["comparison"]
    keys = ("difference", "difference_low", "difference_high")
    difference = "{:+.2f} ({:+.2f} .. {:+.2f})".format(*(100 * paired[key] for key in keys))
    scores = [score(run["rounds"][0]), score(run["rounds"][-1]), score(run["control"])]
    return [str(run["seed"]), *scores, difference, f"{run['seconds']:.0f}"]


def rows(runs):
    """Rows of trainings: mean, half of the 95% interval, each seed, median time."""
    for name, of in runs.items():
        mean, half, values = summary(of)
        interval = "" if half is None else f" ± {half:.2f}"
        singles = ", ".join(f"{value:.2f}" for value in values)
        seconds = statistics.median(run["seconds"] for run in of)
        yield [name, f"{100 * of[0]['zeros']:.2f}", f"{mean:.2f}{interval}", singles, f"{seconds:.0f}"]


def main():
    options = parse_arguments()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tables.split(","):
            results[name] = {"grown": grown, "ways": ways, "moved": moved, "tickets": tickets}[name](options, Path(folder))
    if options.json:
        print(json.dumps(results))
        return
    for name, runs in results.items():
        if name == "tickets":
            head = ["seed", "all weights", "ticket", "the same mask, drawn anew", "difference", "seconds"]
            print(markdown.table(head, [tickets_row(run) for run in runs]), end="\n\n")
        else:
            head = ["", "zeros %", "top-1, mean", "each seed", "seconds"]
            print(markdown.table(head, list(rows(runs))), end="\n\n")


if __name__ == "__main__":
    main()
