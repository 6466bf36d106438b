"""Writes the ONNX standard's backend test cases as files, for the environment variable BANTAM_ONNX_TESTS.

    python export_cases.py FOLDER

Needs the `onnx` package (written against 1.23.2), which holds the cases of single nodes as Python code. Each case becomes
FOLDER/KIND/NAME/ with model.onnx, data.json (the tolerances) and test_data_set_N/{input,output}_N.pb.
"""

import glob
import json
import os
import shutil
import sys

import numpy as np
import onnx
from onnx.backend.test import cmd_tools
from onnx.backend.test.case.model import collect_testcases
from onnx.backend.test.loader import DATA_DIR, load_model_tests

SHIPPED_AS_FILES = ["simple", "pytorch-converted", "pytorch-operator"]


def write_generated(cases, folder):
    cmd_tools.model_test.collect_testcases = lambda: cases
    cmd_tools.generate_data(type("Arguments", (), {"output": folder}))
    for case in cases:
        write_tolerances(os.path.join(folder, case.kind, case.name), case.rtol, case.atol)


def write_tolerances(case_folder, rtol=1e-3, atol=1e-7):
    with open(os.path.join(case_folder, "data.json"), "w") as file:
        json.dump({"rtol": rtol, "atol": atol}, file)


def copy_shipped(kind, folder):
    for source in glob.glob(os.path.join(DATA_DIR, kind, "test_*")):
        target = os.path.join(folder, kind, os.path.basename(source))
        shutil.copytree(source, target, dirs_exist_ok=True)
        if not os.path.exists(os.path.join(target, "data.json")):
            write_tolerances(target)


def write_light(path, folder):
    """Whole networks with constant weights; the inputs count up from 0 to 1, as the package's own runner has them."""
    target = os.path.join(folder, "light", "test_" + os.path.splitext(os.path.basename(path))[0])
    data_set = os.path.join(target, "test_data_set_0")
    os.makedirs(data_set, exist_ok=True)
    shutil.copy(path, os.path.join(target, "model.onnx"))
    write_tolerances(target)
    graph = onnx.load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    for index, value in enumerate(i for i in graph.input if i.name not in constants):
        shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        data = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
        with open(os.path.join(data_set, f"input_{index}.pb"), "wb") as file:
            file.write(onnx.numpy_helper.from_array(data, value.name).SerializeToString())
    for index in range(len(graph.output)):
        shutil.copy(f"{os.path.splitext(path)[0]}_output_{index}.pb", os.path.join(data_set, f"output_{index}.pb"))


def main(folder):
    write_generated(load_model_tests(kind="node"), folder)
    write_generated([case for case in collect_testcases() if case.kind == "simple"], folder)
    for kind in SHIPPED_AS_FILES:
        copy_shipped(kind, folder)
    for path in sorted(glob.glob(os.path.join(DATA_DIR, "light", "*.onnx"))):
        write_light(path, folder)
    for kind in sorted(os.listdir(folder)):
        print(kind, len(os.listdir(os.path.join(folder, kind))))


if __name__ == "__main__":
    main(sys.argv[1])
