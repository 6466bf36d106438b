"""A manifest of CIFAR-10 whose test images are parted: the first decide, the others score. Standard library only."""

TEXT = """[splits.train]
inputs.input = "train_x.npy"
labels = "train_y.npy"
[splits.validation]
inputs.input = "test_x.npy"
labels = "test_y.npy"
rows = [0, {cut}]
[splits.test]
inputs.input = "test_x.npy"
labels = "test_y.npy"
rows = [{cut}, 10000]
[preprocess.input]
layout = "NCHW"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[augment.input]
flip = "horizontal"
crop_padding = 4
"""


def write(folder, data_dir, validation=2000):
    """Writes cifar10.toml into `folder`, with links to the arrays in `data_dir`/cifar10; the manifest's path."""
    for name in ("train_x", "train_y", "test_x", "test_y"):
        (folder / f"{name}.npy").symlink_to((data_dir / "cifar10" / f"{name}.npy").resolve())
    manifest = folder / "cifar10.toml"
    manifest.write_text(TEXT.format(cut=validation))
    return manifest
