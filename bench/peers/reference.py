"""Golden values: runs a model in ONNX Runtime, saves its outputs and prints the facts that a test quotes.

    python reference.py MODEL.onnx INPUT.npy [--output-dir GOLDEN] [--data MANIFEST] [--limit N]
    python reference.py MODEL.onnx --input a=A.npy --input b=B.npy

With --data the array is preprocessed as the manifest says; without, it is given to the model as it is. Writes
GOLDEN/OUTPUT_NAME.npy for each output and prints one JSON object. Graph optimizations are off unless --optimize.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime

import dataset


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("array", type=Path, nargs="?", help="the first input")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE", help="an input by name")
    parser.add_argument("--data", help="manifest whose preprocessing is applied")
    parser.add_argument("--limit", type=int, help="first N entries of each array")
    parser.add_argument("--output-dir", type=Path, help="folder for one .npy per output")
    parser.add_argument("--optimize", action="store_true", help="with ONNX Runtime's graph optimizations")
    options = parser.parse_args()
    if options.array is None and not options.input:
        parser.error("no input\nhint: give INPUT.npy or --input NAME=FILE")
    return options


def open_session(path, optimize=False):
    """A single-threaded session: its results do not depend on the machine's number of cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def read_inputs(session, options):
    named = [entry.split("=", 1) for entry in options.input]
    if options.array is not None:
        named.append((session.get_inputs()[0].name, options.array))
    arrays = {name: np.load(file)[: options.limit] for name, file in named}
    if options.data is None:
        return arrays
    return {name: dataset.preprocessed(array, options.data, name) for name, array in arrays.items()}


def facts(array):
    """Shape, type, checksum of the bytes, and summary statistics in float64."""
    described = {"shape": array.shape, "dtype": str(array.dtype), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    if array.size and array.dtype.kind in "fiub":
        values = array.astype(np.float64)
        described |= {"min": values.min(), "max": values.max(), "mean": values.mean(), "sum": values.sum()}
        described["first"] = values.ravel()[:8].tolist()
    return described


def main():
    options = parse_arguments()
    session = open_session(options.model, options.optimize)
    inputs = read_inputs(session, options)
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    if options.output_dir:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        for name, array in outputs.items():
            np.save(options.output_dir / f"{name.replace('/', '_')}.npy", array)
    described = {
        "model": options.model.name,
        "onnxruntime": onnxruntime.__version__,
        "inputs": {name: facts(array) for name, array in inputs.items()},
        "outputs": {name: facts(array) for name, array in outputs.items()},
    }
    print(json.dumps(described, indent=2))


if __name__ == "__main__":
    main()
