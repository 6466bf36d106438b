"""Perplexity of a language model whose weights are in groups of few bits, by algorithm.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/groups.py --data-dir DATA [--weights int4,uint4] [--groups 32,64]
        [--algorithms nearest,awq,awq+gptq] [--embeddings int4] [--matmulnbits] [--limit 60] [--check] [--json]

Each figure is that of the written file on rows 100 to 752 of the story model's tokens, by a command `bantam quantize --granularity group:N`
that looks at rows 0 to 99; `awq+gptq` is `--smooth awq --algorithm gptq`, `rotate+gptq` is `--rotate`, `rank4+gptq` is `--low-rank 4`,
`outliers1+gptq` is `--outliers 1%`. With
`--limit`, so many rows from row 100 on are scored. DATA holds stories260k, as docs/data.md says.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json

ALGORITHMS = (
    "nearest", "search", "hqq", "stochastic", "awq", "signround", "gptq", "awq+gptq", "least-squares", "awq+least-squares"
)
MANIFEST = """[splits.train]
tokens = "valid_tokens.npy"
rows = [0, 100]
[splits.test]
tokens = "valid_tokens.npy"
rows = [100, 753]
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bantam", type=Path, default=REPOSITORY / "target/release/bantam")
    parser.add_argument("--weights", default="int4,uint4,uint3,uint2")
    parser.add_argument("--groups", default="32,64")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--embeddings", help="format of the embedding, which stays in float where absent")
    parser.add_argument("--matmulnbits", action="store_true", help="score the files that `bantam export --matmulnbits` makes")
    parser.add_argument("--limit", type=int, help="rows that are scored; all where absent")
    parser.add_argument("--check", action="store_true", help="score the files in ONNX Runtime too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "stories260k").is_dir():
        parser.error("no data folder with stories260k\nhint: give --data-dir or set BANTAM_DATA")
    return options


def perplexity(options, model, manifest, runtime):
    words = ["eval", str(model), "--data", str(manifest), "--metric", "perplexity", "--runtime", runtime]
    words += [] if options.limit is None else ["--limit", str(options.limit)]
    return run_json(options, *words)["metrics"]["perplexity"]["value"]


def quantize(options, manifest, weights, group, algorithm):
    """Perplexity by runtime, size and time of one file."""
    output = manifest.parent / "model.onnx"
    model = Path(options.data_dir) / "stories260k"
    words = ["quantize", str(model), "--data", str(manifest), "--samples", "100", "--weights", weights]
    first, _, second = algorithm.rpartition("+")
    words += ["--granularity", f"group:{group}", "--algorithm", second, "--no-eval", "-o", str(output)]
    if first == "rotate":
        words += ["--rotate"]
    elif first.startswith("rank"):
        words += ["--low-rank", first.removeprefix("rank")]
    elif first.startswith("outliers"):
        words += ["--outliers", first.removeprefix("outliers") + "%"]
    elif first:
        words += ["--smooth", first]
    if options.embeddings:
        words += ["--embeddings", options.embeddings]
    report = run_json(options, *words)
    if options.matmulnbits:
        joined = manifest.parent / "joined.onnx"
        report["bytes_after"] = run_json(options, "export", str(output), "--matmulnbits", "-o", str(joined))["bytes_after"]
        output = joined
    runtimes = ["bantam", "onnxruntime"] if options.check else ["bantam"]
    found = {runtime: perplexity(options, output, manifest, runtime) for runtime in runtimes}
    facts = {"weights": weights, "group": group, "algorithm": algorithm, "perplexity": found}
    return facts | {"bytes": report["bytes_after"], "seconds": report["seconds"]}


def cell(run, first):
    """Perplexity and time, and the size where it is not that of the first."""
    figures = " / ".join(f"{value:.3f}" for value in run["perplexity"].values())
    size = "" if run["bytes"] == first["bytes"] else f", {run['bytes'] / 1000:.0f} kB"
    return f"{figures} ({run['seconds']:.1f} s{size})"


def main():
    options = parse_arguments()
    algorithms = options.algorithms.split(",")
    kinds = [(weights, group) for group in options.groups.split(",") for weights in options.weights.split(",")]
    runs, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "stories.toml"
        manifest.write_text(MANIFEST)
        (Path(folder) / "valid_tokens.npy").symlink_to(Path(options.data_dir).resolve() / "stories260k/valid_tokens.npy")
        for weights, group in kinds:
            of_kind = [quantize(options, manifest, weights, group, algorithm) for algorithm in algorithms]
            print(of_kind, file=sys.stderr, flush=True)
            runs += of_kind
            rows.append([f"{weights}, {group}", f"{of_kind[0]['bytes'] / 1000:.0f}", *(cell(run, of_kind[0]) for run in of_kind)])
    if options.json:
        print(json.dumps(runs))
        return
    print(markdown.table(["weights, group", "kB", *algorithms], rows))


if __name__ == "__main__":
    main()
