"""One PyTorch peer of train.py: builds a network, then trains some steps for each line on stdin.

Prints one JSON object a line: first {"parameters": ...}, then for each line {"images_per_second": [...], "peak_megabytes": ...},
one figure for each step after the first, which does not count. Memory is the process's high-water mark, imports included.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import networks
import torch
from dataset import Split
from torch.nn import functional

WARM_UP = 2


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("network", choices=networks.NETWORKS)
    parser.add_argument("--data", required=True, help="data-set manifest")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="for each line on stdin")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bits", type=int, help="quantization-aware, with Brevitas, this many bits inside")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--forward", action="store_true", help="inference only, without gradients")
    return parser.parse_args()


def peak_megabytes():
    """High-water mark of the resident memory (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def build(options, images):
    """The network, in training mode, with calibrated quantizers where it has any."""
    torch.manual_seed(0)
    if options.bits is None:
        return networks.NETWORKS[options.network]()
    import brevitas_layers

    network = networks.NETWORKS[options.network](brevitas_layers.BrevitasLayers(options.bits, options.bits))
    brevitas_layers.calibrate(network, [images])
    return network


def stepper(options, network, images, labels):
    """One training step, or one forward pass, as a function."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    autocast = lambda: torch.autocast("cpu", torch.bfloat16) if options.bf16 else contextlib.nullcontext()

    def forward():
        with torch.no_grad(), autocast():
            network(images)

    def train():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = functional.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()

    network.train(not options.forward)
    return forward if options.forward else train


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    split = Split(options.data, "train")
    images = torch.from_numpy(split.images(slice(0, options.batch)))
    labels = torch.from_numpy(split.labels[: options.batch].astype("int64"))
    network = build(options, images)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    step = stepper(options, network, images, labels)
    for _ in range(WARM_UP):
        step()
    print(json.dumps({"parameters": networks.parameters(network)}), flush=True)
    for _ in sys.stdin:
        speeds = []
        step()  # brings back what the other peers have driven out of the caches
        for _ in range(options.steps):
            start = time.perf_counter()
            step()
            speeds.append(options.batch / (time.perf_counter() - start))
        print(json.dumps({"images_per_second": speeds, "peak_megabytes": peak_megabytes()}), flush=True)


if __name__ == "__main__":
    main()
