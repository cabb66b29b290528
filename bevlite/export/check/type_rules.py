"""Element types that an importer refuses for an operator, whatever else the operator can.

Read off the checks in the importers of onnx-tensorrt (`notInvalidType` in 8.5-GA, 8.6-GA and 10.1-GA): what their
tables of operators list is less than what they take.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from bevlite.export.check.context import Context, Problem
from bevlite.tensorrt import LATER, OLDEST, TENSORRT_8

_WORDS: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT", TensorProto.DOUBLE: "DOUBLE", TensorProto.INT64: "INT64", TensorProto.INT32: "INT32",
    TensorProto.INT8: "INT8", TensorProto.UINT8: "UINT8", TensorProto.BOOL: "BOOL",
}  # fmt: skip
_ACTIVATIONS = frozenset(
    {"Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh",
     "ThresholdedRelu"}
)  # fmt: skip
_INTEGERS = ("INT32", "INT64")
_FLOAT_ONLY = dict.fromkeys(_ACTIVATIONS, ("INT32", "BOOL")) | dict.fromkeys(("MatMul", "Gemm", "PRelu"), ("INT32",))
_NO_BOOLS = frozenset({"DepthToSpace", "SpaceToDepth", "GridSample", "Resize", "Upsample"})
_SEEN_AS_INT32 = {"INT64": "INT32"}
"""TensorRT 8 turns INT64 into INT32 before any importer sees it."""


def type_problems(context: Context, node: onnx.NodeProto) -> Iterator[Problem]:
    """What speaks against the type of a node's first input."""
    first = node.input[0] if node.input else ""
    if not first or first in context.constants:
        return
    word = _WORDS.get(context.types.get(first, TensorProto.UNDEFINED), "")
    seen = _SEEN_AS_INT32.get(word, word)
    reason = f"its input is {word}, which the importer refuses for {node.op_type}"
    remedy = "cast it to a float type first"
    if node.op_type in ("TopK", "ArgMax", "ArgMin") and seen == "INT32":
        yield Problem("error", reason, remedy, (OLDEST,))
    refused = _FLOAT_ONLY.get(node.op_type, ())
    if seen in refused:
        yield Problem("error", reason, remedy, TENSORRT_8)
    if word in refused or (word == "INT64" and node.op_type in ("MatMul", "Gemm", "PRelu")):
        yield Problem("error", reason, remedy, LATER)
    if node.op_type == "Clip" and word == "INT8":
        yield Problem("error", reason, remedy)
    if node.op_type == "Hardmax" and word in (*_INTEGERS, "INT8", "BOOL"):
        yield Problem("error", reason, remedy, LATER)
    if node.op_type in _NO_BOOLS and word == "BOOL":
        yield Problem("error", reason, remedy)
    if node.op_type.startswith("Reduce") and word == "BOOL":
        yield Problem("error", reason, remedy, LATER)
