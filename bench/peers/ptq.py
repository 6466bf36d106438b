"""Static INT8 quantization beside its peers: time and peak memory of the whole process, and what the files are worth.

    sh bench/peers/venv.sh
    bench/peers/.venv/bin/python bench/peers/ptq.py --data-dir DATA [--repeat 5] [--json]

Every round runs every tool once, one after the other; figures are medians over the rounds. DATA holds
models/NAME.onnx and cifar10/cifar10.toml. Peers calibrate on the first 512 training images, or on those in --indices.
See README.md for what the columns mean.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import markdown
import process
from settings import FOLDER, SETTINGS, command

REPOSITORY = FOLDER.parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--models", default="resnet20,resnet56", help="names under DATA/models, comma-separated")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--only", default="", help="comma-separated parts of setting names, such as 'bantam,minmax'")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of quantizing and of timing the results")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--indices", type=Path, help="calibration images for the peers: a text file, one number a line")
    parser.add_argument("--threads", type=int, default=2, help="for the latency of the results")
    parser.add_argument("--keep", type=Path, help="folder to keep the quantized models in")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("no data folder\nhint: give --data-dir or set BANTAM_DATA")
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    return options


def progress(message):
    print(message, file=sys.stderr, flush=True)


def chosen_settings(options):
    """The settings that --only names, without bantam where its binary is absent."""
    parts = [part for part in options.only.split(",") if part]
    settings = [setting for setting in SETTINGS if not parts or any(part in setting.name for part in parts)]
    if not options.bantam.is_file():
        progress(f"skipped: bantam, no binary at {options.bantam}\nhint: cargo build --release, or --bantam PATH")
        settings = [setting for setting in settings if setting.tool != "bantam"]
    if not settings:
        raise SystemExit(f"error: nothing to measure, --only {options.only}")
    return settings


def check_files(options):
    for file in ["cifar10/cifar10.toml", *(f"models/{name}.onnx" for name in options.models.split(","))]:
        if not (options.data_dir / file).is_file():
            raise SystemExit(f"error: no file {options.data_dir / file}\nhint: --data-dir names the folder that holds it")


def cpu_name():
    """The processor's name, as the figures depend on it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def warn_when_busy():
    load = os.getloadavg()[0]
    if load > 0.5:
        progress(f"warning: load average {load:.1f}: other programs are running, times will be too long")


def measure(settings, model, manifest, folder, options):
    """One row per setting: medians over the rounds, or the error that ended its first failing run."""
    runs, errors = {setting: [] for setting in settings}, {}
    for round_number in range(options.repeat):
        for setting in settings:
            if setting in errors:
                continue
            output = folder / setting.file_name
            try:
                run = process.run(command(setting, model, manifest, output, options))
            except process.ProcessFailed as failure:
                errors[setting] = str(failure)
                progress(f"{model.stem}: {setting.name} failed: {failure}")
                continue
            runs[setting].append(run)
            progress(f"{model.stem}: round {round_number + 1}, {setting.name}: {run.seconds:.2f} s")
    return [row(setting, runs[setting], errors.get(setting)) for setting in settings]


def row(setting, runs, error):
    facts = {"name": setting.name, "tool": setting.tool, "method": setting.method, "range": setting.range}
    if error is not None:
        return facts | {"error": error}
    work = [run.work_seconds for run in runs if run.work_seconds is not None]
    return facts | {
        "seconds": statistics.median(run.seconds for run in runs),
        "peak_megabytes": statistics.median(run.peak_megabytes for run in runs),
        "work_seconds": statistics.median(work) if work else None,
        "all_seconds": [run.seconds for run in runs],
        "file": setting.file_name,
    }


def mark_best(rows):
    """Marks the fastest batch size of each peer's method that was measured with several."""
    groups = {}
    for entry in rows:
        if "seconds" in entry:
            groups.setdefault((entry["tool"], entry["method"]), []).append(entry)
    for group in groups.values():
        if len(group) > 1:
            min(group, key=lambda entry: entry["seconds"])["best"] = True


def add_scores(rows, model, manifest, folder, options):
    """Adds size, accuracy and latency to the rows, and a row for the float model; returns the versions used."""
    progress(f"{model.stem}: scoring in ONNX Runtime and OpenVINO")
    paths = [str(folder / entry["file"]) for entry in rows if "file" in entry]
    scoring = [sys.executable, str(FOLDER / "score.py"), str(model), *paths, "--data", str(manifest)]
    scoring += ["--threads", str(options.threads), "--rounds", str(options.repeat)]
    output = json.loads(subprocess.run(scoring, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for entry in rows:
        if "file" in entry:
            entry.update(output["models"][str(folder / entry.pop("file"))])
    rows.insert(0, {"name": "float", "tool": "float", "range": "minmax", **output["models"][str(model)]})
    return output["versions"]


def main():
    options = parse_arguments()
    settings = chosen_settings(options)
    check_files(options)
    warn_when_busy()
    manifest = options.data_dir / "cifar10/cifar10.toml"
    results, versions = {}, {}
    for name in options.models.split(","):
        model = options.data_dir / f"models/{name}.onnx"
        with contextlib.ExitStack() as stack:
            folder = options.keep and options.keep / name
            folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bantam-peers-")))
            folder.mkdir(parents=True, exist_ok=True)
            rows = measure(settings, model, manifest, folder, options)
            mark_best(rows)
            versions = add_scores(rows, model, manifest, folder, options)
        results[name] = rows
        if not options.json:
            print(f"\n### {name}, {options.samples} calibration images, median of {options.repeat}\n")
            print(markdown.cost_table(rows), markdown.result_table(rows), sep="\n\n", flush=True)
    cpu = f"{cpu_name()}, {os.cpu_count()} logical cores"
    if options.json:
        facts = {"samples": options.samples, "repeat": options.repeat, "cpu": cpu, "versions": versions}
        print(json.dumps(facts | {"models": results}))
    else:
        names = ", ".join(f"{package} {version}" for package, version in versions.items())
        print(f"\n*: the faster batch size. {cpu}. {names}")
    return any("error" in entry for rows in results.values() for entry in rows)


if __name__ == "__main__":
    sys.exit(main())
