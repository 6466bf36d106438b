"""Makes the demo's files: the UCI optical digits as .npy arrays and a small CNN trained on them.

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python train.py

Writes train_x.npy, train_y.npy, test_x.npy, test_y.npy and digits.onnx beside this file. The number of epochs
was fixed beforehand; the test images are used for the final score only. The network has what a compressor meets
in practice: BatchNormalization that is not folded, a residual Add, a depthwise convolution, and pooling.
"""

import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

FOLDER = Path(__file__).resolve().parent
SEED = 0
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
BATCH_NORM_MOMENTUM = 0.9
EPSILON = 1e-5

# name: (input channels, output channels, kernel size, groups); each is followed by a BatchNormalization
CONVOLUTIONS = {
    "stem": (1, 16, 3, 1),
    "block1.conv1": (16, 16, 3, 1),
    "block1.conv2": (16, 16, 3, 1),
    "separable.depthwise": (16, 16, 3, 16),
    "separable.pointwise": (16, 32, 1, 1),
    "block2.conv1": (32, 32, 3, 1),
    "block2.conv2": (32, 32, 3, 1),
}
CLASSES = 10
FEATURES = 32


def network(ops, x):
    """The network, said once; `ops` either computes it (`Compute`) or writes it down (`Export`)."""
    x = ops.relu(ops.convolution("stem", x))
    x = residual_block(ops, "block1", x)
    x = ops.relu(ops.convolution("separable.depthwise", x))
    x = ops.relu(ops.convolution("separable.pointwise", x))
    x = ops.max_pool(x)
    x = residual_block(ops, "block2", x)
    return ops.classifier("classifier", x)


def residual_block(ops, name, x):
    branch = ops.relu(ops.convolution(f"{name}.conv1", x))
    branch = ops.convolution(f"{name}.conv2", branch)
    return ops.relu(ops.add(branch, x))


