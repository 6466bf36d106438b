"""Conversion of a large model in bounded memory: whole, and killed half-way and resumed, to the same bytes.

    python bench/peers/synthetic.py FOLDER --gigabytes 8
    python bench/peers/interrupted.py FOLDER [--bantam target/release/bantam]

Runs `bantam export --type q4_0` and `bantam quantize --weights int4 --granularity group:128`, each once to its end, then
killed (SIGKILL) when its journal says that a third is done, and resumed. Prints seconds and peak memory of the whole process, of the resumed one,
and of `cat FOLDER/*.safetensors`, and whether the bytes are equal. Files of the results go.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import markdown
import process


def commands(bantam, folder):
    yield "export --type q4_0", [bantam, "export", folder, "--type", "q4_0"], "model.gguf", ["model.gguf"]
    groups = ["--weights", "int4", "--granularity", "group:128", "--no-eval"]
    yield "quantize --weights int4", [bantam, "quantize", folder, *groups], "model.onnx", ["model.onnx", "model.onnx.data"]


def third_done(folder):
    """Whether a journal in the folder says that a third of the pieces is on disk."""
    for path in folder.glob("*.partial.json"):
        try:
            journal = json.loads(path.read_text())
        except FileNotFoundError:  # the work is over
            continue
        if journal["done"] * 3 >= journal["pieces"]:
            return True
    return False


def kill_half_way(command, folder):
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while child.poll() is None and not third_done(folder):
        time.sleep(0.02)
    child.kill()
    return child.wait() != 0


def equal(one, other, names):
    present = [name for name in names if (one / name).exists()]
    same = [subprocess.run(["cmp", one / name, other / name]).returncode == 0 for name in present]
    return all(same) and len(list(one.iterdir())) == len(list(other.iterdir())) == len(present)


def measured(name, run, size=None, note=markdown.DASH):
    size = markdown.number(size and size / 1e9, 2)
    return [name, f"{run.seconds:.1f}", f"{run.processor_seconds:.1f}", f"{run.peak_megabytes:.0f}", size, note]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--bantam", type=pathlib.Path, default=pathlib.Path("target/release/bantam"))
    parser.add_argument("--only", default="", help="part of a run's name")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    rows = [measured("cat", process.run(["sh", "-c", 'cat "$@" > /dev/null', "cat", *map(str, files)]), size)]
    for name, command, output, names in commands(str(arguments.bantam), str(arguments.folder)):
        if arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory(dir=arguments.folder.parent) as one, \
                tempfile.TemporaryDirectory(dir=arguments.folder.parent) as other:
            one, other = pathlib.Path(one), pathlib.Path(other)
            whole = process.run([*command, "-o", str(one / output)])
            bytes_after = sum((one / file).stat().st_size for file in names if (one / file).exists())
            rows.append(measured(name, whole, bytes_after))
            killed = kill_half_way([*command, "-o", str(other / output)], other)
            again = process.run([*command, "--resume", "-o", str(other / output)])
            note = "the same bytes" if equal(one, other, names) else "OTHER BYTES"
            rows.append(measured(f"{name}, resumed", again, bytes_after, note if killed else "was not killed in time"))
    print(markdown.table(["run", "seconds", "processor s", "peak MB", "file GB", "after SIGKILL"], rows))


if __name__ == "__main__":
    main()
