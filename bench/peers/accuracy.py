"""What `bantam train` reaches on real data: quantization-aware training, distillation, training from scratch; several seeds.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/accuracy.py --data-dir DATA [--seeds 0,1,2] [--only qat] [--json]

Every line is a command of `RECIPES`; its accuracy is that of the written file on all test images, in Bantam and, for quantized
files, in ONNX Runtime (`--check`) and OpenVINO. DATA holds cifar10, fashion_mnist and models, as docs/data.md says. The peers' rows are those of qat.py.
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

import markdown

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SECOND_OF_T = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # quantiles of Student's t for 95% intervals, by the number of seeds

TAUGHT = "--teacher {models}/resnet20.onnx --temperature 4 --teacher-weight 1"
QAT = f"--quantize {TAUGHT}"
ADAM = "--optimizer adamw --weight-decay 0.001"
STUDENT = "--epochs 5 --batch 64 --learning-rate 0.05 --weight-decay 5e-4 --warmup 0.5"
# The ends of stages of a fresh ResNet-20 and of the ResNet-56 that teaches it.
STAGES = {"relu_10": "/layer1.8/relu2/out", "relu_27": "/layer2.8/relu2/out", "relu_44": "/layer3.8/relu2/out"}
ATTENTION = " ".join(f"--feature {student}={teacher}" for student, teacher in STAGES.items())
# Name: data set, network to start from (a file of DATA/models, or the arguments of `bantam new`), arguments of `bantam train`.
RECIPES = {
    "qat W8A8": (
        "cifar10",
        "resnet20.onnx",
        f"--epochs 2 {QAT} --weights int8 --activations uint8 --learning-rate 0.001",
    ),
    "qat W4A4": (
        "cifar10",
        "resnet20.onnx",
        f"--epochs 5 {QAT} --weights int4 --activations uint4 --learning-rate 0.01 --ema 0.998",
    ),
    "qat W2A2": (
        "cifar10",
        "resnet20.onnx",
        f"--epochs 5 --batch 32 {QAT} --weights int2 --activations uint2 {ADAM} --learning-rate 0.001",
    ),
    "qat binary weights": (
        "cifar10",
        "resnet20.onnx",
        f"--epochs 5 --batch 32 {QAT} --weight-mapping binary --activations float {ADAM} --learning-rate 0.001",
    ),
    # The other ways to round, two epochs each beside the first row.
    **{
        f"short qat {name}": ("cifar10", "resnet20.onnx", f"--epochs 2 {QAT} --learning-rate 0.01 --ema 0.998 {words}")
        for name, words in {
            "W4A4": "--weights int4 --activations uint4",
            "W4A4, fixed scales": "--weights int4 --activations uint4 --scales fixed",
            "W4A4, LSQ+": "--weights int4 --activations uint4 --scales lsq+",
            "W4A4, powers of two": "--weights int4 --activations uint4 --scales power-of-two",
            "W4A4, PACT": "--weights int4 --activations uint4 --activation-mapping pact",
            "W4A4, DoReFa": "--weights int4 --activations uint4 --weight-mapping dorefa",
            "ternary weights": "--weight-mapping ternary --activations float",
            "binary weights": "--weight-mapping binary --activations float",
            "binary weights and activations": "--weight-mapping binary --activation-mapping binary",
        }.items()
    },
    "half-width resnet20 alone": ("cifar10", "new resnet20 --width 0.5", STUDENT),
    "half-width resnet20 taught by resnet56": (
        "cifar10",
        "new resnet20 --width 0.5",
        f"{STUDENT} --teacher {{models}}/resnet56.onnx --teacher-weight 0 {ATTENTION} --feature-weight 10",
    ),
    "lenet5 on Fashion-MNIST": (
        "fashion_mnist",
        "new lenet5 --input 1x28x28",
        "--epochs 10 --learning-rate 0.03 --weight-decay 5e-4 --warmup 0.5",
    ),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--only", default="", help="comma-separated parts of names of recipes")
    parser.add_argument("--keep", type=Path, help="folder for the trained files")
    parser.add_argument("--check", action="store_true", help="score quantized files in ONNX Runtime and OpenVINO too")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def run_json(options, *words):
    """The JSON object that a command of Bantam prints."""
    done = subprocess.run([str(options.bantam), *words, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    return json.loads(done.stdout)


def train(options, name, seed, folder):
    """The accuracies of one run, by runtime, and its time."""
    data, start, arguments = RECIPES[name]
    models = options.data_dir / "models"
    manifest = str(options.data_dir / data / f"{data}.toml")
    model = str(models / start)
    if start.startswith("new "):
        model = str(folder / "fresh.onnx")
        run_json(options, *start.split(), "--seed", str(seed), "-o", model)
    output = str(folder / f"{name.replace(' ', '-')}-{seed}.onnx")
    words = arguments.format(models=models).split()
    report = run_json(options, "train", model, "--data", manifest, *words, "--seed", str(seed), "-o", output)
    top1 = {"bantam": 100 * report["scores"]["second"]["metrics"]["top1"]["value"]}
    if options.check and "--quantize" in words:
        for runtime in ("onnxruntime", "openvino"):
            try:
                score = run_json(options, "eval", output, "--data", manifest, "--runtime", runtime, "--batch", "100")
            except RuntimeError as error:
                print(f"{runtime} refuses {output}: {error}", file=sys.stderr)
                continue
            top1[runtime] = 100 * score["metrics"]["top1"]["value"]
    return {"top1": top1, "seconds": report["seconds"], "samples_per_second": report["samples_per_second"]}


def summary(runs):
    """Mean, half of the 95% interval, and single accuracies in Bantam."""
    values = [run["top1"]["bantam"] for run in runs]
    half = None
    if len(values) in SECOND_OF_T:
        half = SECOND_OF_T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), half, values


def row(name, runs):
    mean, half, values = summary(runs)
    interval = "" if half is None else f" ± {half:.2f}"
    others = [f"{runtime} {value:.2f}" for run in runs for runtime, value in run["top1"].items() if runtime != "bantam"]
    singles = ", ".join(f"{value:.2f}" for value in values)
    seconds = statistics.median(run["seconds"] for run in runs)
    return [name, f"{mean:.2f}{interval}", singles, ", ".join(others), f"{seconds:.0f}"]


def main():
    options = parse_arguments()
    parts = [part for part in options.only.split(",") if part]
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in RECIPES:
            if parts and not any(part in name for part in parts):
                continue
            results[name] = []
            for seed in options.seeds:
                results[name].append(train(options, name, seed, folder))
                print(f"{name}, seed {seed}: {results[name][-1]}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(results))
        return
    print(markdown.table(["", "top-1, mean", "each seed", "in other runtimes", "seconds"], [row(*item) for item in results.items()]))


if __name__ == "__main__":
    main()
