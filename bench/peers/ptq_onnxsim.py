"""One run of onnxsim's static quantizer (which simplifies, and so folds BatchNormalization, first)."""

import onnx
import onnxsim

import dataset
import peer


def quantize(arguments):
    model, _ = onnxsim.simplify(arguments.model)
    batches = list(dataset.calibration_batches(arguments))
    onnx.save(onnxsim.quantize_static(model, batches, method=arguments.method), arguments.output)


if __name__ == "__main__":
    options = peer.arguments(["minmax", "entropy", "mse", "percentile"])
    peer.timed(lambda: quantize(options))
