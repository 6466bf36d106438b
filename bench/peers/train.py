"""Training beside PyTorch and Brevitas on the CPU: images per second, in turns, and peak memory.

    sh bench/peers/venv.sh --train
    cargo build --release
    bench/peers/.venv/bin/python bench/peers/train.py --data-dir DATA [--rounds 5] [--json]

Each peer is a process of its own that lives through the run and waits while others work. In each round every row
trains one step that does not count and some that do; a figure is the median over all steps. Memory is the process's high-water mark. The networks are
those of `bantam new`; their numbers of parameters are compared. DATA holds cifar10/cifar10.toml.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import markdown

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parent.parent


@dataclass(frozen=True)
class Row:
    """What trains which network, and how: words after the network's name, for both kinds of peers."""

    network: str
    peer: str
    name: str
    arguments: tuple = ()


def rows_of(network):
    """PyTorch in both memory layouts and Bantam; for the CIFAR ResNet also forward passes, bf16 and quantization."""
    last = ("--channels-last",)
    rows = [Row(network, "torch", "float"), Row(network, "torch", "float, channels last", last)]
    rows += [Row(network, "bantam", "float")]
    rows += [Row(network, "torch", "bf16 autocast, channels last", (*last, "--bf16"))]
    if network == "resnet20":
        rows += [Row(network, "bantam", "bf16", ("--precision", "bf16"))]
        rows += [Row(network, "torch", "forward only, channels last", (*last, "--forward"))]
        for bits in (8, 4, 2):
            name = f"W{bits}A{bits}"
            rows += [Row(network, "brevitas", f"{name}, channels last", (*last, "--bits", str(bits)))]
            words = ("--quantize", "--weights", f"int{bits}", "--activations", f"uint{bits}")
            rows += [Row(network, "bantam", name, words)]
    return rows


NETWORKS = ("resnet20", "mobilenet-small", "encoder-tiny")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="comma-separated")
    parser.add_argument("--only", default="", help="comma-separated parts of rows, such as 'bantam,W4A4'")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="of each row in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "cifar10/cifar10.toml").is_file():
        parser.error("no data folder with cifar10/cifar10.toml\nhint: give --data-dir or set BANTAM_DATA")
    options.manifest = Path(options.data_dir) / "cifar10/cifar10.toml"
    return options


def progress(message):
    print(message, file=sys.stderr, flush=True)


class Torch:
    """A PyTorch or Brevitas process that stays."""

    def __init__(self, row, options, _):
        command = [sys.executable, "-W", "ignore", str(FOLDER / "train_torch.py"), row.network, *row.arguments]
        command += ["--data", str(options.manifest), "--batch", str(options.batch)]
        command += ["--steps", str(options.steps), "--threads", str(options.threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.parameters = self.answer()["parameters"]

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with code {self.process.wait()}")
        return json.loads(line)

    def round(self):
        """Images per second of each step, and the memory so far."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.answer()
        return answer["images_per_second"], answer["peak_megabytes"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Bantam:
    """`bantam new` once, then one `bantam train` of as many steps in each round."""

    def __init__(self, row, options, folder):
        self.row, self.options = row, options
        self.model = folder / f"{row.network}.onnx"
        self.output = folder / f"{row.network}-trained.onnx"
        command = [str(options.bantam), "new", row.network, "--classes", "10", "--json", "-o", str(self.model)]
        self.parameters = run_json(command)[0]["trainable_parameters"]

    def round(self):
        steps = self.options.steps
        command = [str(self.options.bantam), "train", str(self.model), "--data", str(self.options.manifest)]
        command += ["--epochs", "1", "--batch", str(self.options.batch), "--max-steps", str(steps)]
        command += [*self.row.arguments, "--no-eval", "--json", "-o", str(self.output)]
        report, memory = run_json(command, RAYON_NUM_THREADS=str(self.options.threads))
        return [report["samples_per_second"]] * steps, memory

    def close(self):
        pass


def run_json(command, **variables):
    """The JSON object that a command prints, and its peak memory in 10^6 bytes."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        child = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **variables})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # already reaped by wait4
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != 0:
            raise RuntimeError(stderr.read().strip()[-300:])
        return json.loads(stdout.read()), usage.ru_maxrss * 1024 / 1e6


PEERS = {"torch": Torch, "brevitas": Torch, "bantam": Bantam}


def start(rows, options, folder):
    """The peers of the rows that start, and the errors of the others."""
    started, errors = {}, {}
    for row in rows:
        try:
            started[row] = PEERS[row.peer](row, options, folder)
        except (RuntimeError, OSError) as error:
            errors[row] = str(error)
            progress(f"{row.network}, {row.peer} {row.name}: {error}")
    counts = {peer.parameters for peer in started.values()}
    if len(counts) > 1:
        raise SystemExit(f"error: the peers do not train the same network: {sorted(counts)} parameters")
    return started, errors


def measure(rows, options, folder):
    """Results of all rows of one network, in turns."""
    started, errors = start(rows, options, folder)
    speeds = {row: [] for row in started}
    memory = {}
    for index in range(options.rounds):
        for row, peer in list(started.items()):
            try:
                measured, memory[row] = peer.round()
                speeds[row] += measured
            except (RuntimeError, OSError, KeyError) as error:
                errors[row] = f"{type(error).__name__}: {error}"
                del started[row]
        progress(f"{rows[0].network}: round {index + 1} of {options.rounds}")
    for peer in started.values():
        peer.close()
    return [result(row, speeds, memory, errors) for row in rows]


def result(row, speeds, memory, errors):
    entry = {"network": row.network, "peer": row.peer, "setting": row.name}
    if row in errors:
        return entry | {"error": errors[row]}
    return entry | {"images_per_second": statistics.median(speeds[row]), "peak_megabytes": memory[row]}


def table(results):
    """Ratios are to PyTorch's faster float row of the network."""
    header = ["network", "what", "images/s", "ratio to PyTorch float", "peak MB"]
    best = {}
    for entry in results:
        if entry["peer"] == "torch" and entry["setting"].startswith("float"):
            best[entry["network"]] = max(best.get(entry["network"], 0), entry.get("images_per_second", 0))
    lines = []
    for entry in results:
        speed = entry.get("images_per_second")
        reference = best.get(entry["network"])
        ratio = speed / reference if speed and reference else None
        what = f"{entry['peer']} {entry['setting']}"
        if "error" in entry:
            what += " (failed: " + " ".join(entry["error"].split())[:120].replace("|", "/") + ")"
        memory = entry.get("peak_megabytes")
        lines.append([entry["network"], what, markdown.number(speed, 0), markdown.number(ratio, 2), markdown.number(memory, 0)])
    return markdown.table(header, lines)


def main():
    options = parse_arguments()
    if os.getloadavg()[0] > 0.5:
        progress("warning: other programs are running, speeds will be too low")
    parts = [part for part in options.only.split(",") if part]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks.split(","):
            chosen = [row for row in rows_of(network) if not parts or any(part in f"{row.peer} {row.name}" for part in parts)]
            results += measure(chosen, options, Path(folder))
    if options.json:
        print(json.dumps({"threads": options.threads, "batch": options.batch, "rows": results}))
        return
    print(f"{options.threads} threads, batch {options.batch}, median over {options.rounds} rounds of {options.steps} steps\n")
    print(table(results))


if __name__ == "__main__":
    main()
