"""A graph with Q/DQ for ONNX Runtime's integer kernels: products of INT8 values are added up in 32-bit integers.

By itself ONNX Runtime dequantizes in front of a product whose result is not quantized at once, and multiplies floats.
TensorRT multiplies integers there and brings the sum to float: so does this graph.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KERNELS = {"Conv": "ConvInteger", "MatMul": "MatMulInteger", "Gemm": "MatMulInteger"}


def with_integer_kernels(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Put an integer kernel in place of every convolution and matrix product behind two DequantizeLinear.

    Args:
        model: with Q/DQ of zero points 0, one scale a map and one a channel of output of a weight; left as it is.

    Returns:
        The graph for ONNX Runtime, and how many products it multiplies in integers.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    writer = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in graph.node:
        pair = [writer.get(name) for name in node.input[:2]]
        value, weight = pair if len(pair) == 2 else (None, None)
        if (
            node.op_type not in KERNELS or value is None or weight is None
            or not value.op_type == weight.op_type == "DequantizeLinear" or not _plain(node)
        ):  # fmt: skip
            nodes.append(node)
            continue
        count += 1
        step = numpy_helper.to_array(weights[value.input[1]]).astype(np.float32)
        steps = numpy_helper.to_array(weights[weight.input[1]]).astype(np.float32)
        half = weights[weight.input[1]].data_type == TensorProto.FLOAT16
        nodes += _integer(graph, node, value.input[0], weight.input[0], step * steps, half)
    del graph.node[:]
    graph.node.extend(nodes)
    return made, count


def _plain(node: onnx.NodeProto) -> bool:
    """Whether an integer kernel says the same: a Gemm may scale, or transpose what it takes."""
    given = {one.name: one for one in node.attribute}
    scales = [given[name].f for name in ("alpha", "beta") if name in given]
    return node.op_type != "Gemm" or (all(v == 1.0 for v in scales) and not ("transA" in given and given["transA"].i))


def _integer(
    graph: onnx.GraphProto, node: onnx.NodeProto, value: str, weight: str, steps: np.ndarray, half: bool
) -> list[onnx.NodeProto]:
    """The product in integers, its sum in float, times the steps of both, with the bias added."""
    out, name = node.output[0], node.name or node.output[0]
    made = []
    attributes = [one for one in node.attribute if node.op_type == "Conv"]
    if any(one.name == "transB" and one.i for one in node.attribute):
        made.append(helper.make_node("Transpose", [weight], [f"{out}_w"], name=f"{name}_w", perm=[1, 0]))
        weight = f"{out}_w"
    product = helper.make_node(KERNELS[node.op_type], [value, weight], [f"{out}_i"], name=f"{name}_int8")
    product.attribute.extend(attributes)
    rank = next((len(one.ints) for one in node.attribute if one.name == "kernel_shape"), 2)
    shape = [1, -1, *[1] * rank] if node.op_type == "Conv" else [-1]
    graph.initializer.append(numpy_helper.from_array(steps.reshape(shape).astype(np.float32), f"{out}_steps"))
    made += [
        product,
        helper.make_node("Cast", [f"{out}_i"], [f"{out}_f"], name=f"{name}_float", to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_f", f"{out}_steps"], [f"{out}_m"], name=f"{name}_scaled"),
    ]
    last = f"{out}_m"
    if len(node.input) > 2 and node.input[2]:
        bias = node.input[2]
        if half:
            made.append(helper.make_node("Cast", [bias], [f"{out}_b32"], name=f"{name}_b32", to=TensorProto.FLOAT))
            bias = f"{out}_b32"
        if node.op_type == "Conv":
            graph.initializer.append(numpy_helper.from_array(np.asarray(shape, np.int64), f"{out}_shape"))
            made.append(helper.make_node("Reshape", [bias, f"{out}_shape"], [f"{out}_b"], name=f"{name}_b"))
            bias = f"{out}_b"
        made.append(helper.make_node("Add", [last, bias], [f"{out}_s"], name=f"{name}_biased"))
        last = f"{out}_s"
    to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    made.append(helper.make_node("Cast", [last], [out], name=f"{name}_given", to=to))
    return made
