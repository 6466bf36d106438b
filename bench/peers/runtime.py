"""Running networks beside ONNX Runtime and OpenVINO: latency in turns, peak memory apart, one thread against two.

    sh bench/peers/venv.sh
    cargo xtask models
    VIRTUAL_ENV=bench/peers/.venv bench/peers/.venv/bin/python bench/peers/runtime.py [--data-dir DATA] [--json]

Each row is one `bantam bench`, in which the runtimes take turns; figures are medians. The ratio is Bantam's time to that
of the faster of the other two. DATA holds models/resnet20.onnx, models/resnet56.onnx and cifar10/cifar10.toml; without it
these two are left out. `--isa avx2` forces Bantam and OpenVINO to AVX2 (ONNX Runtime cannot be told).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import markdown

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CIFAR = ["resnet20", "resnet56"]
NETWORKS = ["resnet50", "mobilenet_v2", "efficientnet_b0", "encoder"]
RUNTIMES = ["bantam", "onnxruntime", "openvino"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", type=Path, default=REPOSITORY / "target/models", help="what `cargo xtask models` wrote")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--only", default="", help="comma-separated parts of model names")
    parser.add_argument("--batches", default="", help="default: 1,32 and for the CIFAR networks 1,64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="rounds that count; four times as many at batch 1")
    parser.add_argument("--isa", default="", help="forces an instruction set: avx2")
    parser.add_argument("--one-thread", action="store_true", help="also on one thread, with the scaling")
    parser.add_argument("--no-memory", action="store_true", help="leaves the memory out")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    return parser.parse_args()


def progress(message):
    print(message, file=sys.stderr, flush=True)


def environment(options):
    variables = dict(os.environ)
    if options.isa:
        variables["BANTAM_ISA"] = options.isa
        variables["ONEDNN_MAX_CPU_ISA"] = variables["DNNL_MAX_CPU_ISA"] = options.isa.upper()
    return variables


def bench(options, model, batch, threads, runtimes, rounds):
    command = [str(options.bantam), "bench", str(model), "--json", "--batch", str(batch), "--threads", str(threads)]
    command += ["--runtime", ",".join(runtimes), "--rounds", str(rounds), "--warm-up", "2"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(options))
    if run.returncode != 0:
        raise SystemExit(f"error: {model.name}: {run.stderr.strip()[-400:]}")
    return json.loads(run.stdout)


def cifar_models(options, folder):
    """The CIFAR networks and their INT8 forms, quantized now with the defaults."""
    if options.data_dir is None or not (options.data_dir / "models/resnet20.onnx").is_file():
        progress("skipped: resnet20 and resnet56, no data folder\nhint: give --data-dir or set BANTAM_DATA")
        return []
    found = []
    for name in CIFAR:
        model = options.data_dir / f"models/{name}.onnx"
        quantized = folder / f"{name}-int8.onnx"
        command = [str(options.bantam), "quantize", str(model), "--no-eval", "-o", str(quantized)]
        command += ["--data", str(options.data_dir / "cifar10/cifar10.toml")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found += [(name, model), (f"{name}-int8", quantized)]
    return found


def models(options, folder):
    found = cifar_models(options, folder)
    for name in NETWORKS:
        for form in [name, f"{name}-int8"]:
            path = options.models / f"{form}.onnx"
            if not path.is_file():
                raise SystemExit(f"error: no file {path}\nhint: cargo xtask models")
            found.append((form, path))
    parts = [part for part in options.only.split(",") if part]
    return [model for model in found if not parts or any(part in model[0] for part in parts)]


def batches(options, name):
    if options.batches:
        return [int(batch) for batch in options.batches.split(",")]
    return [1, 64] if name.removesuffix("-int8") in CIFAR else [1, 32]


def measure(options, name, model, batch):
    """One row: milliseconds, memory and scaling by runtime."""
    rounds = options.rounds * (4 if batch == 1 else 1)
    runtimes = [runtime for runtime in RUNTIMES if runtime != "onnxruntime" or not options.isa]
    report = bench(options, model, batch, options.threads, runtimes, rounds)
    row = {"model": name, "batch": batch, "milliseconds": latencies(runtimes, report), "gflops": report["runtimes"][0]["gflops"]}
    others = [row["milliseconds"][runtime] for runtime in runtimes[1:]]
    row["ratio"] = row["milliseconds"]["bantam"] / min(others)
    if options.one_thread:
        single = latencies(runtimes, bench(options, model, batch, 1, runtimes, rounds))
        row["scaling"] = {runtime: single[runtime] / row["milliseconds"][runtime] for runtime in runtimes}
    if not options.no_memory:
        alone = {runtime: bench(options, model, batch, options.threads, [runtime], 3) for runtime in runtimes}
        row["megabytes"] = {runtime: report["peak_memory"] / 1e6 for runtime, report in alone.items()}
    progress(f"{name}, batch {batch}: {row['ratio']:.2f}")
    return row


def latencies(runtimes, report):
    medians = [entry["latency"]["median"] for entry in report["runtimes"]]
    return dict(zip(runtimes, medians, strict=True))


def table(rows):
    header = ["network", "batch", "Bantam ms", "ONNX Runtime ms", "OpenVINO ms", "ratio to the faster"]
    keys = [("megabytes", "MB", 0), ("scaling", "scaling", 2)]
    keys = [key for key in keys if any(key[0] in row for row in rows)]
    header += [f"{unit} (Bantam / ONNX Runtime / OpenVINO)" for _, unit, _ in keys]
    lines = []
    for row in rows:
        line = [row["model"], str(row["batch"])]
        line += [markdown.number(row["milliseconds"].get(runtime), 2) for runtime in RUNTIMES]
        line.append(markdown.number(row["ratio"], 2))
        for key, _, digits in keys:
            line.append(" / ".join(markdown.number(row.get(key, {}).get(runtime), digits) for runtime in RUNTIMES))
        lines.append(line)
    return markdown.table(header, lines)


def main():
    options = parse_arguments()
    if os.getloadavg()[0] > 0.5:
        progress("warning: other programs are running, times will be too long")
    with tempfile.TemporaryDirectory() as folder:
        chosen = models(options, Path(folder))
        rows = [measure(options, name, path, batch) for name, path in chosen for batch in batches(options, name)]
    if options.json:
        print(json.dumps({"threads": options.threads, "isa": options.isa or "best", "rows": rows}))
        return
    print(f"{options.threads} threads, median milliseconds{', ' + options.isa if options.isa else ''}\n")
    print(table(rows))


if __name__ == "__main__":
    main()
