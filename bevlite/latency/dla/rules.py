"""Which operators the DLA of Orin takes, and in what sizes: NVIDIA's restrictions as a table of rules.

Facts: "DLA Supported Layers and Restrictions" of the TensorRT documentation, and the operator matrix of
github:NVIDIA/Deep-Learning-Accelerator-SW@ea61780e operators/README.md (DLA 3.12 to 3.14). What neither of them says
is refused here, so that a placement never promises too much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from bevlite.latency.onnx.graph import Graph, Node, Tensor
from bevlite.latency.onnx.operators import VIEW_OPS
from bevlite.tensorrt import Version, dla_divides

MAX_BATCH, MAX_DIMENSION = 4096, 8192
KERNEL, CONV_STRIDE, CONV_PADDING, DILATION = 32, 8, 31, 32
DECONV_STRIDE, DECONV_LONG_KERNELS = 32, (64, 96, 128)
POOL_WINDOW, POOL_STRIDE, POOL_PADDING = 8, 16, 7
RESIZE_SCALE = 32
LRN_WINDOWS = (3, 5, 7, 9)


def refusal(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    """Why a node cannot run on the DLA; empty when it can. `constants` are tensors known when the engine is built."""
    rule = RULES.get(node.op)
    if node.domain or rule is None:
        return _UNSUPPORTED.get(node.op, f"{node.domain or 'ONNX'} operator {node.op} is not in NVIDIA's list")
    tensors = [graph.tensor(name) for name in (*node.inputs, *node.outputs) if name and name not in constants]
    return next((reason for tensor in tensors if (reason := _size(tensor))), "") or rule(
        graph, node, constants, version
    )


def _size(tensor: Tensor) -> str:
    if not tensor.is_float:
        return f"'{tensor.name}' holds integers; the DLA computes in FP16 and INT8"
    if (batch := prod(tensor.shape[:-3])) > MAX_BATCH:
        return f"batch {batch} (all but the last three dimensions); at most {MAX_BATCH}"
    largest = max(tensor.shape[-3:], default=1)
    return f"a dimension of {largest}; at most {MAX_DIMENSION}" if largest > MAX_DIMENSION else ""


def _free(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    return ""


def _four_dimensions(graph: Graph, node: Node) -> str:
    ranks = {len(graph.tensor(name).shape) for name in (node.inputs[0], node.outputs[0])}
    return "" if ranks == {4} else f"{min(ranks)} to {max(ranks)} dimensions; accepted: 4"


def _windows(node: Node, kernel: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Strides, paddings and dilations of a node over two axes, as ONNX fills them in."""
    axes = len(kernel)
    return (
        list(node.attribute("strides", [1] * axes)),
        list(node.attribute("pads", [0] * 2 * axes)),
        list(node.attribute("dilations", [1] * axes)),
    )


def _no_fixed_kernel(node: Node, constants: frozenset[str], kernel: tuple[int, ...]) -> str:
    """Why a convolution, transposed or not, is none over an image with constant weights; empty when it is."""
    if any(name not in constants for name in node.inputs[1:] if name):
        return "the weights come from the network"
    return "" if len(kernel) == 2 else f"a convolution over {len(kernel)} axes; accepted: 2"


def _convolution(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    kernel = graph.tensor(node.inputs[1]).shape[2:]
    if why := _no_fixed_kernel(node, constants, kernel):
        return why
    strides, pads, dilations = _windows(node, kernel)
    if max(kernel) > KERNEL:
        return f"window {max(kernel)}; at most {KERNEL}"
    if max(strides) > CONV_STRIDE:
        return f"stride {max(strides)}; at most {CONV_STRIDE}"
    if max(pads) > CONV_PADDING or any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True) if pad):
        return f"padding {max(pads)} of a window of {kernel[0]} x {kernel[1]}; accepted: less than the window"
    if max(dilations) > DILATION:
        return f"dilation {max(dilations)}; at most {DILATION}"
    return ""


