"""What codes of few bits take in files, and how fast runtimes are with them: packed beside ONNX's own types of 4 and 8 bits.

    sh bench/peers/venv.sh
    cargo build --release
    VIRTUAL_ENV=bench/peers/.venv bench/peers/.venv/bin/python bench/peers/packed.py --data-dir DATA [--model resnet20]
        [--weights int4,int2] [--batch 32] [--json]

For each format of weights the model is quantized (`least-squares`, 512 samples), written in both ways, scored on all test images in ONNX Runtime and timed
in ONNX Runtime, OpenVINO and Bantam, float beside them. DATA holds cifar10 and models, as docs/data.md says.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json

FORMATS = "int8,int6,int5,int4,int3,int2"
RUNTIMES = ("onnxruntime", "openvino", "bantam")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--model", default="resnet20", help="a name under DATA/models")
    parser.add_argument("--weights", default=FORMATS, help="comma-separated")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir)
    return options


def measure(options, file):
    """Bytes, top-1 in ONNX Runtime, and milliseconds in each runtime; what cannot run a file is left out."""
    data = options.data_dir / "cifar10/cifar10.toml"
    score = run_json(options, "eval", str(file), "--data", str(data), "--runtime", "onnxruntime")
    row = {"bytes": file.stat().st_size, "top1": 100 * score["metrics"]["top1"]["value"]}
    for runtime in RUNTIMES:
        try:
            timed = run_json(options, "bench", str(file), "--batch", str(options.batch), "--runtime", runtime)
            row[runtime] = timed["runtimes"][0]["latency"]["median"]
        except RuntimeError as error:
            print(f"{file.name} in {runtime}: {error}", file=sys.stderr)
    return row


def quantized(options, weights, native, folder):
    model = options.data_dir / "models" / f"{options.model}.onnx"
    file = Path(folder) / f"{weights}-{'native' if native else 'packed'}.onnx"
    words = ["quantize", str(model), "--data", str(options.data_dir / "cifar10/cifar10.toml"), "--no-eval"]
    words += ["--weights", weights, "--algorithm", "least-squares", "-o", str(file)]
    run_json(options, *words, *(["--native-codes"] if native else []))
    return measure(options, file)


def cells(name, row):
    times = [markdown.number(row.get(runtime), 2) for runtime in RUNTIMES]
    return [name, f"{row['bytes'] / 1000:.1f}", f"{row['top1']:.2f}", *times]


def main():
    options = parse_arguments()
    rows = {"float": measure(options, options.data_dir / "models" / f"{options.model}.onnx")}
    with tempfile.TemporaryDirectory() as folder:
        for weights in options.weights.split(","):
            for native in (True, False) if weights != "int8" else (False,):
                name = weights if weights == "int8" else f"{weights}, {'native' if native else 'packed'}"
                rows[name] = quantized(options, weights, native, folder)
                print(name, rows[name], file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(rows))
        return
    header = ["weights", "kB", "top-1 % in ONNX Runtime", "ms there", "ms in OpenVINO", "ms in Bantam"]
    print(markdown.table(header, [cells(name, row) for name, row in rows.items()]))


main()
