"""One run of ONNX Runtime's static quantizer, at the settings that are fast on x86 CPUs: unsigned activations,
signed weights per channel, after the quantizer's own pre-processing (which folds BatchNormalization)."""

import tempfile
from pathlib import Path

from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import dataset
import peer

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


class Reader(CalibrationDataReader):
    def __init__(self, batches):
        self.batches = batches

    def get_next(self):
        return next(self.batches, None)


def quantize(arguments):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(arguments.model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            arguments.output,
            Reader(dataset.calibration_batches(arguments)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[arguments.method],
        )


if __name__ == "__main__":
    options = peer.arguments(list(METHODS))
    peer.timed(lambda: quantize(options))
