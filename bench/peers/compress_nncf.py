"""One run of NNCF's accuracy-controlled quantization on the model as OpenVINO reads it; writes OpenVINO IR."""

import nncf
import numpy as np
import openvino

import dataset
import peer


def top1(compiled, batches):
    """Share of right answers, and for each batch its own, by which NNCF ranks what to put back into float."""
    right = [(compiled(images)[0].argmax(1) == labels).astype(float) for images, labels in batches]
    return float(np.mean(np.concatenate(right))), list(np.concatenate(right))


def quantize(options):
    model = openvino.Core().read_model(options.model)
    split = dataset.Split(options.data, "validation")
    calibration = list(dataset.calibration_batches(options))
    # Batches of one, as NNCF asks for where values of single samples rank layers.
    batches = [(split.images(slice(i, i + 1)), split.labels[i : i + 1]) for i in range(len(split))]
    quantized = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration),
        nncf.Dataset(batches),
        validation_fn=top1,
        max_drop=options.max_drop / 100,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(calibration),
        target_device=nncf.TargetDevice.CPU,
    )
    openvino.save_model(quantized, options.output, compress_to_fp16=False)


if __name__ == "__main__":
    parser = peer.parser(["accuracy-control"])
    parser.add_argument("--max-drop", type=float, default=0.1, help="points of top-1")
    options = parser.parse_args()
    peer.timed(lambda: quantize(options))
