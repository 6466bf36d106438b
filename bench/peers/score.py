"""Scores models in ONNX Runtime and in OpenVINO: top-1, share of images whose top-1 differs from the float model's in
the same runtime, and latency (interleaved over the models, medians). Prints one JSON object. Child of ptq.py.

    python score.py FLOAT.onnx [MODEL.onnx | MODEL.xml]... --data MANIFEST
"""

import argparse
import importlib.metadata
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import openvino

import dataset

SCORING_BATCH = 250
WARM_UP_RUNS = 3
TIMED_RUNS = 10


def onnxruntime_runner(path, threads, shape=None):
    """A function from a batch to logits; `shape` is not needed here."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def openvino_runner(path, threads, shape=None):
    """A function from a batch to logits; a fixed `shape` is compiled in when given."""
    core = openvino.Core()
    model = core.read_model(path)
    if shape is not None:
        model.reshape(shape)
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda x: request.infer(x, share_inputs=True)[0]


RUNNERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}


def runtimes_of(path):
    return [name for name in RUNNERS if name == "openvino" or path.endswith(".onnx")]


def predictions(runner, split):
    batches = (slice(start, start + SCORING_BATCH) for start in range(0, len(split), SCORING_BATCH))
    return np.concatenate([runner(split.images(batch)).argmax(1) for batch in batches])


def median_latency(runner, batch):
    """Milliseconds of one run, the median of TIMED_RUNS."""
    for _ in range(WARM_UP_RUNS):
        runner(batch)
    times = []
    for _ in range(TIMED_RUNS):
        start = time.perf_counter()
        runner(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def score_accuracy(paths, split, threads):
    """{path: {runtime: {"top1", "disagree"} or {"error"}}} in percent; the first path is the float reference."""
    reference, scores = {}, {path: {} for path in paths}
    for path in paths:
        for runtime in runtimes_of(path):
            try:
                predicted = predictions(RUNNERS[runtime](path, threads), split)
            except Exception as error:  # what a runtime says about a file that it refuses is a result
                scores[path][runtime] = {"error": str(error)}
                continue
            reference.setdefault(runtime, predicted)
            scores[path][runtime] = {
                "top1": 100 * float(np.mean(predicted == split.labels)),
                "disagree": 100 * float(np.mean(predicted != reference[runtime])),
            }
    return scores


def add_latency(scores, batch, rounds, threads):
    """Adds "latency_ms": the median over rounds, each of which visits every model in every runtime once."""
    runs = [(path, runtime) for path in scores for runtime in scores[path]]
    measured = {run: [] for run in runs if "error" not in scores[run[0]][run[1]]}
    for _ in range(rounds):
        for (path, runtime), values in measured.items():
            values.append(median_latency(RUNNERS[runtime](path, threads, batch.shape), batch))
    for (path, runtime), values in measured.items():
        scores[path][runtime]["latency_ms"] = statistics.median(values)


def file_bytes(path):
    """Size of the model, with the weights beside it where the format has two files."""
    weights = Path(path).with_suffix(".bin")
    return Path(path).stat().st_size + (weights.stat().st_size if path.endswith(".xml") else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    split = dataset.Split(options.data, "test")
    scores = score_accuracy(options.models, split, options.threads)
    add_latency(scores, split.images(slice(0, options.batch)), options.rounds, options.threads)
    packages = ("onnxruntime", "openvino", "nncf", "onnxsim", "onnx", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    results = {path: {"bytes": file_bytes(path), "runtimes": scores[path]} for path in options.models}
    print(json.dumps({"versions": versions, "images": len(split), "models": results}))


if __name__ == "__main__":
    main()