def initial_parameters(generator):
    """He-normal weights; BatchNormalization starts as the identity. Returns (trained, running statistics)."""
    trained, running = {}, {}
    for name, (inputs, outputs, size, groups) in CONVOLUTIONS.items():
        shape = (outputs, inputs // groups, size, size)
        deviation = np.sqrt(2.0 / np.prod(shape[1:]))
        trained[f"{name}.weight"] = generator.normal(0, deviation, shape).astype(np.float32)
        trained[f"{name}.scale"] = np.ones(outputs, np.float32)
        trained[f"{name}.bias"] = np.zeros(outputs, np.float32)
        running[f"{name}.mean"] = np.zeros(outputs, np.float32)
        running[f"{name}.variance"] = np.ones(outputs, np.float32)
    trained["classifier.weight"] = generator.normal(0, 0.05, (CLASSES, FEATURES)).astype(np.float32)
    trained["classifier.bias"] = np.zeros(CLASSES, np.float32)
    return trained, running


class Compute:
    """Runs the network in training mode with JAX and keeps the new running statistics."""

    def __init__(self, trained, running):
        self.trained, self.running, self.new_running = trained, running, {}

    def convolution(self, name, x):
        x = jax.lax.conv_general_dilated(
            x, self.trained[f"{name}.weight"], (1, 1), "SAME", feature_group_count=CONVOLUTIONS[name][3]
        )
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        for statistic, value in (("mean", mean), ("variance", variance)):
            old = self.running[f"{name}.{statistic}"]
            self.new_running[f"{name}.{statistic}"] = BATCH_NORM_MOMENTUM * old + (1 - BATCH_NORM_MOMENTUM) * value
        factor = self.trained[f"{name}.scale"] / jnp.sqrt(variance + EPSILON)
        offset = self.trained[f"{name}.bias"] - mean * factor
        return x * factor[:, None, None] + offset[:, None, None]

    def relu(self, x):
        return jax.nn.relu(x)

    def add(self, a, b):
        return a + b

    def max_pool(self, x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def classifier(self, name, x):
        return x.mean((2, 3)) @ self.trained[f"{name}.weight"].T + self.trained[f"{name}.bias"]


class Export:
    """Writes the network as ONNX nodes; BatchNormalization uses the running statistics."""

    def __init__(self, parameters):
        self.nodes = []
        self.initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in parameters.items()]

    def node(self, kind, inputs, name=None, output=None, **attributes):
        name = name or f"{kind.lower()}{len(self.nodes)}"
        output = output or f"{name}.output"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def convolution(self, name, x):
        size, groups = CONVOLUTIONS[name][2:]
        attributes = {"kernel_shape": [size] * 2, "strides": [1, 1], "pads": [size // 2] * 4, "group": groups}
        x = self.node("Conv", [x, f"{name}.weight"], name, **attributes)
        statistics = [f"{name}.{part}" for part in ("scale", "bias", "mean", "variance")]
        return self.node("BatchNormalization", [x, *statistics], f"{name}.norm", epsilon=EPSILON)

    def relu(self, x):
        return self.node("Relu", [x])

    def add(self, a, b):
        return self.node("Add", [a, b])

    def max_pool(self, x):
        return self.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def classifier(self, name, x):
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)
        return self.node("Gemm", [x, f"{name}.weight", f"{name}.bias"], name, "logits", transB=1)

    def model(self):
        value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        graph = helper.make_graph(
            self.nodes, "digits", [value("input", 1, 8, 8)], [value("logits", CLASSES)], self.initializers
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="bantam-demo"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


@jax.jit
def step(trained, velocity, running, images, labels, rate):
    """One step of SGD with Nesterov momentum on the cross-entropy."""

    def loss(trained):
        compute = Compute(trained, running)
        log_probabilities = jax.nn.log_softmax(network(compute, images))
        return -log_probabilities[jnp.arange(len(labels)), labels].mean(), compute.new_running

    (value, running), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
    gradient = {name: gradient[name] + WEIGHT_DECAY * trained[name] for name in trained}
    velocity = {name: MOMENTUM * velocity[name] + gradient[name] for name in trained}
    trained = {name: trained[name] - rate * (gradient[name] + MOMENTUM * velocity[name]) for name in trained}
    return trained, velocity, running, value


def shifted(images, generator):
    """Moves each image by at most one pixel in each direction."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    offsets = generator.integers(0, 3, (len(images), 2))
    return np.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets)])


def train(images, labels):
    """Trains for EPOCHS epochs with a cosine schedule; returns all parameters by name."""
    generator = np.random.default_rng(SEED)
    trained, running = initial_parameters(generator)
    velocity = {name: np.zeros_like(value) for name, value in trained.items()}
    batches = len(images) // BATCH
    for epoch in range(EPOCHS):
        order = generator.permutation(len(images))
        for index in range(batches):
            chosen = order[index * BATCH : (index + 1) * BATCH]
            progress = (epoch * batches + index) / (EPOCHS * batches)
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * progress))
            batch = shifted(images[chosen], generator)
            trained, velocity, running, loss = step(trained, velocity, running, batch, labels[chosen], rate)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss:.4f}")
    return trained | running


def write_data():
    """Splits the digits by class with a fixed seed and writes the four arrays."""
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)
    parts = train_test_split(images, labels.astype(np.uint8), test_size=599, stratify=labels, random_state=SEED)
    for name, part in zip(("train_x", "test_x", "train_y", "test_y"), parts):
        np.save(FOLDER / f"{name}.npy", np.ascontiguousarray(part))


def load_split(split):
    """Reads one split through the manifest, preprocessed."""
    manifest = tomllib.loads((FOLDER / "digits.toml").read_text())
    files, preprocess = manifest["splits"][split], manifest["preprocess"]["input"]
    mean, std = (np.float32(preprocess[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    pixels = np.load(FOLDER / files["inputs"]["input"]).astype(np.float32)
    return (pixels * np.float32(preprocess["scale"]) - mean) / std, np.load(FOLDER / files["labels"])


def main():
    write_data()
    parameters = train(*load_split("train"))
    export = Export(parameters)
    network(export, "input")
    path = FOLDER / "digits.onnx"
    onnx.save(export.model(), path)
    images, labels = load_split("test")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    predictions = session.run(None, {"input": images})[0].argmax(1)
    print(f"{path.name}: {path.stat().st_size} bytes, top-1 on {len(labels)} test images {np.mean(predictions == labels):.2%}")


if __name__ == "__main__":
    main()
