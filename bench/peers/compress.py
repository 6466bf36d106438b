"""`bantam compress` beside NNCF's accuracy control: the same budget, calibration images and images that decide.

    sh bench/peers/venv.sh
    cargo build --release
    VIRTUAL_ENV=bench/peers/.venv bench/peers/.venv/bin/python bench/peers/compress.py --data-dir DATA [--models resnet20,resnet56]
        [--max-drop 0.5] [--validation 2000] [--json]

The first --validation test images decide, the others score the results. NNCF puts layers back into float until the budget is kept; Bantam also
chooses channels and bits: to be small, and to be fast in OpenVINO and in ONNX Runtime. Seconds are those of the whole process. DATA holds cifar10 and models.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import manifest
import markdown
import process
from settings import FOLDER

REPOSITORY = FOLDER.parent.parent
SEARCHES = {
    "bantam compress --minimize size": ["--minimize", "size"],
    "bantam compress --minimize latency --target openvino": ["--minimize", "latency", "--target", "openvino", "--batch", "64"],
    "bantam compress --minimize latency --target onnxruntime": ["--minimize", "latency", "--target", "onnxruntime", "--batch", "64"],
}
NNCF = "NNCF accuracy control"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--models", default="resnet20,resnet56", help="names under DATA/models, comma-separated")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--max-drop", type=float, default=0.5, help="points of top-1")
    parser.add_argument("--validation", type=int, default=2000, help="test images that decide")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("no data folder\nhint: give --data-dir or set BANTAM_DATA")
    options.data_dir = Path(options.data_dir).resolve()
    return options


def commands(options, model, data, folder):
    """{name: (command, file that it writes)}."""
    drop = ["--max-drop", str(options.max_drop)]
    result = {}
    for number, (name, words) in enumerate(SEARCHES.items()):
        output = folder / f"bantam{number}.onnx"
        command = [options.bantam, "compress", model, "--data", data, *drop, *words, "--json", "-o", output]
        result[name] = (command, output)
    output = folder / "nncf.xml"
    child = [sys.executable, FOLDER / "compress_nncf.py", model, "--data", data, *drop, "-o", output]
    return {**result, NNCF: (child, output)}


def measure(options, name, folder):
    """{tool: {"seconds", "megabytes", "bytes", "runtimes"}} of one network, the float network among them."""
    data = manifest.write(folder, options.data_dir, options.validation)
    model = options.data_dir / "models" / f"{name}.onnx"
    results, files = {}, {"float": str(model)}
    for tool, (command, output) in commands(options, model, data, folder).items():
        print(f"{name}: {tool}", file=sys.stderr, flush=True)
        run = process.run([str(word) for word in command])
        results[tool] = {"seconds": run.seconds, "megabytes": run.peak_megabytes}
        files[tool] = str(output)
    scoring = [sys.executable, FOLDER / "score.py", *files.values(), "--data", data, "--rounds", "3"]
    models = json.loads(subprocess.run(scoring, check=True, stdout=subprocess.PIPE).stdout)["models"]
    return {tool: {**models[path], **results.get(tool, {})} for tool, path in files.items()}


def row(tool, result, reference):
    """One line of the table: what each runtime says of the file."""
    cells = [tool, "" if "seconds" not in result else f"{result['seconds']:.1f}", f"{result['bytes'] / 1000:.0f}"]
    for runtime in ("onnxruntime", "openvino"):
        said, of_float = result["runtimes"].get(runtime), reference["runtimes"][runtime]
        if said is None or "error" in said:
            cells += ["–", "–"]
            continue
        cells.append(f"{said['top1'] - of_float['top1']:+.2f}" if result is not reference else f"{said['top1']:.2f}")
        cells.append(f"{said['latency_ms']:.1f} ({of_float['latency_ms'] / said['latency_ms']:.2f})")
    return cells


def main():
    options = parse_arguments()
    results = {}
    for name in options.models.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            results[name] = measure(options, name, Path(temporary))
    if options.json:
        print(json.dumps(results))
        return
    for name, rows in results.items():
        print(f"\n{name}, at most {options.max_drop} points on {options.validation} images; points on the other {10000 - options.validation}\n")
        header = ["", "seconds", "kB", "top-1, ONNX Runtime", "ms (times faster)", "top-1, OpenVINO", "ms (times faster)"]
        print(markdown.table(header, [row(tool, result, rows["float"]) for tool, result in rows.items()]))


if __name__ == "__main__":
    main()
