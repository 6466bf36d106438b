"""The networks of `bantam new` in PyTorch: the same layers, names of weights and number of parameters.

ResNets take their layers from a kit, so that `brevitas_layers.py` builds the same network with quantizers.
"""

import torch
from torch import nn
from torch.nn import functional


class FloatLayers:
    """Plain layers. `edge` marks the first convolution and the classifier, which quantized kits keep at 8 bits."""

    def image(self):
        return nn.Identity()

    def conv(self, channels, out, kernel=3, stride=1, groups=1, edge=False):
        return nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)

    def relu(self, edge=False):
        return nn.ReLU()

    def linear(self, features, out):
        return nn.Linear(features, out)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut skips pixels and pads channels with zeros (option A of He et al. 2015)."""

    def __init__(self, layers, channels, out, stride, last):
        super().__init__()
        self.conv1, self.bn1 = layers.conv(channels, out, stride=stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = layers.conv(out, out), nn.BatchNorm2d(out)
        self.relu1, self.relu2 = layers.relu(), layers.relu(edge=last)
        self.stride, self.missing = stride, out - channels

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.missing:
            before = self.missing // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.missing - before))
        return self.relu2(y + x)


class CifarResNet(nn.Module):
    """He et al. 2015, section 4.2: 6n + 2 layers, here `depth`. Weights are named as in resnet20.onnx."""

    def __init__(self, depth, classes=10, layers=None):
        super().__init__()
        layers = layers or FloatLayers()
        blocks = (depth - 2) // 6
        self.image = layers.image()
        self.conv1, self.bn1, self.relu = layers.conv(3, 16, edge=True), nn.BatchNorm2d(16), layers.relu()
        channels = 16
        for stage, out in enumerate((16, 32, 64), start=1):
            stack = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                last = stage == 3 and block == blocks - 1
                stack.append(ResidualBlock(layers, channels, out, stride, last))
                channels = out
            setattr(self, f"layer{stage}", nn.Sequential(*stack))
        self.linear = layers.linear(64, classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(self.image(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class InvertedBottleneck(nn.Module):
    """Sandler et al. 2018, figure 3."""

    def __init__(self, channels, out, expansion, stride):
        super().__init__()
        wide = channels * expansion
        expand = conv_norm(channels, wide, 1) + [nn.ReLU6()] if expansion > 1 else []
        depthwise = conv_norm(wide, wide, 3, stride, groups=wide) + [nn.ReLU6()]
        self.branch = nn.Sequential(*expand, *depthwise, *conv_norm(wide, out, 1))
        self.residual = stride == 1 and channels == out

    def forward(self, x):
        return x + self.branch(x) if self.residual else self.branch(x)


def conv_norm(channels, out, kernel, stride=1, groups=1):
    return [nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]


# expansion, channels, blocks, stride
MOBILENET_STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 3, 2), (6, 96, 1, 1)]


def mobilenet_small(classes=10):
    """MobileNetV2 for images of 32 x 32 pixels."""
    blocks, channels = conv_norm(3, 16, 3) + [nn.ReLU6()], 16
    for expansion, out, count, stride in MOBILENET_STAGES:
        for block in range(count):
            blocks.append(InvertedBottleneck(channels, out, expansion, stride if block == 0 else 1))
            channels = out
    head = conv_norm(channels, 256, 1) + [nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*blocks, *head, nn.Linear(256, classes))


class EncoderLayer(nn.Module):
    """Pre-normalized attention and feed-forward (twice the width inside), PyTorch's fused attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.projection(context.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.narrow(functional.gelu(self.wide(self.norm2(x))))


class EncoderTiny(nn.Module):
    """A vision transformer: patches of 4 x 4 pixels, 4 layers of width 128, 4 heads, mean over positions."""

    def __init__(self, classes=10, width=128, layers=4, heads=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.positions = nn.Parameter(torch.randn(64, width) * 0.02)
        self.layers = nn.Sequential(*(EncoderLayer(width, heads) for _ in range(layers)))
        self.norm, self.classifier = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.classifier(self.norm(self.layers(x)).mean(1))


NETWORKS = {
    "resnet20": lambda layers=None: CifarResNet(20, layers=layers),
    "resnet56": lambda layers=None: CifarResNet(56, layers=layers),
    "mobilenet-small": lambda layers=None: mobilenet_small(),
    "encoder-tiny": lambda layers=None: EncoderTiny(),
}


def parameters(network):
    """Number of trained values, without running statistics and quantizers' scales."""
    named = network.named_parameters()
    return sum(tensor.numel() for name, tensor in named if "quant" not in name)
