"""Quantization-aware training of resnet20.onnx with Brevitas: the accuracy on the test images after each epoch.

    sh bench/peers/venv.sh --train
    bench/peers/.venv/bin/python bench/peers/qat.py --data-dir DATA --bits 4 --epochs 5 --seeds 0,1,2 [--json]

Weights per channel and activations per tensor have learned scales; the image, the first convolution and the classifier
have 8 bits. Training sees the images of DATA/cifar10's `train` split, flipped and cropped from a border of 4 zeros, in an
order that the seed decides; SGD with momentum 0.9 and a cosine schedule. BatchNormalization is not folded.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import brevitas_layers
import markdown
import networks
import onnx
import torch
from dataset import Split
from onnx import numpy_helper
from torch.nn import functional

CALIBRATION = 512
BORDER = 4


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BANTAM_DATA"), help="default: $BANTAM_DATA")
    parser.add_argument("--bits", default="4", help="of weights and activations, comma-separated; 32: float")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate at the start")
    parser.add_argument("--weight-decay", type=float, default=1e-4, help="not of normalizations, biases and scales")
    parser.add_argument("--max-steps", type=int, default=0, help="steps of an epoch, for a trial")
    parser.add_argument("--limit", type=int, default=10_000, help="test images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of Markdown")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("no data folder\nhint: give --data-dir or set BANTAM_DATA")
    return options


def progress(message):
    print(message, file=sys.stderr, flush=True)


def weights(path):
    """The initializers of the ONNX file by name, which are the names of networks.CifarResNet."""
    tensors = onnx.load(path).graph.initializer
    return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in tensors}


def build(options, bits, images):
    layers = None if bits == 32 else brevitas_layers.BrevitasLayers(bits, bits)
    network = networks.CifarResNet(20, layers=layers)
    values = weights(options.data_dir / "models/resnet20.onnx")
    known = set(network.state_dict())
    missing = network.load_state_dict({name: value for name, value in values.items() if name in known}, strict=False)
    lost = [name for name in missing.missing_keys if "quant" not in name and "num_batches" not in name]
    if lost:
        raise SystemExit(f"error: resnet20.onnx lacks {', '.join(lost)}")
    if layers:
        momenta = freeze_statistics(network)
        brevitas_layers.calibrate(network, images.split(128))
        for norm, momentum in momenta:
            norm.momentum = momentum
    return network.to(memory_format=torch.channels_last)


def freeze_statistics(network):
    """Calibration runs in training mode but must not move the running statistics; gives what to put back."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momenta = [(norm, norm.momentum) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    return momenta


def groups(network, decay):
    """Weights with decay; normalizations, biases and learned scales without."""
    with_decay, without = [], []
    for name, parameter in network.named_parameters():
        is_weight = parameter.ndim > 1 and not brevitas_layers.is_scale(name)
        (with_decay if is_weight else without).append(parameter)
    return [{"params": with_decay, "weight_decay": decay}, {"params": without, "weight_decay": 0.0}]


def augmented(images, generator):
    """Each image flipped with probability one half, and cropped at random from a border of zeros."""
    count, _, height, width = images.shape
    flips = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flips[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, (BORDER,) * 4)
    offsets = torch.randint(0, 2 * BORDER + 1, (count, 2), generator=generator).tolist()
    crops = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, offsets)]
    return torch.stack(crops).contiguous(memory_format=torch.channels_last)


def accuracy(network, images, labels):
    network.eval()
    with torch.no_grad():
        right = [(network(x).argmax(1) == y).sum() for x, y in zip(images.split(500), labels.split(500))]
    return 100 * float(sum(right)) / len(labels)


def train(options, bits, seed, data):
    """Accuracies before and after each epoch, and the seconds of training without scoring."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    (images, labels), test = data["train"], data["test"]
    network = build(options, bits, images[:CALIBRATION])
    batches = len(images) // options.batch
    steps = min(batches, options.max_steps or batches)
    optimizer = torch.optim.SGD(groups(network, options.weight_decay), lr=options.rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps * options.epochs)
    scores, seconds = [accuracy(network, *test)], 0.0
    progress(f"W{bits}A{bits}, seed {seed}: before {scores[0]:.2f}")
    for epoch in range(options.epochs):
        start = time.perf_counter()
        network.train()
        order = torch.randperm(len(images), generator=generator)
        for index in range(steps):
            chosen = order[index * options.batch : (index + 1) * options.batch]
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(network(augmented(images[chosen], generator)), labels[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - start
        scores.append(accuracy(network, *test))
        progress(f"W{bits}A{bits}, seed {seed}: epoch {epoch + 1} of {options.epochs}: {scores[-1]:.2f}, {seconds:.0f} s")
    return {"bits": bits, "seed": seed, "top1": scores, "seconds": seconds}


def load(options, split, limit=None):
    data = Split(options.data_dir / "cifar10/cifar10.toml", split)
    part = slice(0, limit)
    images = torch.from_numpy(data.images(part)).contiguous(memory_format=torch.channels_last)
    return images, torch.from_numpy(data.labels[part].astype("int64"))


def table(runs, epochs):
    header = ["bits", "seed", "before", *(f"epoch {epoch + 1}" for epoch in range(epochs)), "seconds"]
    lines = []
    for run in runs:
        scores = [markdown.number(score, 2) for score in run["top1"]]
        lines.append([f"W{run['bits']}A{run['bits']}", str(run["seed"]), *scores, markdown.number(run["seconds"], 0)])
    for bits in dict.fromkeys(run["bits"] for run in runs):
        of_bits = [run for run in runs if run["bits"] == bits]
        if len(of_bits) > 1:
            means = [markdown.number(statistics.mean(scores), 2) for scores in zip(*(run["top1"] for run in of_bits))]
            seconds = statistics.mean(run["seconds"] for run in of_bits)
            lines.append([f"W{bits}A{bits}", "mean", *means, markdown.number(seconds, 0)])
    return markdown.table(header, lines)


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    data = {"train": load(options, "train"), "test": load(options, "test", options.limit)}
    numbers = lambda text: [int(number) for number in text.split(",")]
    runs = [train(options, bits, seed, data) for bits in numbers(options.bits) for seed in numbers(options.seeds)]
    if options.json:
        print(json.dumps({"epochs": options.epochs, "runs": runs}))
        return
    print(table(runs, options.epochs))


if __name__ == "__main__":
    main()
