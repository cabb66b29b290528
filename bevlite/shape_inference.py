"""ONNX's own shape inference, for files from anywhere: where its native code would end the process, an error is raised.

The packaged library asserts that a Slice cuts an axis of 0 or more elements, and a file with a pool larger than its
input, or an axis of -1, has none such. So every file with a Slice is inferred first with Slices that cut nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from bevlite.errors import BevliteError

SHRINKS = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool", "AveragePool", "LpPool",
     "MaxUnpool", "Pad", "Expand", "Split", "Resize", "Upsample", "Col2Im", "CenterCropPad", "ConstantOfShape",
     "Reshape", "Tile", "OneHot", "Range", "RoiAlign", "STFT"}
)  # fmt: skip
"""Operators that can give an axis of fewer than 0 elements by what ONNX computes."""


class NegativeSize(BevliteError):
    """A tensor with fewer than no elements on an axis."""


def infer_shapes(model: onnx.ModelProto, *, data_prop: bool = False, strict_mode: bool = False) -> onnx.ModelProto:
    """As `onnx.shape_inference.infer_shapes`.

    An input or a stored shape of -1 counts as not known.

    Raises:
        NegativeSize: an axis of fewer than 0 elements; it names the tensor.
        Exception: whatever ONNX itself has against the file.
    """
    if _has_slices(model.graph):
        model = _checked(model)
        for level in range(1, max(_levels(model.graph).values(), default=1) + 1):
            uncut = onnx.shape_inference.infer_shapes(_uncut(model, level), data_prop=data_prop)
            _require_sizes(uncut.graph)
    return onnx.shape_inference.infer_shapes(model, data_prop=data_prop, strict_mode=strict_mode)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node:
                    yield from _graphs(body)


def _has_slices(graph: onnx.GraphProto) -> bool:
    return any(node.op_type == "Slice" for one in _graphs(graph) for node in one.node)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without sizes below 0 in what it stores (raises NegativeSize where they are of constants)."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy.graph):
        constants = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.HasField("t"))]
        for tensor in constants:
            _require(tensor.name or "a constant", list(tensor.dims))
        for info in (*graph.input, *graph.output, *graph.value_info):
            for dim in info.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and dim.dim_value < 0:
                    dim.ClearField("dim_value")
    return copy


def _require_sizes(graph: onnx.GraphProto) -> None:
    for one in _graphs(graph):
        for info in (*one.value_info, *one.output):
            _require(info.name, [d.dim_value for d in info.type.tensor_type.shape.dim if d.HasField("dim_value")])


def _require(name: str, sizes: list[int]) -> None:
    if any(size < 0 for size in sizes):
        raise NegativeSize(f"tensor '{name[:80]}' has the sizes {sizes[:8]}; accepted: sizes of 0 or more")


def _levels(graph: onnx.GraphProto) -> dict[int, int]:
    """Of every Slice by its place: after how many others it can only be known whether an axis is left to cut.

    Those that follow each other cut less and less of one tensor. One behind a pool, say, behind another one cuts what
    that one has left, which is known once the first is.
    """
    reached: dict[str, tuple[int, bool]] = {}
    levels: dict[int, int] = {}
    for place, node in enumerate(graph.node):
        before = [reached.get(name, (0, False)) for name in node.input]
        level, shrunk = max((k for k, _ in before), default=0), any(flag for _, flag in before)
        if node.op_type == "Slice":
            level = levels[place] = max(1, level + shrunk)
            shrunk = False
        elif node.op_type in SHRINKS:
            shrunk = level > 0
        reached |= dict.fromkeys(node.output, (level, shrunk))
    return levels


def _uncut(model: onnx.ModelProto, level: int) -> onnx.ModelProto:
    """The model with Slices of this level and above, and all in bodies, as operators that cut nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = {place for place, own in _levels(copy.graph).items() if own < level}
    for graph in _graphs(copy.graph):
        for place, node in enumerate(graph.node):
            if node.op_type == "Slice" and not (graph is copy.graph and place in kept):
                node.op_type = "Identity"
                del node.input[1:]
                del node.attribute[:]
    return copy
