"""Weights of a language model to few bits, beside llama.cpp, in one run: seconds of the whole process, peak memory, size.

    pip install numpy==2.4.6 gguf==0.19.0 llama-cpp-python==0.3.36     # into an environment of its own
    cargo build --release
    python bench/peers/convert.py --folder /tmp/convert --gigabytes 2

The model is made up (synthetic.py): blocks of the shape of a Llama, seeded normal weights in bf16. llama.cpp gets them as a GGUF file
of the same type, which `bantam export` writes; Bantam reads the folder, and with `--rows gguf` that file too. llama.cpp runs
`llama_model_quantize` with `pure`, so that all matrices get the type, on as many threads. In each round every row runs once; figures are
medians. `--sync` has the time in which the system brings llama.cpp's result to the disk counted, as Bantam's always is.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import markdown
import process

# The numbers of llama.cpp's enum llama_ftype.
TYPES = {"q8_0": 7, "q4_0": 2, "q4_k": 15, "q6_k": 18}
# A process that only quantizes: peak memory is its own.
PEER = """
import ctypes, os, sys
import llama_cpp
parameters = llama_cpp.llama_model_quantize_default_params()
parameters.ftype = int(sys.argv[3])
parameters.nthread = int(sys.argv[4])
parameters.pure = True
silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
code = llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters))
if "--sync" in sys.argv:
    descriptor = os.open(sys.argv[2], os.O_RDONLY)
    os.fsync(descriptor)
sys.exit(code)
"""


def rows(arguments, folder, source):
    """Name, command, and the file that it writes."""
    bantam = [str(arguments.bantam)]
    for name, number in TYPES.items():
        if arguments.only and not any(part in name for part in arguments.only.split(",")):
            continue
        output = folder / f"bantam-{name}.gguf"
        yield f"{name}, Bantam", [*bantam, "export", str(folder / "model"), "--type", name, "-o", str(output)], output
        if arguments.rows == "gguf":
            output = folder / f"bantam-file-{name}.gguf"
            yield f"{name}, Bantam, GGUF", [*bantam, "export", str(source), "--type", name, "-o", str(output)], output
        output = folder / f"llama-{name}.gguf"
        peer = [sys.executable, "-c", PEER, str(source), str(output), str(number), str(arguments.threads)]
        yield f"{name}, llama.cpp", peer + (["--sync"] if arguments.sync else []), output
    for name, group in (("int4", 128), ("nf4", 64)):
        if arguments.only and name not in arguments.only:
            continue
        output = folder / f"bantam-{name}.onnx"
        words = ["--weights", name, "--granularity", f"group:{group}", "--no-eval", "-o", str(output)]
        yield f"{name} groups of {group}, Bantam", [*bantam, "quantize", str(folder / "model"), *words], output


def size(output):
    files = [output, output.with_name(output.name + ".data")]
    return sum(file.stat().st_size for file in files if file.exists())


def remove(output):
    for file in (output, output.with_name(output.name + ".data")):
        file.unlink(missing_ok=True)


def measure(arguments, folder, source):
    found = {}
    for _ in range(arguments.repeat):
        for name, command, output in rows(arguments, folder, source):
            try:
                measured = process.run(command)
            except process.ProcessFailed as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            found.setdefault(name, []).append((measured.seconds, measured.peak_megabytes, size(output), measured.processor_seconds))
            remove(output)
    return found


def table(found, gigabytes):
    lines = []
    seconds = {name: statistics.median(run[0] for run in runs) for name, runs in found.items()}
    for name, runs in found.items():
        peer = seconds.get(name.split(",")[0] + ", llama.cpp")
        lines.append({
            "row": name,
            "whole process s": f"{seconds[name]:.2f}",
            "processor s": f"{statistics.median(run[3] for run in runs):.2f}",
            "input GB/s": f"{gigabytes / seconds[name]:.3f}",
            "peak MB": f"{max(run[1] for run in runs):.0f}",
            "file MB": f"{runs[0][2] / 1e6:.0f}",
            "times llama.cpp": markdown.number(peer and peer / seconds[name], 2),
        })
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="made where it is absent; files are kept")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--bantam", type=pathlib.Path, default=pathlib.Path("target/release/bantam"))
    parser.add_argument("--only", help="parts of names of types, separated by commas")
    parser.add_argument("--rows", choices=["folder", "gguf"], default="folder")
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    model = arguments.folder / "model"
    if not (model / "config.json").exists():
        generator = pathlib.Path(__file__).with_name("synthetic.py")
        subprocess.run([sys.executable, generator, model, "--gigabytes", str(arguments.gigabytes)], check=True)
    source = arguments.folder / "model.gguf"
    if not source.exists():
        subprocess.run([str(arguments.bantam), "export", str(model), "-o", str(source)], check=True)
    found = measure(arguments, arguments.folder, source)
    lines = table(found, source.stat().st_size / 1e9)
    if arguments.json:
        print(json.dumps(lines))
    elif lines:
        print(markdown.table(list(lines[0]), [list(line.values()) for line in lines]))


if __name__ == "__main__":
    main()
