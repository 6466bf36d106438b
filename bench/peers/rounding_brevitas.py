"""One run of Brevitas' GPTQ or learned rounding (AdaRound) on a ResNet of docs/data.md, with bias correction behind it.

BatchNormalization is merged into the convolutions first; scales are those of brevitas_layers.py. The last line of output has the seconds
without imports, loading and scoring, the peak memory until then, and top-1 in % of the test images.
"""

import argparse
import json
import resource
import time
from argparse import Namespace
from pathlib import Path

import brevitas_layers
import networks
import torch
from brevitas.graph.calibrate import bias_correction_mode
from brevitas.graph.gptq import gptq_mode
from brevitas.nn.utils import merge_bn
from dataset import Split
from qat import accuracy, load, weights


def merged(depth, data, layers):
    """The network with BatchNormalization in its convolutions."""
    network = networks.CifarResNet(depth, layers=layers)
    network.load_state_dict(weights(data / f"models/resnet{depth}.onnx"), strict=False)
    network.eval()
    parts = [network, *(module for module in network.modules() if isinstance(module, networks.ResidualBlock))]
    for part in parts:
        for number in ("1", "2"):
            if hasattr(part, f"bn{number}"):
                merge_bn(getattr(part, f"conv{number}"), getattr(part, f"bn{number}"))
                setattr(part, f"bn{number}", torch.nn.Identity())
    return network


def gptq(network, batches, _):
    with torch.no_grad(), gptq_mode(network, use_quant_activations=True, create_weight_orig=True, act_order=True) as mode:
        for _ in range(mode.num_layers):
            for images in batches:
                mode.model(images)
            mode.update()


def learned_rounding(network, batches, steps):
    from brevitas_examples.imagenet_classification.ptq.learned_round_utils import apply_learned_round

    loader = [(images, torch.zeros(len(images), dtype=torch.int64)) for images in batches]
    apply_learned_round(
        network,
        loader,
        Namespace(
            learned_round="hard_sigmoid",
            learned_round_mode="layerwise",
            learned_round_loss="regularised_mse",
            learned_round_iters=steps,
            learned_round_lr=1e-3,
            learned_round_lr_scheduler=None,
            learned_round_batch_size=32,
        ),
    )


METHODS = {"none": lambda *_: None, "gptq": gptq, "adaround": learned_rounding}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--width", default="W4A8")
    parser.add_argument("--method", choices=METHODS, default="gptq")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2000, help="of learned rounding, a layer")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.data_dir = Path(options.data_dir)
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    bits, activation_bits = (int(number) for number in options.width[1:].split("A"))
    images, _ = load(options, "train", options.samples)
    start = time.perf_counter()
    network = merged(options.depth, options.data_dir, brevitas_layers.BrevitasLayers(bits, activation_bits))
    batches = images.split(64)
    brevitas_layers.calibrate(network, batches)
    network.eval()
    with torch.no_grad():
        network(batches[0])
    METHODS[options.method](network, batches, options.steps)
    with torch.no_grad(), bias_correction_mode(network):
        for part in batches:
            network(part)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    top1 = accuracy(network, *load(options, "test"))
    print(json.dumps({"seconds": seconds, "peak_megabytes": peak, "top1": top1}))


if __name__ == "__main__":
    main()
