"""The table of what is measured: each tool, method and batch size, and the `bantam quantize` range it is compared with."""

import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Setting:
    tool: str
    method: str
    batch: int  # calibration images per forward pass; 0: the tool decides
    range: str  # the bantam range whose time and memory are the reference of the ratios
    suffix: str = ".onnx"

    @property
    def name(self):
        return f"{self.tool} {self.method}" + (f", batch {self.batch}" if self.batch else "")

    @property
    def file_name(self):
        return self.name.replace(", ", "-").replace(" ", "-") + self.suffix


BANTAM_RANGES = ("minmax", "entropy", "percentile", "mse")

# Batch size 1, and the fastest one for that tool; README.md says among which.
SETTINGS = [Setting("bantam", name, 0, name) for name in BANTAM_RANGES] + [
    Setting("onnxruntime", "minmax", 1, "minmax"),
    Setting("onnxruntime", "minmax", 32, "minmax"),
    Setting("onnxruntime", "entropy", 1, "entropy"),
    Setting("onnxruntime", "entropy", 64, "entropy"),
    Setting("onnxruntime", "percentile", 1, "percentile"),
    Setting("onnxruntime", "percentile", 64, "percentile"),
    Setting("nncf", "mixed", 1, "minmax", ".xml"),
    Setting("nncf", "mixed", 32, "minmax", ".xml"),
    Setting("nncf", "performance", 1, "minmax", ".xml"),
    Setting("nncf", "performance", 32, "minmax", ".xml"),
    Setting("onnxsim", "minmax", 1, "minmax"),
    Setting("onnxsim", "minmax", 8, "minmax"),
    Setting("onnxsim", "entropy", 8, "entropy"),
    Setting("onnxsim", "percentile", 8, "percentile"),
    Setting("onnxsim", "mse", 8, "mse"),
]


def command(setting, model, manifest, output, options):
    """The command line of one run."""
    common = [str(model), "--data", str(manifest), "--samples", str(options.samples), "-o", str(output)]
    if setting.tool == "bantam":
        return [str(options.bantam), "quantize", *common, "--no-eval", "--range", setting.range]
    script = FOLDER / f"ptq_{setting.tool}.py"
    peer = [sys.executable, str(script), *common, "--method", setting.method, "--batch", str(setting.batch)]
    return peer + (["--indices", str(options.indices)] if options.indices else [])