def _deconvolution(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    kernel = graph.tensor(node.inputs[1]).shape[2:]
    if why := _no_fixed_kernel(node, constants, kernel):
        return why
    strides, pads, dilations = _windows(node, kernel)
    long = sorted(kernel) in [[1, size] for size in DECONV_LONG_KERNELS]
    if max(kernel) > KERNEL and not long:
        return f"window {kernel[0]} x {kernel[1]}; at most {KERNEL}, or 64, 96, 128 by 1"
    if max(strides) > DECONV_STRIDE:
        return f"stride {max(strides)}; at most {DECONV_STRIDE}"
    if any((*pads, *node.attribute("output_padding", []))):
        return f"padding {max(pads)} of a transposed convolution; accepted: 0"
    if int(node.attribute("group", 1)) != 1 or max(dilations) > 1:
        return "a grouped or dilated transposed convolution"
    return ""


def _pooling(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    kernel = tuple(node.attribute("kernel_shape", ()))
    if len(kernel) != 2:
        return f"pooling over {len(kernel)} axes; accepted: 2"
    strides, pads, dilations = _windows(node, kernel)
    if max(kernel) > POOL_WINDOW:
        return f"window {kernel[0]} x {kernel[1]}; at most {POOL_WINDOW}"
    if max(strides) > POOL_STRIDE:
        return f"stride {max(strides)}; at most {POOL_STRIDE}"
    if max(pads) > POOL_PADDING or max(dilations) > 1:
        return f"padding {max(pads)}, dilation {max(dilations)}; accepted: padding to {POOL_PADDING}, no dilation"
    return ""


def _product(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    if node.inputs[0] in constants or node.inputs[1] not in constants:
        return "a product of two activations (attention); accepted: a constant second input"
    return "a transposed first input" if node.attribute("transA", 0) else ""


def _elementwise(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    if node.op in ("Div", "Min", "Pow") and not dla_divides(version):
        return f"{node.op} needs a newer compiler of the DLA (TensorRT 10)"
    shapes = [graph.tensor(name).shape for name in node.inputs if name and name not in constants]
    if len(shapes) < 2 or len(set(shapes)) == 1:
        return ""
    target = graph.tensor(node.outputs[0]).shape
    channels = {target, (*target[:-2], 1, 1), (target[0], *(1 for _ in target[1:]))}
    if len(target) == 4 and set(shapes) <= channels:
        return ""
    found = " and ".join("x".join(map(str, shape)) for shape in shapes)
    return f"operands {found}; accepted: the same shape, or one value a channel"


def _clip(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    return "limits that the network calculates" if any(n and n not in constants for n in node.inputs[1:]) else ""


def _slope(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    return "" if node.inputs[1] in constants else "a slope that the network calculates"


def _concat(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    rank = len(graph.tensor(node.outputs[0]).shape)
    axis = int(node.attribute("axis", 1)) % max(rank, 1)
    return "" if rank == 4 and axis == 1 else f"axis {axis} of {rank} dimensions; accepted: the channels of 4"


def _cut(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    source, target = (graph.tensor(name).shape for name in (node.inputs[0], node.outputs[0]))
    return _four_dimensions(graph, node) or ("" if source[0] == target[0] else "a part of the batch")


def _shuffle(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    source, target = (graph.tensor(name).shape for name in (node.inputs[0], node.outputs[0]))
    readers = {graph.nodes[index].op for index in graph.consumers.get(node.outputs[0], ())}
    if readers and readers <= {"Gemm", "MatMul"} and len(source) == 4 and source[0] == target[0]:
        return ""  # goes into the product behind it, which becomes a convolution
    moved = node.op == "Transpose" and node.attribute("perm", [-1])[0] != 0
    kept = source[:1] == target[:1] and not moved
    return _four_dimensions(graph, node) or ("" if kept else "the batch would move")


def _softmax(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    return _four_dimensions(graph, node) or ("a softmax over the batch" if node.attribute("axis", -1) == 0 else "")


def _resize(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    if problem := _four_dimensions(graph, node):
        return problem
    source, target = (graph.tensor(name).shape for name in (node.inputs[0], node.outputs[0]))
    mode = str(node.attribute("mode", "nearest"))
    scales = [b / a for a, b in zip(source[2:], target[2:], strict=True)]
    if source[:2] != target[:2] or not all(1 <= scale <= RESIZE_SCALE for scale in scales):
        return f"scale {scales[0]:g} x {scales[1]:g}; accepted: 1 to {RESIZE_SCALE} over height and width"
    if mode == "nearest":
        return "" if all(scale.is_integer() for scale in scales) else f"nearest by {scales[0]:g}; accepted: integers"
    place = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    if mode != "linear" or place not in ("half_pixel", "pytorch_half_pixel"):
        return f"mode {mode}, {place}; accepted: nearest, or linear with half_pixel"
    return ""


def _lrn(graph: Graph, node: Node, constants: frozenset[str], version: Version) -> str:
    size = int(node.attribute("size", 0))
    return "" if size in LRN_WINDOWS else f"window {size}; accepted: {', '.join(map(str, LRN_WINDOWS))}"


Rule = Callable[[Graph, Node, frozenset[str], Version], str]
RULES: Mapping[str, Rule] = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "Gemm": _product,
    "MatMul": _product,
    **dict.fromkeys(("MaxPool", "AveragePool"), _pooling),
    **dict.fromkeys(("Add", "Sub", "Mul", "Sum", "Max", "Min", "Div", "Pow"), _elementwise),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs", "BatchNormalization"), _free),
    **dict.fromkeys(("Slice", "Split"), _cut),
    **dict.fromkeys((*VIEW_OPS, "Transpose"), _shuffle),
    "Clip": _clip,
    "PRelu": _slope,
    "Concat": _concat,
    "Softmax": _softmax,
    "Resize": _resize,
    "Upsample": _resize,
    "LRN": _lrn,
}
_UNSUPPORTED = {
    "GlobalAveragePool": "not exposed by TensorRT; an AveragePool of at most 8 x 8 windows, or several, would do",
    "ReduceMean": "not exposed by TensorRT; AveragePool nodes would do",
    "GlobalMaxPool": "not exposed by TensorRT on Jetson; MaxPool nodes would do",
    "Cast": "the DLA computes in one precision; a cast ends its part",
    "HardSwish": "not exposed by TensorRT; Relu6 and Mul would do",
    "HardSigmoid": "not exposed by TensorRT; Clip and Mul would do",
    "Pad": "not exposed by TensorRT; the padding of the convolution behind it would do",
}
