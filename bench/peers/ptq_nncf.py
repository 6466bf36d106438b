"""One run of NNCF's post-training quantization on the model as OpenVINO reads it; writes OpenVINO IR."""

import nncf
import openvino

import dataset
import peer

PRESETS = {"mixed": nncf.QuantizationPreset.MIXED, "performance": nncf.QuantizationPreset.PERFORMANCE}


def quantize(arguments):
    model = openvino.Core().read_model(arguments.model)
    batches = list(dataset.calibration_batches(arguments))
    quantized = nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=PRESETS[arguments.method],
        subset_size=len(batches),
        target_device=nncf.TargetDevice.CPU,
    )
    openvino.save_model(quantized, arguments.output, compress_to_fp16=False)


if __name__ == "__main__":
    options = peer.arguments(list(PRESETS))
    peer.timed(lambda: quantize(options))
