"""What the table of operators cannot say: cases that parse and then fail, run wrongly, or run slowly.

Sources: `onnx-tensorrt/docs/operators.md` and importers (8.5-GA, 8.6-GA, 10.x, 11.1); the issues named below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from bevlite.latency.onnx.folding import infer_shapes
from bevlite.latency.onnx.graph import strip_weights
from bevlite.tensorrt import LATER, TENSORRT_8

TOPK_LIMIT = 3840
FP16_MAX = 65504
_READABLE = 1 << 16  # constants up to this size are read: scales, zero points, K


@dataclass(frozen=True)
class Problem:
    """One finding before it is tied to a version; `versions` empty means all."""

    severity: Literal["error", "silent_wrong", "warning"]
    reason: str
    remedy: str
    versions: tuple[str, ...] = ()
    node: str = ""

    def applies(self, key: str) -> bool:
        """Whether it holds for a column of the table."""
        return not self.versions or key in self.versions


@dataclass(frozen=True)
class Context:
    """What the rules look at: nodes, shapes where they are known, element types, readable constants."""

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[onnx.ValueInfoProto, ...]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, int]
    values: dict[str, np.ndarray[Any, Any]]
    constants: frozenset[str]
    producers: dict[str, onnx.NodeProto]
    consumers: dict[str, tuple[onnx.NodeProto, ...]]
    opset: int


def build_context(model: onnx.ModelProto) -> Context:
    """Collect what the rules need; shapes that cannot be inferred are simply absent."""
    graph = model.graph
    values: dict[str, np.ndarray[Any, Any]] = {}
    constants = {t.name for t in graph.initializer}
    tensors = [(t.name, t) for t in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            constants.add(node.output[0])
            tensors += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    for name, tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= _READABLE:
            with suppress(ValueError):  # a file whose weights were taken out: shapes are enough for the other rules
                values[name] = numpy_helper.to_array(tensor)
    try:
        inferred = infer_shapes(strip_weights(model))
    except Exception:  # an invalid graph is for the parser to refuse; the other rules still hold
        inferred = model
    shapes = {name: tuple(tensor.dims) for name, tensor in tensors}
    types = {name: int(tensor.data_type) for name, tensor in tensors}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        kind = info.type.tensor_type
        types.setdefault(info.name, kind.elem_type)
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shapes.setdefault(info.name, tuple(d.dim_value for d in kind.shape.dim))
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    initializers = {t.name for t in graph.initializer}
    return Context(
        nodes=tuple(graph.node),
        inputs=tuple(i for i in graph.input if i.name not in initializers),
        shapes=shapes,
        types=types,
        values=values,
        constants=frozenset(constants),
        producers={name: node for node in graph.node for name in node.output},
        consumers={name: tuple(nodes) for name, nodes in consumers.items()},
        opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
    )


def graph_problems(context: Context) -> Iterator[Problem]:
    """What is wrong with the inputs of the file, whatever its nodes."""
    for info in context.inputs:
        kind = info.type.tensor_type
        where = f"input '{info.name}'"
        if not kind.HasField("shape") or any(d.dim_value <= 0 for d in kind.shape.dim):
            yield Problem("error", f"{where} has a dynamic shape", "export with static shapes", node=info.name)
        if kind.elem_type in (TensorProto.INT64, TensorProto.DOUBLE):
            narrow = "INT32" if kind.elem_type == TensorProto.INT64 else "FLOAT"
            wide = "INT64" if narrow == "INT32" else "DOUBLE"
            reason = f"{where} is {wide}: TensorRT 8 casts it to {narrow}, later versions do not"
            yield Problem("warning", reason, f"make it {narrow}", node=info.name)
        readers = context.consumers.get(info.name, ())
        if kind.elem_type == TensorProto.UINT8 and any(n.op_type != "Cast" for n in readers):
            reason = f"{where} is UINT8 and read by {', '.join(sorted({n.op_type for n in readers}))}"
            yield Problem("error", reason, "cast it to a float type first", node=info.name)
        if kind.elem_type == TensorProto.BFLOAT16:
            yield Problem("error", f"{where} is BFLOAT16", "use FP16 or FP32", TENSORRT_8, info.name)


def _attribute(node: onnx.NodeProto, key: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == key:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _grid_sample(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    mode = _attribute(node, "mode", "linear" if c.opset >= 20 else "bilinear")
    if mode in ("linear", "cubic"):
        reason = f"mode '{mode}' of opset 20 is not recognised and runs as nearest (TensorRT#4646)"
        yield Problem("silent_wrong", reason, "export at opset 16 to 19, where it is called bilinear or bicubic")
    if len(c.shapes.get(node.input[0], ())) == 5:
        yield Problem("error", "5-D (volumetric) GridSample fails (TensorRT#3207)", "sample slices in 4-D")


def _scatter_nd(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    reduction = _attribute(node, "reduction", None)
    remedy = "replace the scatter by gathers and sums"
    if reduction not in (None, "none"):
        reason = f"reduction '{reduction}' is not read: values overwrite each other (TensorRT#3750)"
        yield Problem("silent_wrong", reason, remedy, TENSORRT_8)
        yield Problem("error", f"reduction '{reduction}' is not supported", remedy, LATER)
    elif reduction == "none":
        reason = "attribute reduction is refused before 10.9, even 'none'"
        yield Problem("error", reason, "remove it (the TorchScript exporter does not write it)", ("10.3",))


def _scatter_elements(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    reduction = _attribute(node, "reduction", "none")
    if reduction != "none":
        remedy = "replace the scatter by gathers and sums"
        reason = f"reduction '{reduction}' is not read: values overwrite each other"
        yield Problem("silent_wrong", reason, remedy, TENSORRT_8)
        yield Problem("warning", f"reduction '{reduction}' runs through a plugin of libnvinfer_plugin", remedy, LATER)


def _topk(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    k = c.values.get(node.input[1]) if len(node.input) > 1 else None
    if k is None:
        yield Problem("error", "K is no constant", "give K as an initializer")
    elif int(k.reshape(-1)[0]) > TOPK_LIMIT:
        yield Problem("error", f"K = {int(k.reshape(-1)[0])} is over {TOPK_LIMIT}", f"use at most {TOPK_LIMIT}")
    elif int(k.reshape(-1)[0]) == TOPK_LIMIT:
        reason = f"K = {TOPK_LIMIT} is the limit, and the documents differ on whether it is allowed"
        yield Problem("warning", reason, f"use fewer than {TOPK_LIMIT}")
    if not _attribute(node, "sorted", 1):
        yield Problem("error", "sorted = 0 is not supported", "set sorted = 1", LATER)


def _quantize(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    scale = c.values.get(node.input[1])
    if node.input[1] not in c.constants:
        yield Problem("error", "the scale is no constant", "give the scale as an initializer")
    if scale is not None and not (np.isfinite(scale.astype(np.float64)).all() and (scale > 0).all()):
        yield Problem("error", "a scale is not a positive number", "calibrate again: a zero range gives scale 0")
    if c.types.get(node.input[1]) == TensorProto.FLOAT16:
        yield Problem("error", "FP16 scales are not accepted", "use FP32 scales (the weak emission)", TENSORRT_8)
    activation = node.op_type == "QuantizeLinear" and node.input[0] not in c.constants
    if scale is not None and scale.size > 1 and activation:
        yield Problem("error", "per-axis scales on an activation", "quantise activations per tensor")
    zero = node.input[2] if len(node.input) > 2 else ""
    if not zero:
        yield Problem("error", "the zero point is missing", "write an INT8 zero point of 0", TENSORRT_8)
        return
    value = c.values.get(zero)
    if value is not None and value.astype(np.int64).any():
        yield Problem("error", "the zero point is not 0", "quantise symmetrically")
    if c.types.get(zero) == TensorProto.UINT8:
        yield Problem("error", "the zero point is UINT8", "quantise to INT8", TENSORRT_8)
        yield Problem("silent_wrong", "a UINT8 zero point is read as INT8", "quantise to INT8", LATER)


def _einsum(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    equation = str(_attribute(node, "equation", ""))
    terms = equation.split("->")[0].replace(" ", "").split(",")
    remedy = "write it as MatMul, Transpose and Reshape"
    if "..." in equation:
        yield Problem("error", "Einsum with an ellipsis is not supported", remedy, TENSORRT_8)
        yield Problem("warning", "Einsum with an ellipsis is refused by some importers", remedy, LATER)
    if any(len(set(term)) < len(term.replace(".", "")) for term in terms if "..." not in term):
        yield Problem("error", "Einsum over a diagonal is not supported", remedy)


def _mod(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if _attribute(node, "fmod", 0):
        yield Problem("error", "Mod with fmod = 1 is not supported", "use x - floor(x / y) * y")


def _data_dependent(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    yield Problem("error", "the shape of its output depends on the data: no static shapes, no CUDA graph",
                  "use TopK with a fixed K, or do it outside the network")  # fmt: skip


def _softmax(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    shape = c.shapes.get(node.input[0], ())
    axis = int(_attribute(node, "axis", -1))
    if shape and shape[axis] >= FP16_MAX:
        reason = f"{shape[axis]} keys: FP16 attention gives NaN from about {FP16_MAX} on (tier4/autoware-ml#95)"
        yield Problem("silent_wrong", reason, "use a smaller map, or keep this attention in FP32")


def _reduce_mean(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    """The variance of a decomposed LayerNorm: Pow (or Mul by itself), ReduceMean, Add, Sqrt."""
    square = c.producers.get(node.input[0])
    squared = square is not None and (
        square.op_type == "Pow" or (square.op_type == "Mul" and square.input[0] == square.input[1])
    )
    after = [n for r in c.consumers.get(node.output[0], ()) for n in (r, *c.consumers.get(r.output[0], ()))]
    if squared and any(n.op_type in ("Sqrt", "Reciprocal") for n in after):
        declared = c.types.get(node.input[0]) == TensorProto.FLOAT16
        reason = "decomposed LayerNorm: its squares overflow in FP16 (TensorRT#2564)"
        where = "cast its input to FP32" if declared else "build these layers in FP32"
        remedy = f"{where}, or export LayerNormalization at opset 17 (from 8.6 on)"
        yield Problem("silent_wrong" if declared else "warning", reason, remedy)


def _max_pool(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if len(node.output) > 1 and node.output[1]:
        yield Problem("error", "the output Indices is not supported", "do not use the indices")
    if any(d != 1 for d in _attribute(node, "dilations", [])):
        yield Problem("error", "dilations are not supported", "pool without dilation", LATER)


def _resize(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    mode = _attribute(node, "mode", "nearest")
    if mode not in ("nearest", "linear"):
        yield Problem("error", f"mode '{mode}' is not supported", "use nearest or linear")
    if _attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        yield Problem("error", "tf_crop_and_resize is not supported", "use half_pixel or align_corners")
    if _attribute(node, "antialias", 0):
        yield Problem("error", "antialiasing is not supported", "resize without it", LATER)


def _layer_norm(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    if any(c.consumers.get(name) for name in node.output[1:]):
        yield Problem("error", "only the first output is supported", "compute mean and variance apart", LATER)


def _warn(reason: str, remedy: str, versions: tuple[str, ...] = ()) -> Callable[..., Iterator[Problem]]:
    def rule(c: Context, node: onnx.NodeProto) -> Iterator[Problem]:
        yield Problem("warning", reason, remedy, versions)

    return rule


_loop = _warn("control flow blocks CUDA graphs and fusion", "unroll it when exporting")
Rule = Callable[[Context, onnx.NodeProto], Iterator[Problem]]
RULES: dict[str, tuple[Rule, ...]] = {
    "GridSample": (_grid_sample,),
    "ScatterND": (_scatter_nd,),
    "ScatterElements": (_scatter_elements,),
    "TopK": (_topk,),
    "QuantizeLinear": (_quantize,),
    "DequantizeLinear": (_quantize,),
    "Einsum": (_einsum,),
    "Mod": (_mod,),
    "NonZero": (_data_dependent,),
    "NonMaxSuppression": (_data_dependent,),
    "Softmax": (_softmax,),
    "ReduceMean": (_reduce_mean,),
    "MaxPool": (_max_pool,),
    "Resize": (_resize,),
    "LayerNormalization": (_layer_norm,),
    "CumSum": (_warn("CumSum is imported as a loop: slow, and no fusion", "use gathers and sums"),),
    "InstanceNormalization": (
        _warn("runs through a plugin unless native instance normalisation is set", "set the flag", TENSORRT_8),
    ),
    "Loop": (_loop,),
    "If": (_loop,),
    "Scan": (_loop,),
}
"""The rules by operator; a node is checked by them after the table has accepted its operator."""
