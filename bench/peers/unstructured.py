"""What removing single weights and patterns of them costs on real data, without training.

    cargo build --release
    bench/peers/.venv/bin/python bench/peers/unstructured.py --data-dir DATA [--models resnet20,resnet56,stories260k]
        [--criteria magnitude,fisher] [--amounts 50%,80%,2:4] [--reconstruct none,least-squares] [--seeds 0] [--steps 1] [--permute]
        [--json]

Each figure is that of the written file, by a command `bantam prune`: top-1 in % on all test images (512 training images looked at), or
perplexity on rows 100 to 752 of the story model's tokens (rows 0 to 99 looked at). `none-as-is` also leaves statistics and biases as
they are. DATA holds cifar10, models and stories260k, as docs/data.md says. Needs no package.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import markdown
from accuracy import REPOSITORY, run_json

CRITERIA = ("magnitude", "lamp", "taylor", "snip", "fisher", "woodfisher", "obs", "synflow", "grasp", "obd", "random")
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
    parser.add_argument("--models", default="resnet20")
    parser.add_argument("--criteria", default=",".join(CRITERIA))
    parser.add_argument("--amounts", default="50%,80%,90%", help="sparsities, or patterns as 2:4")
    parser.add_argument("--reconstruct", default="none-as-is,none,least-squares")
    parser.add_argument("--scope", help="default: the criterion's")
    parser.add_argument("--steps", default="1")
    parser.add_argument("--permute", action="store_true", help="of patterns: let channels change places first")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data_dir is None or not (Path(options.data_dir) / "models").is_dir():
        parser.error("no data folder with models\nhint: give --data-dir or set BANTAM_DATA")
    return options


def files(options, model, folder):
    """The model, the data set and the metric."""
    data = Path(options.data_dir)
    if model != "stories260k":
        return data / "models" / f"{model}.onnx", data / "cifar10/cifar10.toml", "top1"
    manifest = Path(folder) / "stories.toml"
    if not manifest.exists():
        manifest.write_text(MANIFEST)
        (Path(folder) / "valid_tokens.npy").symlink_to(data.resolve() / "stories260k/valid_tokens.npy")
    return data / model, manifest, "perplexity"


def prune(options, kind, seed, folder):
    """The score and the time of one run."""
    model, criterion, amount, reconstruct = kind
    source, manifest, metric = files(options, model, folder)
    output = Path(folder) / "model.onnx"
    words = ["prune", str(source), "--data", str(manifest), "--criterion", criterion, "--seed", str(seed), "--no-eval"]
    words += ["--structure", amount] if ":" in amount else ["--sparsity", amount]
    words += ["--reconstruct", reconstruct.removesuffix("-as-is"), "-o", str(output)]
    words += ["--no-recalibrate"] if reconstruct.endswith("-as-is") else []
    words += ["--steps", options.steps] if options.steps != "1" else []
    words += ["--scope", options.scope] if options.scope else []
    words += ["--permute"] if options.permute and ":" in amount else []
    report = run_json(options, *words)
    scored = run_json(options, "eval", str(output), "--data", str(manifest), "--metric", metric)
    score = scored["metrics"][metric]["value"] * (100 if metric == "top1" else 1)
    names = ("model", "criterion", "amount", "reconstruct")
    return dict(zip(names, kind)) | {"seed": seed, "score": score, "seconds": report["seconds"]}


def cell(runs):
    """Mean score and median time."""
    if not runs:
        return ""
    mean = statistics.mean(run["score"] for run in runs)
    return f"{mean:.2f} ({statistics.median(run['seconds'] for run in runs):.0f} s)"


def main():
    options = parse_arguments()
    names = ("models", "criteria", "amounts", "reconstruct", "seeds")
    split = {name: getattr(options, name).split(",") for name in names}
    runs, rows = [], []
    with tempfile.TemporaryDirectory() as folder:
        for model in split["models"]:
            for criterion in split["criteria"]:
                for reconstruct in split["reconstruct"]:
                    cells = []
                    for amount in split["amounts"]:
                        kind = (model, criterion, amount, reconstruct)
                        of_kind = [prune(options, kind, int(seed), folder) for seed in split["seeds"]]
                        print(*of_kind, file=sys.stderr, flush=True)
                        cells.append(cell(of_kind))
                        runs += of_kind
                    rows.append([model, criterion, reconstruct, *cells])
    if options.json:
        print(json.dumps(runs))
        return
    print(markdown.table(["network", "criterion", "the others", *split["amounts"]], rows))


if __name__ == "__main__":
    main()
