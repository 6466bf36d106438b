"""Reads a data-set manifest (TOML beside .npy files) the way Bantam does: x -> (x * scale - mean) / std."""

import tomllib
from pathlib import Path

import numpy as np


def preprocessed(pixels, manifest, input_name):
    """float32, same shape as `pixels` (channels second), preprocessed as the manifest says for that input."""
    document = tomllib.loads(Path(manifest).read_text())
    preprocess = document.get("preprocess", {}).get(input_name, {})
    x = pixels.astype(np.float32)
    x *= np.float32(preprocess.get("scale", 1.0))
    channels = (1, -1) + (1,) * (x.ndim - 2)
    x -= np.asarray(preprocess.get("mean", [0.0]), np.float32).reshape(channels)
    x /= np.asarray(preprocess.get("std", [1.0]), np.float32).reshape(channels)
    return x


class Split:
    """One split of a manifest, read image by image or in slices; never all of it at once."""

    def __init__(self, manifest, split):
        self.manifest = Path(manifest)
        entry = tomllib.loads(self.manifest.read_text())["splits"][split]
        ((self.input_name, file),) = entry["inputs"].items()
        rows = slice(*entry.get("rows", [None]))
        self.pixels = np.load(self.manifest.parent / file, mmap_mode="r")[rows]
        self.labels = np.load(self.manifest.parent / entry["labels"])[rows] if "labels" in entry else None

    def __len__(self):
        return len(self.pixels)

    def images(self, indices):
        """float32 [len(indices), ...], preprocessed; `indices` is a slice or an array."""
        return preprocessed(self.pixels[indices], self.manifest, self.input_name)


def read_indices(path, samples):
    """The calibration images: the first `samples` of the training split, or the numbers in a text file, one a line."""
    if path is None:
        return np.arange(samples)
    indices = np.loadtxt(path, dtype=np.int64, ndmin=1)
    if len(indices) != samples:
        raise SystemExit(f"error: {path} holds {len(indices)} indices, {samples} samples were asked for")
    return indices


def calibration_batches(arguments):
    """Yields {input name: float32 batch} over the calibration images, as `peer.arguments` describes them."""
    split = Split(arguments.data, "train")
    indices = read_indices(arguments.indices, arguments.samples)
    for start in range(0, len(indices), arguments.batch):
        yield {split.input_name: split.images(indices[start : start + arguments.batch])}
