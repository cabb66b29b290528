"""Integer arithmetic on shapes, worked out: what exporters leave between a Shape and a Reshape or Slice.

ONNX's own shape inference follows only some of it. Large tensors are never touched, so this costs little.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from bevlite import shape_inference

Array = np.ndarray[Any, Any]
_NAMES = (
    "Shape Size Gather Concat Unsqueeze Squeeze Add Sub Mul Div Mod Neg Cast Slice "
    "ConstantOfShape Equal Where Expand Floor Ceil Range Min Max Reshape Not And Or Less Greater "
    "ReduceProd ReduceSum Identity Sqrt Abs Transpose "
)
_FOLDABLE = frozenset(_NAMES.split())
_MAX_ELEMENTS = 1024


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shape inference that also folds shape arithmetic, in rounds, until nothing is missing or helps."""
    values = _small_constants(model)
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    for _ in range(len(model.graph.node)):
        shapes = known_shapes(inferred)
        if all(name in shapes for node in inferred.graph.node for name in node.output if name):
            break
        if not _fold(inferred, shapes, values):
            break
        inferred = shape_inference.infer_shapes(inferred, data_prop=True)
    return inferred


def known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The static shapes that a model says, or was inferred to have, by tensor."""
    shapes: dict[str, tuple[int, ...]] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        kind = info.type.tensor_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shapes[info.name] = tuple(d.dim_value for d in kind.shape.dim)
    return shapes


def _small_constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if _small(tuple(tensor.dims)) and (tensor.raw_data or _has_values(tensor))
    }


def _fold(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], values: dict[str, Array]) -> bool:
    """Replace every node that can be computed now by a constant; tells whether there was one.

    `values` holds the small constants by name, and gets those that are found here.
    """
    kept: list[onnx.NodeProto] = []
    opsets = {o.domain: o.version for o in model.opset_import}
    folded = False
    for node in model.graph.node:
        result = _evaluate(node, values, shapes, opsets)
        if result is None:
            kept.append(node)
            continue
        values[node.output[0]] = result
        model.graph.initializer.append(numpy_helper.from_array(result, node.output[0]))
        folded = True
    if folded:
        del model.graph.node[:]
        model.graph.node.extend(kept)
        # what ONNX guessed of a tensor that is a constant now would hide the constant's own shape
        others = [info for info in model.graph.value_info if info.name not in values]
        del model.graph.value_info[:]
        model.graph.value_info.extend(others)
    return folded


def _evaluate(
    node: onnx.NodeProto,
    values: dict[str, Array],
    shapes: dict[str, tuple[int, ...]],
    opsets: dict[str, int],
) -> Array | None:
    if node.op_type not in _FOLDABLE or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
        part = {attribute.name: attribute.i for attribute in node.attribute}
        shape = np.array(shapes[node.input[0]], dtype=np.int64)[part.get("start", 0) : part.get("end")]
        return shape if node.op_type == "Shape" else np.array(shape.prod(), dtype=np.int64)
    inputs = [name for name in node.input if name]
    if not all(name in values for name in inputs):
        return None
    if node.op_type == "ConstantOfShape" and not _small(tuple(values[inputs[0]].tolist())):
        return None
    from onnx.reference import ReferenceEvaluator  # takes 0.15 s, and many files need none of it

    try:
        evaluator = ReferenceEvaluator(node, opsets=opsets)
        outputs: Any = evaluator.run(None, {name: values[name] for name in inputs})
        result = np.asarray(outputs[0])
    except Exception:  # whatever the evaluator cannot do stays in the graph: the shape is reported as missing
        return None
    return result if result.size <= _MAX_ELEMENTS else None


def _small(shape: tuple[int, ...]) -> bool:
    return prod(shape) <= _MAX_ELEMENTS


def _has_values(tensor: onnx.TensorProto) -> bool:
    """Whether the values are there at all (large weights were stripped, external ones never read)."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    return bool(tensor.int64_data or tensor.int32_data or tensor.float_data or 0 in tensor.dims)
