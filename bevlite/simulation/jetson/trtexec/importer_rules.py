"""What the ONNX parser of each release asserts of a node, in its words.

Sources: the importers of onnx-tensorrt (8.5-GA to 10.x) and NVIDIA's table of operators; the words of the later
releases were read off TensorRT for RTX 1.7, which has the parser of the 11.x generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.graph import Graph, Node

TOPK_LIMIT = 3840
TYPES_8 = frozenset({"FLOAT", "FLOAT16", "INT8", "INT32", "INT64", "BOOL", "UINT8", "DOUBLE"})
"""INT64 and DOUBLE are cast down, with a warning."""
TYPES = TYPES_8 | {"BFLOAT16", "FLOAT8E4M3FN", "INT4", "FLOAT4E2M1", "FLOAT8E8M0"}
QUANTIZED = ("INT8", "UINT8", "INT4", "FLOAT8E4M3FN", "FLOAT4E2M1")
NO_PLUGIN = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
Rule = Callable[[Graph, Node, Release], Iterator[str]]


def assertions(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    """What a node violates, in the parser's words; nothing where it takes the node."""
    for rule in (*RULES.get(node.op, ()), _types):
        yield from rule(graph, node, release)


def _types(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    known = TYPES_8 if release.major == 8 else TYPES
    ends = {tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    for name in (n for n in (*node.inputs, *node.outputs) if n in graph.tensors):
        dtype = graph.tensors[name].dtype
        if dtype in known and not (dtype == "UINT8" and name in node.outputs and name not in ends):
            continue
        if node.op == "Cast":
            yield 'isSupported && "Unsupported data type for the Cast operator!"'
        elif dtype == "UINT8" and node.op == "QuantizeLinear":
            if release.major == 8:
                yield 'zeroPoint.dtype() == INT8 && "TensorRT only supports INT8 zero points"'
        elif dtype == "UINT8":
            yield 'legalUINT8 && "TensorRT does not support UINT8 types for intermediate tensors."'
        else:
            yield f'convertDtype(onnxDtype, &type) && "Found unsupported datatype: {dtype}"'


def _quantizer(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    names = [n for n in node.inputs if n]
    if release.major == 8:
        if len(names) < 3:
            yield 'inputs.size() == 3 && "This version of TensorRT requires an explicit zero point"'
        scale = graph.tensors.get(node.inputs[1])
        if scale is not None and scale.dtype != "FLOAT":
            yield 'scale.type() == DataType::kFLOAT && "Only FP32 scales are supported"'
    if node.op == "DequantizeLinear" and node.inputs[0] in graph.tensors:
        dtype = graph.tensors[node.inputs[0]].dtype
        if dtype not in QUANTIZED:
            yield f'dataType == DataType::kINT8 && "only activation types allowed as input to this layer: {dtype}"'
    zero = graph.values.get(names[2]) if len(names) > 2 else None
    if zero is not None and np.any(zero.astype(np.float64)):
        yield 'shiftIsAllZeros(zeroPoint) && "Non-zero zero point is not supported"'
    values = graph.values.get(node.inputs[1])
    if values is not None and not np.all(values.astype(np.float64) > 0):
        yield 'std::all_of(scales) && "Scale coefficients must all be positive"'


def _batch_norm(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    if node.attributes.get("training_mode", 0):
        yield (
            '!isTraining && "This version of TensorRT does not support training_mode == 1 in BatchNormalization."'
        )  # fmt: skip


def _dropout(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    mode = graph.values.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if mode is not None and bool(np.any(mode)) and release.major >= 10:
        yield '!trainingMode[0] && "TensorRT does not support the Dropout operator in training mode."'


def _pool(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    if release.major >= 10 and any(d != 1 for d in node.attributes.get("dilations", ())):
        yield '(dilations[i] == 1) && "This version of TensorRT does not support dilations other than 1."'


def _einsum(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    equation = node.attributes.get("equation", b"").decode()
    if any(c.isupper() for c in equation):
        yield f'isalpha(c) && "Invalid character(s) in Einsum equation: {equation}"'
    if release.major == 8:
        terms = equation.split("->")[0].replace(" ", "").split(",")
        if "." in equation:
            yield 'equation.find("...") == npos && "Ellipsis is not supported in Einsum"'
        if any(len(set(term)) < len(term) for term in terms):
            yield 'isDiagonal && "Diagonal operations are not supported in Einsum"'


def _topk(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    k = graph.values.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if len(node.inputs) < 2 or not node.inputs[1] or (k is not None and k.size == 0):
        yield 'inputs.size() == 2 && "TopK needs K"'
    elif k is None and release.number < 8600:
        yield 'inputs.at(1).is_weights() && "This version of TensorRT only supports input K as an initializer."'
    elif k is not None and int(k.reshape(-1)[0]) > TOPK_LIMIT:
        yield f"ITopKLayer {node.name}: K exceeds the maximum value allowed ({TOPK_LIMIT})"
    data = graph.tensors.get(node.inputs[0])
    if data is not None and release.number < 8600 and data.dtype not in ("FLOAT", "FLOAT16"):
        yield f"tensor.getType() != {data.dtype}"
    if release.major >= 10 and not node.attributes.get("sorted", 1):
        yield 'sorted == 1 && "This version of TensorRT only supports sorted TopK."'


def _scatter_nd(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    reduction = node.attributes.get("reduction")
    if reduction is not None and release.operators == "10.3":
        yield '!attrs.count("reduction") && "Attribute reduction is not supported."'
    elif reduction not in (None, b"none") and release.major >= 10:
        yield 'mode == "none" && "ScatterND with reduction is not supported."'


def _grid_sample(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    data = graph.tensors.get(node.inputs[0])
    if data is not None and len(data.shape) > 4 and release.number < 110200:
        yield 'inputRank == 4 && "The input tensor must be in 4D."'


def _softmax(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    data, axis = graph.tensors.get(node.inputs[0]), int(node.attributes.get("axis", -1))
    if data is not None and not -len(data.shape) <= axis < max(len(data.shape), 1):
        span = f"Axis must be in the range [0, nbDims ({len(data.shape)})]. Provided axis is: {axis}"
        yield f'(axis >= 0 && axis <= nbDims) && "{span}"'


def _one_output(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    if release.major >= 10 and any(node.outputs[1:]):
        yield f'nonEmptyOutputs == 1 && "This version of TensorRT supports one output of {node.op} nodes"'


def _axes(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    if len(node.inputs) > 1 and node.inputs[1] and node.inputs[1] not in graph.constants:
        yield 'inputs.at(1).is_weights() && "Axis input must be an initializer!"'


def _resize(graph: Graph, node: Node, release: Release) -> Iterator[str]:
    policy = node.attributes.get("keep_aspect_ratio_policy", b"stretch")
    if release.major >= 10 and policy != b"stretch":
        yield f'policy == "stretch" && "keep_aspect_ratio_policy {policy.decode()} is not supported"'
    mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel")
    if mode in (b"tf_crop_and_resize", b"half_pixel_symmetric"):
        yield f'"Unsupported coordinate transformation mode: {mode.decode()}"'


RULES: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(
        (
            "ReduceMean",
            "ReduceSum",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceSumSquare",
            "ReduceLogSum",
            "ReduceLogSumExp",
        ),
        (_axes,),
    ),
    "LayerNormalization": (_one_output,),
    "Resize": (_resize,),
    "QuantizeLinear": (_quantizer,),
    "DequantizeLinear": (_quantizer,),
    "BatchNormalization": (_batch_norm,),
    "Dropout": (_dropout,),
    "MaxPool": (_pool,),
    "AveragePool": (_pool,),
    "Einsum": (_einsum,),
    "TopK": (_topk,),
    "ScatterND": (_scatter_nd,),
    "GridSample": (_grid_sample,),
    "Softmax": (_softmax,),
}
"""By operator; the table of operators has said before that the release has an importer."""
