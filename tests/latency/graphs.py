"""Small ONNX graphs for the tests, without torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int | str, ...]],
    outputs: list[str],
    constants: list[onnx.TensorProto] | None = None,
    opset: int = 17,
    extra_domains: tuple[str, ...] = (),
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(k, input_type, v) for k, v in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants or [],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    domains = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in extra_domains)]
    return helper.make_model(graph, opset_imports=domains)


def conv_relu(channels: int = 64, size: int = 56) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    constants = [weight("w", channels, channels, 3, 3), weight("b", channels)]
    return model(nodes, {"x": (1, channels, size, size)}, ["y"], constants)
