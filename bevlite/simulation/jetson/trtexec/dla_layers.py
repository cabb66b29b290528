"""Which operators the deep learning accelerator of the emulated board takes.

Sources: "DLA Supported Layers and Restrictions" of NVIDIA's documentation, the notes on DLA in NvInfer.h (8.5.3; those
of ISoftMaxLayer say how long an axis may be), and the operators of github:NVIDIA/Deep-Learning-Accelerator-SW. What
none of them names falls to the GPU: global pooling and means among, which the parser makes a Reduce layer of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.graph import Graph, Node

BATCH, DIMENSION = 4096, 8192
SOFTMAX_AXIS, SOFTMAX_LONE_AXIS = 1024, 8192
REALS = ("FLOAT", "FLOAT16")
SINCE_10 = frozenset({"Div", "Min", "Pow"})


def takes(graph: Graph, node: Node, release: Release) -> bool:
    """Whether a node can run on the DLA."""
    rule = RULES.get(node.op)
    if rule is None or node.domain not in ("", "ai.onnx") or (node.op in SINCE_10 and release.major < 10):
        return False
    moving = [name for name in (*node.inputs, *node.outputs) if name and name not in graph.constants]
    return all(_fits(graph, name) for name in moving) and rule(graph, node)


def _fits(graph: Graph, name: str) -> bool:
    tensor = graph.tensors.get(name)
    if tensor is None or tensor.dtype not in REALS:
        return False
    return prod(tensor.shape[:-3]) <= BATCH and all(size <= DIMENSION for size in tensor.shape[-3:])


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.tensors[name].shape if name in graph.tensors else ()


def _numbers(node: Node, name: str, default: int, count: int) -> tuple[int, ...]:
    return tuple(node.attributes.get(name) or [default] * count)


def _word(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_constant(graph: Graph, node: Node, first: int) -> bool:
    """Whether every input from `first` on is known when the engine is built."""
    return all(name in graph.constants for name in node.inputs[first:] if name)


def _anything(graph: Graph, node: Node) -> bool:
    return True


def _constants_behind(graph: Graph, node: Node) -> bool:
    return _is_constant(graph, node, 1)


def _convolution(graph: Graph, node: Node) -> bool:
    kernel = _shape(graph, node.inputs[1])[2:]
    if len(kernel) != 2 or not _is_constant(graph, node, 1):
        return False
    pads = _numbers(node, "pads", 0, 4)
    return (
        max(kernel) <= 32
        and max(_numbers(node, "strides", 1, 2)) <= 8
        and max(_numbers(node, "dilations", 1, 2)) <= 32
        and all(pad <= 31 and (pad == 0 or pad < size) for pad, size in zip(pads, kernel * 2, strict=True))
    )


def _deconvolution(graph: Graph, node: Node) -> bool:
    kernel = _shape(graph, node.inputs[1])[2:]
    if len(kernel) != 2 or not _is_constant(graph, node, 1):
        return False
    long = min(kernel) == 1 and max(kernel) in (64, 96, 128)
    return (
        (max(kernel) <= 32 or long)
        and max(_numbers(node, "strides", 1, 2)) <= 32
        and max(_numbers(node, "dilations", 1, 2)) == 1
        and not any(_numbers(node, "pads", 0, 4) + _numbers(node, "output_padding", 0, 2))
        and int(node.attributes.get("group", 1)) == 1
    )


def _pooling(graph: Graph, node: Node) -> bool:
    kernel = _numbers(node, "kernel_shape", 1, 2)
    return (
        len(kernel) == 2
        and max(kernel) <= 8
        and max(_numbers(node, "strides", 1, 2)) <= 16
        and max(_numbers(node, "pads", 0, 4)) <= 7
        and max(_numbers(node, "dilations", 1, 2)) == 1
    )


def _product(graph: Graph, node: Node) -> bool:
    weights_second = node.inputs[0] not in graph.constants and node.inputs[1] in graph.constants
    return weights_second and not node.attributes.get("transA", 0)


def _elementwise(graph: Graph, node: Node) -> bool:
    """Operands of one shape, or one with a value a channel (NC11) or an image (N111)."""
    shapes = {_shape(graph, name) for name in node.inputs if name not in graph.constants}
    whole = _shape(graph, node.outputs[0])
    if len(shapes) == 1:
        return True
    return len(whole) == 4 and shapes <= {whole, (*whole[:2], 1, 1), (whole[0], 1, 1, 1)}


def _concatenation(graph: Graph, node: Node) -> bool:
    return len(_shape(graph, node.outputs[0])) == 4 and int(node.attributes.get("axis", 1)) in (1, -3)


def _inside_the_batch(graph: Graph, node: Node) -> bool:
    before, after = _shape(graph, node.inputs[0]), _shape(graph, node.outputs[0])
    return len(before) == len(after) == 4 and before[0] == after[0] and _numbers(node, "perm", 0, 1)[0] == 0


def _softmax(graph: Graph, node: Node) -> bool:
    shape = _shape(graph, node.inputs[0])
    axis = int(node.attributes.get("axis", -1 if graph.opset >= 13 else 1)) % max(len(shape), 1)
    if len(shape) != 4 or axis == 0:
        return False
    alone = all(size == 1 for place, size in enumerate(shape) if place not in (0, axis))
    return shape[axis] <= (SOFTMAX_LONE_AXIS if alone else SOFTMAX_AXIS)


def _resize(graph: Graph, node: Node) -> bool:
    before, after = _shape(graph, node.inputs[0]), _shape(graph, node.outputs[0])
    if len(before) != 4 or len(after) != 4 or before[:2] != after[:2]:
        return False
    scales = [b / a for a, b in zip(before[2:], after[2:], strict=True)]
    if not all(1 <= scale <= 32 for scale in scales):
        return False
    mode = _word(node, "mode", "nearest")
    if mode == "nearest":
        return all(scale.is_integer() for scale in scales)
    place = _word(node, "coordinate_transformation_mode", "half_pixel")
    return mode == "linear" and place in ("half_pixel", "pytorch_half_pixel")


def _lrn(graph: Graph, node: Node) -> bool:
    return node.attributes.get("size") in (3, 5, 7, 9)


RULES: Mapping[str, Callable[[Graph, Node], bool]] = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    **dict.fromkeys(("Gemm", "MatMul"), _product),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pooling),
    **dict.fromkeys(("Add", "Sub", "Mul", "Sum", "Max", *SINCE_10), _elementwise),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs"), _anything),
    **dict.fromkeys(("Clip", "PRelu", "BatchNormalization"), _constants_behind),
    **dict.fromkeys(("Slice", "Split", "Transpose"), _inside_the_batch),
    "Concat": _concatenation,
    "Softmax": _softmax,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "LRN": _lrn,
}
"""By operator; reshapes and casts are no layers of their own here."""
