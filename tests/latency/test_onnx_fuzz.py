"""Mutated ONNX files: predicted, or refused in one line; never a traceback, a hang or an absurd amount of memory.

`BEVLITE_FUZZ` says how many, `BEVLITE_FUZZ_SEED` which.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bevlite.devices.graph_file import GraphFile
from bevlite.errors import BevliteError
from bevlite.export.check.operators import check_model
from bevlite.latency.device import find_device
from bevlite.latency.predictor import GraphPrediction, predict_onnx
from tests.latency.graphs import conv_relu, model, weight
from tests.latency.onnx.test_control_flow import choice, loop
from tests.latency.onnx.test_spelled_out import CASES, attention

COUNT = int(os.environ.get("BEVLITE_FUZZ", "120"))
SEED = int(os.environ.get("BEVLITE_FUZZ_SEED", "0"))
NUMBERS = (-1, 0, 1, 2, 3, 7, 2**31, 2**62, -(2**63), 10**9)
BOARD = find_device("agx-orin-64gb")
Mutation = Callable[[random.Random, onnx.ModelProto], None]


def several() -> onnx.ModelProto:
    """Operators of many kinds, with their attributes and constants."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("MaxPool", ["a"], ["b"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["b", "", "scales"], ["c"], name="resize", mode="linear"),
        helper.make_node("Transpose", ["c"], ["d"], name="turn", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["d", "shape"], ["e"], name="reshape"),
        helper.make_node("MatMul", ["e", "m"], ["f"], name="product"),
        helper.make_node("Softmax", ["f"], ["g"], name="softmax", axis=-1),
        helper.make_node("TopK", ["g", "k"], ["h", "i"], name="top", axis=-1),
        helper.make_node("Gather", ["h", "index"], ["j"], name="gather", axis=0),
        helper.make_node("Slice", ["j", "from", "to", "axes"], ["l"], name="slice"),
        helper.make_node("Einsum", ["l", "l"], ["y"], name="einsum", equation="ij,kj->ik"),
    ]
    constants = [weight("w", 16, 8, 3, 3), weight("m", 16, 32)]
    for name, values in (
        ("shape", [-1, 16]),
        ("k", [4]),
        ("index", [0, 1, 2]),
        ("from", [0]),
        ("to", [2]),
        ("axes", [1]),
    ):
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
    constants.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    return model(nodes, {"x": (1, 8, 32, 32)}, ["y"], constants)


SOURCES: tuple[Callable[[], onnx.ModelProto], ...] = (
    several, several, conv_relu, lambda: choice(2, 3), lambda: loop(4, stacked=True),
    lambda: attention(CASES["mask and cap"][0], 1, softcap=2.0),
)  # fmt: skip


def a_dimension(rng: random.Random, m: onnx.ModelProto) -> None:
    value = rng.choice([*m.graph.input, *m.graph.output])
    dims = value.type.tensor_type.shape.dim
    if dims:
        rng.choice(dims).dim_value = rng.choice(NUMBERS)


def an_attribute(rng: random.Random, m: onnx.ModelProto) -> None:
    nodes = [node for node in m.graph.node if node.attribute]
    if not nodes:
        return
    node = rng.choice(nodes)
    at = rng.randrange(len(node.attribute))
    name = node.attribute[at].name
    value = rng.choice(
        [rng.choice(NUMBERS), [rng.choice(NUMBERS) for _ in range(rng.randrange(4))], 1e30, "x", b"\xff", []]
    )
    try:
        made = helper.make_attribute(name, value, attr_type=onnx.AttributeProto.INTS if value == [] else None)
    except (ValueError, TypeError):
        return
    node.attribute[at].CopyFrom(made)


def a_constant(rng: random.Random, m: onnx.ModelProto) -> None:
    if m.graph.initializer:
        tensor = rng.choice(m.graph.initializer)
        size = rng.randrange(6)
        kind = rng.choice([np.int64, np.float32, np.int32, np.bool_])
        values = np.array([rng.choice(NUMBERS[:6]) for _ in range(size)]).astype(kind)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def dims_of_a_constant(rng: random.Random, m: onnx.ModelProto) -> None:
    if m.graph.initializer:
        tensor = rng.choice(m.graph.initializer)
        tensor.dims[:] = [rng.choice(NUMBERS) for _ in range(rng.randrange(5))]


def wiring(rng: random.Random, m: onnx.ModelProto) -> None:
    node = rng.choice(m.graph.node)
    names = [name for other in m.graph.node for name in (*other.input, *other.output)] + ["", "nobody"]
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif rng.random() < 0.5 and node.input:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.output[0] = rng.choice(names)


def an_operator(rng: random.Random, m: onnx.ModelProto) -> None:
    node = rng.choice(m.graph.node)
    node.op_type = rng.choice(
        ["Conv", "MatMul", "Gemm", "Attention", "Loop", "If", "Scan", "LSTM", "QuantizeLinear", "DequantizeLinear",
         "Concat", "Split", "GridSample", "ScatterND", "NonZero", "", "Custom", "Range", "OneHot", "Einsum",
         "RotaryEmbedding"]
    )  # fmt: skip
    node.domain = rng.choice(["", "", "", "mine", "ai.onnx"])


def types(rng: random.Random, m: onnx.ModelProto) -> None:
    value = rng.choice([*m.graph.input, *m.graph.output])
    value.type.tensor_type.elem_type = rng.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 99])


def opset(rng: random.Random, m: onnx.ModelProto) -> None:
    m.opset_import[0].version = rng.choice([0, 1, 6, 9, 13, 18, 23, 99, -1])


def nodes_less(rng: random.Random, m: onnx.ModelProto) -> None:
    del m.graph.node[rng.randrange(len(m.graph.node))]


def names(rng: random.Random, m: onnx.ModelProto) -> None:
    rng.choice(m.graph.node).name = rng.choice(["", "x" * 5000, "a/b/../c", "\0", "[ONNX Layer: x]"])


MUTATIONS: tuple[Mutation, ...] = (
    a_dimension, an_attribute, an_attribute, a_constant, dims_of_a_constant, wiring, wiring, an_operator, types, opset,
    nodes_less, names,
)  # fmt: skip


def mutated(rng: random.Random) -> bytes:
    """A file with one to three mutations, and now and then with other bytes."""
    file = rng.choice(SOURCES)()
    for _ in range(rng.randrange(1, 4)):
        if file.graph.node:
            rng.choice(MUTATIONS)(rng, file)
    content = bytearray(file.SerializeToString())
    if rng.random() < 0.2:
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.05 else content)


def predicted(path: Path) -> GraphPrediction:
    return predict_onnx(path, BOARD)


@pytest.mark.parametrize("part", range(4))
def test_mutated_files(part: int, tmp_path: Path) -> None:
    refused = taken = 0
    for number in range(part, COUNT, 4):
        rng = random.Random(SEED * 100_003 + number)
        path = tmp_path / f"f{number}.onnx"
        path.write_bytes(mutated(rng))
        said = f"seed {SEED}, file {number}"
        for what in (check_model, GraphFile.read, predicted):
            try:
                found = what(path)
            except BevliteError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 2000, f"{said}: {error}"
            except Exception as error:
                pytest.fail(f"{said}: raised {error!r}")
            else:
                taken += 1
                if hasattr(found, "latency_ms"):
                    low, middle, high = found.lower_ms, found.latency_ms, found.upper_ms
                    assert math.isfinite(high) and 0 <= low <= middle <= high, said
        path.unlink()
    assert refused and taken
