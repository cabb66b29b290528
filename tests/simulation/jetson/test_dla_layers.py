"""What the emulated DLA takes, against NVIDIA's restrictions, and against the library's own reading of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.latency.dla import rules
from bevlite.latency.onnx.graph import read_graph as read_latency_graph
from bevlite.simulation.jetson.releases import find_release
from bevlite.simulation.jetson.timing.graph import read_graph
from bevlite.simulation.jetson.trtexec.dla_layers import RULES, takes

MAP = (1, 16, 32, 32)
W33 = (16, 16, 3, 3)


def single(op: str, inputs: list[tuple[int, ...]], weights: list[Any], attributes: dict[str, Any]) -> onnx.ModelProto:
    """A network of one operator: activations first, then constants (a shape for random ones)."""
    names = [f"x{i}" for i in range(len(inputs))]
    constants = []
    for number, weight in enumerate(weights):
        if weight is None:
            names.append("")
            continue
        value = np.ones(weight, np.float32) if isinstance(weight, tuple) else weight
        constants.append(numpy_helper.from_array(value, f"w{number}"))
        names.append(f"w{number}")
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="/one", **attributes)],
        "one",
        [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


def scales(height: float, width: float) -> np.ndarray:
    return np.array([1, 1, height, width], np.float32)


CASES: list[tuple[bool, str, list[tuple[int, ...]], list[Any], dict[str, Any]]] = [
    (True, "Conv", [MAP], [W33], {"pads": [1] * 4, "strides": [2, 2]}),
    (True, "Conv", [MAP], [(16, 1, 3, 3)], {"group": 16}),
    (False, "Conv", [MAP], [W33], {"strides": [9, 9]}),
    (False, "Conv", [MAP], [W33], {"pads": [3, 3, 3, 3]}),  # not less than the window
    (False, "Conv", [(1, 16, 80, 80)], [W33], {"dilations": [33, 33]}),
    (False, "Conv", [(1, 16, 40, 40)], [(16, 16, 33, 33)], {}),
    (False, "Conv", [MAP, W33], [], {}),  # weights that the network calculates
    (False, "Conv", [(1, 16, 32)], [(16, 16, 3)], {}),
    (True, "ConvTranspose", [MAP], [(16, 8, 2, 2)], {"strides": [2, 2]}),
    (True, "ConvTranspose", [MAP], [(16, 8, 1, 64)], {"strides": [1, 32]}),
    (False, "ConvTranspose", [MAP], [(16, 8, 4, 4)], {"strides": [2, 2], "pads": [1] * 4}),
    (False, "ConvTranspose", [MAP], [(16, 1, 2, 2)], {"strides": [2, 2], "group": 16}),
    (True, "MaxPool", [MAP], [], {"kernel_shape": [8, 8], "strides": [8, 8]}),
    (False, "MaxPool", [MAP], [], {"kernel_shape": [9, 9]}),
    (False, "AveragePool", [(1, 16, 64, 64)], [], {"kernel_shape": [2, 2], "strides": [17, 17]}),
    (False, "GlobalAveragePool", [(1, 16, 8, 8)], [], {}),  # a Reduce layer, however small
    (False, "ReduceMean", [MAP], [], {"axes": [2, 3]}),
    (True, "Add", [MAP, MAP], [], {}),
    (True, "Mul", [MAP, (1, 16, 1, 1)], [], {}),
    (False, "Mul", [MAP, (1, 1, 32, 32)], [], {}),
    (True, "Mul", [MAP], [(1, 16, 1, 1)], {}),
    (True, "Div", [MAP, MAP], [], {}),
    (True, "Gemm", [(4, 16)], [(16, 8)], {}),
    (False, "MatMul", [(1, 1, 8, 16), (1, 1, 16, 8)], [], {}),
    (True, "Clip", [MAP], [np.float32(0), np.float32(6)], {}),
    (True, "PRelu", [MAP], [(16, 1, 1)], {}),
    (False, "PRelu", [MAP, (1, 16, 1, 1)], [], {}),
    (True, "Concat", [MAP, MAP], [], {"axis": 1}),
    (False, "Concat", [MAP, MAP], [], {"axis": 2}),
    (True, "Transpose", [MAP], [], {"perm": [0, 2, 3, 1]}),
    (False, "Transpose", [(2, 16, 8, 8)], [], {"perm": [1, 0, 2, 3]}),
    (True, "Softmax", [MAP], [], {"axis": 1}),
    (False, "Softmax", [(4, 16)], [], {"axis": 1}),
    (True, "Resize", [MAP], [None, scales(2, 2)], {"mode": "nearest"}),
    (False, "Resize", [MAP], [None, scales(1.5, 1.5)], {"mode": "nearest"}),
    (True, "Resize", [MAP], [None, scales(1.5, 1.5)], {"mode": "linear"}),
    (False, "Resize", [MAP], [None, scales(2, 2)],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    (False, "Resize", [MAP], [None, scales(0.5, 0.5)], {"mode": "linear"}),
    (True, "LRN", [MAP], [], {"size": 5}),
    (False, "LRN", [MAP], [], {"size": 4}),
    (False, "HardSwish", [MAP], [], {}),
    (False, "Exp", [MAP], [], {}),
    (False, "Relu", [(1, 16, 1, 8193)], [], {}),
    (False, "Relu", [(4097, 1, 1, 1)], [], {}),
]  # fmt: skip


@pytest.mark.parametrize(("taken", "op", "inputs", "weights", "attributes"), CASES)
def test_a_layer_is_taken_as_the_documentation_says(
    taken: bool, op: str, inputs: list[tuple[int, ...]], weights: list[Any], attributes: dict[str, Any]
) -> None:
    model = single(op, inputs, weights, attributes)
    graph = read_graph(model, {})
    assert takes(graph, graph.nodes[-1], find_release("10.3.0")) is taken
    # The library predicts by rules of its own: two readings of one documentation.
    theirs = read_latency_graph(model)
    constants = frozenset(tensor.name for tensor in model.graph.initializer)
    reason = rules.refusal(theirs, theirs.nodes[-1], constants, (10, 3))
    assert (reason == "") is taken, reason


@pytest.mark.parametrize(("size", "taken"), [(1024, True), (1025, False)])
def test_a_long_softmax_is_taken_only_over_a_lone_axis(size: int, taken: bool) -> None:
    for shape, expected in (((1, size, 2, 2), taken), ((1, size, 1, 1), True), ((1, 8193, 1, 1), False)):
        graph = read_graph(single("Softmax", [shape], [], {"axis": 1}), {})
        assert takes(graph, graph.nodes[0], find_release("10.3.0")) is expected


@pytest.mark.parametrize("op", ["Div", "Min", "Pow"])
def test_what_needs_a_newer_compiler(op: str) -> None:
    graph = read_graph(single(op, [MAP, MAP], [], {}), {})
    versions = {version: takes(graph, graph.nodes[0], find_release(version)) for version in ("8.5.2", "8.6.2", "10.3")}
    assert versions == {"8.5.2": False, "8.6.2": False, "10.3": True}


def test_both_readings_know_the_same_operators() -> None:
    views = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast"}  # no layers of the emulator's
    assert set(RULES) - views == set(rules.RULES) - views


def test_the_emulator_shares_no_code_with_the_latency_model() -> None:
    folder = Path(__file__).parents[3] / "bevlite" / "simulation" / "jetson"
    imported = re.compile(r"^\s*(?:from|import) bevlite\.latency", re.M)
    guilty = [file.name for file in folder.rglob("*.py") if imported.search(file.read_text(encoding="utf-8"))]
    assert guilty == []
