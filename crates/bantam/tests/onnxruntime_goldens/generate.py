"""Writes the golden cases of ONNX Runtime beside this file, as cases/NAME.onnx.

    python generate.py

Written with onnx 1.23.2, onnxruntime 1.32.0 and numpy 2.4.6 on x86-64; graph optimizations are off. The random numbers come from
`numpy.random.default_rng` seeded with the case's name. A case is one model: the inputs have their values as defaults, and the
constant `expected/NAME` holds what ONNX Runtime gave for output NAME.
"""

import os
import zlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
MICROSOFT = "com.microsoft"


def f32(*values):
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def u8(value):
    return np.array(value, np.uint8)


def i8(value):
    return np.array(value, np.int8)


class Random:
    def __init__(self, name):
        self.generator = np.random.default_rng(zlib.crc32(name.encode()))

    def codes(self, dtype, *shape):
        info = np.iinfo(dtype)
        return self.generator.integers(info.min, info.max + 1, shape, dtype=dtype)

    def reals(self, *shape, spread=1.0):
        return (self.generator.standard_normal(shape) * spread).astype(np.float32)


def run(name, op, inputs, outputs=("y",), domain=MICROSOFT, standard=21, **attributes):
    """`inputs`: arrays in order, None for one that is left out."""
    names = ["" if value is None else f"x{index}" for index, value in enumerate(inputs)]
    node = helper.make_node(op, names, list(outputs), domain=domain, **attributes)
    given = {name: value for name, value in zip(names, inputs) if value is not None}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    results = [onnx.ValueInfoProto(name=output) for output in outputs]
    constants = [numpy_helper.from_array(value, name) for name, value in given.items()]
    graph = helper.make_graph([node], name, infos, results, constants)
    opsets = [helper.make_opsetid("", standard), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for output, value, info in zip(outputs, session.run(None, {}), session.get_outputs()):
        model.graph.initializer.append(numpy_helper.from_array(value, f"expected/{output}"))
    for info, value in zip(model.graph.output, session.run(None, {})):
        info.CopyFrom(helper.make_tensor_value_info(info.name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
    onnx.save(model, os.path.join(FOLDER, f"{name}.onnx"))


def linear():
    for dtype in [np.uint8, np.int8, np.uint16, np.int16]:
        name = f"quantize_{np.dtype(dtype).name}"
        random = Random(name)
        x = np.concatenate([random.reals(200, spread=40), np.arange(-40, 40) / 2, [1e30, -1e30, 0]]).astype(np.float32)
        run(name, "QuantizeLinear", [x, f32(0.5), np.array(3, dtype)], domain="")
        name = f"dequantize_{np.dtype(dtype).name}"
        codes = Random(name).codes(dtype, 3, 50)
        run(name, "DequantizeLinear", [codes, f32(0.1, 0.3, 7.0), np.array([0, 1, 100], dtype)], domain="", axis=0)
    x = Random("quantize_float16").reals(7, 9, spread=30).astype(np.float16)
    run("quantize_float16", "QuantizeLinear", [x, np.array(0.31, np.float16), u8(100)], domain="")
    x = Random("dynamic").reals(11, 13)
    run("dynamic", "DynamicQuantizeLinear", [x], ["y", "scale", "zero"], domain="", standard=11)
    run("microsoft_quantize", "QuantizeLinear", [x, f32(0.02), np.array(-7, np.int16)])
    run("microsoft_dequantize", "DequantizeLinear", [Random("d").codes(np.uint16, 5, 6), f32(0.02), np.array(9, np.uint16)])


def elementwise():
    for dtype in [np.uint8, np.int8]:
        kind, middle = np.dtype(dtype).name, 128 if dtype == np.uint8 else 0
        for op in ["QLinearAdd", "QLinearMul"]:
            # A scale ratio of exactly one half makes ties.
            for case, scales in [("", (0.031, 0.047, 0.1)), ("_ties", (0.5, 1.0, 1.0))]:
                name = f"{op}_{kind}{case}"
                random = Random(name)
                a, b = random.codes(dtype, 3, 7, 19), random.codes(dtype, 3, 7, 19)
                zero = [np.array(middle + z, dtype) for z in (3, -5, 6)]
                run(name, op, [a, f32(scales[0]), zero[0], b, f32(scales[1]), zero[1], f32(scales[2]), zero[2]])
        a, b = Random("broadcast").codes(dtype, 2, 3, 4), Random("b").codes(dtype, 3, 1)
        run(f"QLinearAdd_{kind}_broadcast", "QLinearAdd", [a, f32(0.1), zero[0], b, f32(0.2), zero[1], f32(0.3), zero[2]])
        x, zero = np.arange(256).astype(np.uint8).view(dtype), np.array(middle, dtype)
        run(f"QLinearLeakyRelu_{kind}", "QLinearLeakyRelu", [x, f32(0.05), zero, f32(0.04), zero], alpha=0.1)
        run(f"QLinearSigmoid_{kind}", "QLinearSigmoid", [x, f32(0.05), zero, f32(1 / 256), np.array(middle - 128, dtype)])
        x = Random("softmax").codes(dtype, 4, 5, 23)
        y_zero = np.array(middle - 128, dtype)
        run(f"QLinearSoftmax_{kind}", "QLinearSoftmax", [x, f32(0.05), zero, f32(1 / 256), y_zero], opset=13, axis=-1)
        a, b = random.codes(dtype, 2, 3, 5), random.codes(dtype, 2, 4, 5)
        inputs = [f32(0.1), zero, a, f32(0.1), zero, b, f32(0.07), np.array(middle + 9, dtype)]
        run(f"QLinearConcat_{kind}", "QLinearConcat", inputs, axis=1)


def pools():
    for dtype in [np.uint8, np.int8]:
        kind, middle = np.dtype(dtype).name, 128 if dtype == np.uint8 else 0
        x = Random("pool").codes(dtype, 2, 5, 9, 8)
        parameters = [f32(0.05), np.array(middle + 4, dtype), f32(0.03), np.array(middle - 6, dtype)]
        run(f"QLinearGlobalAveragePool_{kind}", "QLinearGlobalAveragePool", [x, *parameters], channels_last=0)
        run(f"QLinearGlobalAveragePool_{kind}_last", "QLinearGlobalAveragePool", [x, *parameters], channels_last=1)
        for pad in [0, 1]:
            attributes = dict(kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 0, 1], count_include_pad=pad)
            run(f"QLinearAveragePool_{kind}_{pad}", "QLinearAveragePool", [x, *parameters], **attributes)


def convolutions():
    for x_type, w_type in [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)]:
        kind, middle = f"{np.dtype(x_type).name}_{np.dtype(w_type).name}", 128 if x_type == np.uint8 else 0
        for case, group, attributes in [
            ("plain", 1, dict(pads=[1, 1, 1, 1])),
            ("strided", 1, dict(strides=[2, 2], pads=[0, 1, 1, 0])),
            ("groups", 2, dict(dilations=[2, 1])),
            ("depthwise", 6, dict(pads=[1, 1, 1, 1])),
        ]:
            name = f"QLinearConv_{kind}_{case}"
            random = Random(name)
            x, w = random.codes(x_type, 2, 6, 10, 11), random.codes(w_type, 12, 6 // group, 3, 3)
            per_channel = w_type == np.int8
            w_scale = np.abs(random.reals(12)) * 0.01 + 0.001 if per_channel else f32(0.004)
            w_zero = np.zeros(12, np.int8) if per_channel else np.array(131, np.uint8)
            bias = random.generator.integers(-2000, 2000, 12).astype(np.int32)
            y_zero = np.array(middle - 20, x_type)
            inputs = [x, f32(0.02), np.array(middle + 3, x_type), w, w_scale.astype(np.float32), w_zero, f32(0.05), y_zero, bias]
            run(name, "QLinearConv", inputs, domain="", standard=10, group=group, **attributes)


def products():
    for a_type, b_type in [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)]:
        kind = f"{np.dtype(a_type).name}_{np.dtype(b_type).name}"
        a_middle, b_middle = (128 if t == np.uint8 else 0 for t in (a_type, b_type))
        random = Random(kind)
        a, b = random.codes(a_type, 2, 5, 37), random.codes(b_type, 37, 11)
        a_zero, b_zero = np.array(a_middle + 5, a_type), np.array(b_middle - 3, b_type)
        run(f"MatMulInteger_{kind}", "MatMulInteger", [a, b, a_zero, b_zero], domain="", standard=10)
        b_scales = (np.abs(random.reals(11)) * 0.01 + 0.001).astype(np.float32)
        y_zero = np.array(a_middle + 9, a_type)
        inputs = [a, f32(0.02), a_zero, b, b_scales, np.full(11, b_zero), f32(0.2), y_zero]
        run(f"QLinearMatMul_{kind}", "QLinearMatMul", inputs, domain="", standard=10)
        bias = random.reals(11)
        if a_type == np.uint8:
            run(f"MatMulIntegerToFloat_{kind}", "MatMulIntegerToFloat", [a, b, f32(0.02), b_scales, a_zero, np.full(11, b_zero), bias])
            x = random.reals(2, 5, 37)
            run(f"DynamicQuantizeMatMul_{kind}", "DynamicQuantizeMatMul", [x, b, b_scales, np.full(11, b_zero), bias])
        steps = random.generator.integers(-3000, 3000, 11).astype(np.int32)
        inputs = [a[0], f32(0.02), a_zero, b, b_scales, np.full(11, b_zero), steps]
        run(f"QGemm_{kind}_float", "QGemm", inputs, alpha=0.5)
        turned = [np.ascontiguousarray(a[0].T), f32(0.02), a_zero, np.ascontiguousarray(b.T), f32(0.01), b_zero, steps, f32(0.2), y_zero]
        run(f"QGemm_{kind}_turned", "QGemm", turned, transA=1, transB=1)


def few_bits():
    for bits in [2, 4, 8]:
        name = f"MatMulNBits_{bits}"
        random = Random(name)
        depth, columns, block = 48, 7, 16
        blocks = depth // block
        a, codes = random.reals(2, 3, depth), random.codes(np.uint8, columns, blocks, block * bits // 8)
        scales = (np.abs(random.reals(columns, blocks)) * 0.1).astype(np.float32)
        sizes = dict(K=depth, N=columns, bits=bits, block_size=block)
        run(name, "MatMulNBits", [a, codes, scales.reshape(-1)], **sizes)
        zeros = random.codes(np.uint8, columns * -(-blocks * bits // 8))
        run(f"{name}_zeros", "MatMulNBits", [a, codes, scales.reshape(-1), zeros], **sizes)
        bias = random.reals(columns)
        run(f"{name}_bias", "MatMulNBits", [a, codes, scales.reshape(-1), zeros, None, bias], **sizes)
        groups = random.generator.permutation(np.arange(depth) // block).astype(np.int32)
        if bits != 4:
            # ONNX Runtime refuses a group index for bytes, and for two bits does not follow its documentation.
            continue
        run(f"{name}_groups", "MatMulNBits", [a, codes, scales.reshape(-1), None, groups], **sizes)


def tables():
    """Rows of tables of codes in groups, with a last group that is shorter."""
    rows, depth, block = 9, 40, 16
    groups = -(-depth // block)
    for bits in [4, 8]:
        name = f"GatherBlockQuantized_{bits}"
        random = Random(name)
        codes = random.codes(np.uint8, rows, depth * bits // 8)
        scales = (np.abs(random.reals(rows, groups)) * 0.1).astype(np.float32)
        indices = random.generator.integers(-rows, rows, (2, 3))
        sizes = dict(bits=bits, block_size=block)
        run(name, "GatherBlockQuantized", [codes, indices, scales], **sizes)
        if bits == 8:
            zeros = random.codes(np.uint8, rows, groups)
            run(f"{name}_zeros", "GatherBlockQuantized", [codes, indices, scales, zeros], **sizes)
    for dtype in [ml_dtypes.int4, ml_dtypes.uint4]:
        name = f"GatherBlockQuantized_{np.dtype(dtype).name}"
        random = Random(name)
        low = -8 if dtype == ml_dtypes.int4 else 0
        narrow = lambda *shape: random.generator.integers(low, low + 16, shape).astype(dtype)
        codes, zeros = narrow(rows, depth), narrow(rows, groups)
        scales = (np.abs(random.reals(rows, groups)) * 0.1).astype(np.float32)
        indices = random.generator.integers(0, rows, 5).astype(np.int32)
        run(name, "GatherBlockQuantized", [codes, indices, scales], block_size=block)
        run(f"{name}_zeros", "GatherBlockQuantized", [codes, indices, scales, zeros], block_size=block)


def network():
    """A small network with QuantizeLinear and DequantizeLinear around float operators, as ONNX Runtime runs it in integers."""
    random = Random("network")
    nodes, constants = [], []

    def constant(value):
        constants.append(numpy_helper.from_array(np.asarray(value), f"c{len(constants)}"))
        return constants[-1].name

    def node(op, *inputs, **attributes):
        nodes.append(helper.make_node(op, list(inputs), [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def codes(value, scale, zero):
        parameters = [constant(f32(scale)), constant(u8(zero))]
        return node("DequantizeLinear", node("QuantizeLinear", value, *parameters), *parameters)

    def weight(*shape):
        scales = (np.abs(random.reals(shape[0])) * 0.01 + 0.002).astype(np.float32)
        zeros = np.zeros(shape[0], np.int8)
        return node("DequantizeLinear", constant(random.codes(np.int8, *shape)), constant(scales), constant(zeros), axis=0), scales

    def bias(scales, x_scale):
        numbers = random.generator.integers(-3000, 3000, len(scales)).astype(np.int32)
        return node("DequantizeLinear", constant(numbers), constant((scales * np.float32(x_scale)).astype(np.float32)), axis=0)

    def conv(value, x_scale, *shape, **attributes):
        w, scales = weight(*shape)
        return node("Conv", value, w, bias(scales, x_scale), pads=[1, 1, 1, 1], **attributes)

    x = constant(random.reals(2, 3, 12, 11))
    a = codes(node("Relu", conv(codes(x, 0.02, 118), 0.02, 8, 3, 3, 3)), 0.06, 0)
    b = codes(conv(a, 0.06, 8, 1, 3, 3, group=8), 0.15, 131)
    c = codes(conv(b, 0.15, 8, 8, 3, 3), 0.4, 127)
    d = codes(node("Relu", node("Add", a, c)), 0.3, 0)
    e = codes(node("MaxPool", d, kernel_shape=[2, 2], strides=[2, 2]), 0.3, 0)
    f = codes(node("GlobalAveragePool", e), 0.1, 3)
    g = codes(node("Flatten", f), 0.1, 3)
    w, scales = weight(5, 8)
    nodes.append(helper.make_node("Gemm", [g, w, bias(scales, 0.1)], ["y"], transB=1))
    info = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5])]
    graph = helper.make_graph(nodes, "network", [], info, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(with_input(model, x).SerializeToString(), providers=["CPUExecutionProvider"])
    value = next(c for c in constants if c.name == x)
    y = session.run(None, {x: numpy_helper.to_array(value)})[0]
    model.graph.initializer.append(numpy_helper.from_array(y, "expected/y"))
    model.graph.input.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [2, 3, 12, 11]))
    onnx.save(model, os.path.join(FOLDER, "network.onnx"))


def with_input(model, name):
    """The model with a constant turned into an input, so that ONNX Runtime computes nothing in advance."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    kept = [constant for constant in model.graph.initializer if constant.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return model


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    for part in [linear, elementwise, pools, convolutions, products, few_bits, tables, network]:
        part()
    print(len(os.listdir(FOLDER)), "cases from onnxruntime", onnxruntime.__version__)
