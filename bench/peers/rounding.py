"""GPTQ and AdaRound on a ResNet of docs/data.md beside Brevitas, in one run: seconds, peak memory, top-1.

    sh bench/peers/venv.sh --train
    cargo build --release
    bench/peers/.venv/bin/python bench/peers/rounding.py --data-dir DATA [--methods gptq,adaround] [--widths W4A8] [--repeat 3] [--json]

1,024 training images without labels, two threads. Bantam's seconds and memory are those of the whole process `bantam quantize --no-eval`;
those of Brevitas (rounding_brevitas.py) leave out imports, loading and scoring. Each round runs every row once; figures are medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import markdown
import process
from accuracy import REPOSITORY, run_json

METHODS = ("gptq", "adaround")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--python", default=sys.executable, help="that has Brevitas")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--widths", default="W4A8")
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("no data folder\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    return options


def bantam(options, algorithm, width, folder):
    weights, activations = width[1:].split("A")
    manifest = str(options.data_dir / "cifar10/cifar10.toml")
    output = str(Path(folder) / "model.onnx")
    words = ["quantize", str(options.data_dir / f"models/resnet{options.depth}.onnx"), "--data", manifest, "--no-eval"]
    words += ["--weights", f"int{weights}", "--activations", f"uint{activations}", "--edges", "int8"]
    words += ["--samples", str(options.samples), "--algorithm", algorithm, "-o", output]
    measured = process.run([str(options.bantam), *words])
    top1 = run_json(options, "eval", output, "--data", manifest, "--metric", "top1")["metrics"]["top1"]["value"]
    return {"seconds": measured.seconds, "peak_megabytes": measured.peak_megabytes, "top1": 100 * top1}


def brevitas(options, method, width, _):
    script = Path(__file__).with_name("rounding_brevitas.py")
    words = ["--data-dir", str(options.data_dir), "--depth", str(options.depth), "--width", width, "--method", method]
    words += ["--samples", str(options.samples)]
    done = subprocess.run([options.python, script, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    return json.loads(done.stdout.strip().rsplit("\n", 1)[-1])


def rows(options):
    for width in options.widths.split(","):
        for method in options.methods.split(","):
            yield (width, method, "Brevitas"), brevitas, method
            yield (width, method, "Bantam"), bantam, method
        yield (width, "least-squares", "Bantam"), bantam, "least-squares"


def main():
    options = parse_arguments()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            for name, run, method in rows(options):
                found.setdefault(name, []).append(run(options, method, name[0], folder))
                print(name, found[name][-1], file=sys.stderr, flush=True)
    median = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()}
    if options.json:
        print(json.dumps([dict(zip(("width", "method", "tool"), name)) | row for name, row in median.items()]))
        return
    lines = []
    for (width, method, tool), row in median.items():
        peer = median.get((width, method, "Brevitas"))
        ratio = peer["seconds"] / row["seconds"] if peer and tool == "Bantam" else None
        lines.append([width, method, tool, f"{row['top1']:.2f}", f"{row['seconds']:.1f}", f"{row['peak_megabytes']:.0f}", markdown.number(ratio, 1)])
    print(markdown.table(["codes", "method", "tool", "top-1 %", "seconds", "peak MB", "times faster"], lines))


if __name__ == "__main__":
    main()
