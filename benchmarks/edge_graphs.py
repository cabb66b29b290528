"""Small graphs at the edges of what a parser takes: each shows one thing that is refused, or that one may doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MAP = (1, 8, 16, 16)
_F, _H = TensorProto.FLOAT, TensorProto.FLOAT16


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int]],
    *,
    constants: dict[str, Any] | None = None,
    kind: int = _F,
    out: int | None = None,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    given = [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info("y", kind if out is None else out, None)]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "edge", given, made, stored)
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=10)


def _one(op: str, *more: str, opset: int = 17, constants: dict[str, Any] | None = None, **how: Any) -> onnx.ModelProto:
    shapes = how.pop("inputs", {"x": MAP})
    keys = {key: how.pop(key) for key in ("kind", "out", "domains") if key in how}
    node = helper.make_node(op, [*shapes, *more], ["y"], name="node", **how)
    return _model([node], shapes, constants=constants, opset=opset, **keys)


def _through(kind: int) -> onnx.ModelProto:
    casts = [
        helper.make_node("Cast", ["x"], ["inner"], name="there", to=kind),
        helper.make_node("Cast", ["inner"], ["y"], name="back", to=_F),
    ]
    return _model(casts, {"x": MAP}, opset=19)


def _quantized(zero: Any, scale: float = 0.1) -> onnx.ModelProto:
    pair = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize"),
    ]
    return _model(pair, {"x": MAP}, constants={"s": np.float32(scale), "z": zero}, opset=19)


def _fp8() -> onnx.ModelProto:
    model = _quantized(np.int8(0))
    del model.graph.initializer[1]
    model.graph.initializer.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    return model


def _int32_bias() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "s"], ["bias"], name="dequantize"),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"], name="conv"),
    ]
    constants = {"b": np.zeros(4, np.int32), "s": np.float32(0.1), "w": np.ones((4, 8, 3, 3), np.float32)}
    return _model(nodes, {"x": MAP}, constants=constants)


def _branch() -> onnx.ModelProto:
    bodies = []
    for word in ("then", "else"):
        pool = helper.make_node("MaxPool", ["x"], [word], name=f"{word}_pool", kernel_shape=[3, 3], dilations=[2, 2])
        bodies.append(helper.make_graph([pool], word, [], [helper.make_tensor_value_info(word, _F, None)]))
    node = helper.make_node("If", ["c"], ["y"], name="node", then_branch=bodies[0], else_branch=bodies[1])
    model = _model([node], {"x": MAP})
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, ()))
    return model


def _given(op: str, value: Any, opset: int) -> onnx.ModelProto:
    """An operator whose last input is an input of the network too."""
    model = _model([helper.make_node(op, ["x", "given"], ["y"], name="node")], {"x": MAP}, opset=opset)
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    model.graph.input.append(helper.make_tensor_value_info("given", kind, np.shape(value)))
    return model


def _top(k: int | None, **how: Any) -> onnx.ModelProto:
    node = helper.make_node("TopK", ["x", "" if k is None else "k"], ["y", "places"], name="node", **how)
    return _model([node], {"x": (1, 8000)}, constants={} if k is None else {"k": np.array([k])})


def _circle() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["y"], name="a"), helper.make_node("Relu", ["y"], ["b"], name="r")]
    return _model(nodes, {"x": MAP})


_STATS = {name: np.ones(8, np.float32) for name in ("s", "b", "m", "v")}
_GRID = {"x": MAP, "g": (1, 4, 4, 2)}
_HEADS = {name: (1, 2, 64, 32) for name in "qkv"}

EDGES: dict[str, Callable[[], onnx.ModelProto]] = {
    "batch norm, training": lambda: _one("BatchNormalization", *_STATS, constants=_STATS, training_mode=1),
    "dropout, training": lambda: _one("Dropout", "r", "t", constants={"r": np.float32(0.5), "t": np.bool_(True)}),
    "max pool, dilated": lambda: _one("MaxPool", kernel_shape=[3, 3], dilations=[2, 2]),
    "max pool, dilated, in a branch": _branch,
    "grid sample, bicubic": lambda: _one("GridSample", inputs=_GRID, mode="bicubic"),
    "grid sample, opset 20": lambda: _one("GridSample", inputs=_GRID, opset=20, mode="linear"),
    "resize, cubic": lambda: _one("Resize", "", "k", constants={"k": np.float32([1, 1, 2, 2])}, mode="cubic"),
    "top k, 3840": lambda: _top(3840),
    "top k, 3841": lambda: _top(3841),
    "top k, unsorted": lambda: _top(8, sorted=0),
    "top k, no k": lambda: _top(None),
    "softmax, no such axis": lambda: _one("Softmax", axis=7),
    "einsum, capitals": lambda: _one("Einsum", inputs={"x": (2, 3, 4), "z": (2, 4, 5)}, equation="BIJ,BJK->BIK"),
    "einsum, ellipsis": lambda: _one("Einsum", inputs={"x": (2, 3, 4), "z": (2, 4, 5)}, equation="...ij,...jk->...ik"),
    "einsum, diagonal": lambda: _one("Einsum", inputs={"x": (2, 4, 4)}, equation="bii->bi"),
    "mod, fmod": lambda: _one("Mod", inputs={"x": MAP, "z": MAP}, fmod=1),
    "scatter nd, add": lambda: _one(
        "ScatterND", "i", "u", inputs={"x": (4, 4)}, opset=18, reduction="add",
        constants={"i": np.zeros((2, 1), np.int64), "u": np.ones((2, 4), np.float32)}),
    "layer norm, mean named": lambda: _model(
        [helper.make_node("LayerNormalization", ["x", "s"], ["y", "mean"], name="node")], {"x": MAP},
        constants={"s": np.ones(16, np.float32)}),
    "reduce sum, axes given": lambda: _given("ReduceSum", np.int64([1]), opset=13),
    "reduce sum, axes known": lambda: _one("ReduceSum", "a", opset=13, constants={"a": np.int64([1])}),
    "resize, aspect ratio kept": lambda: _one(
        "Resize", "", "", "k", opset=18, constants={"k": np.int64([1, 8, 20, 40])}, mode="nearest",
        keep_aspect_ratio_policy="not_larger"),
    "an input of INT16": lambda: _model(
        [helper.make_node("Cast", ["x"], ["y"], name="node", to=_F)], {"x": MAP}, kind=TensorProto.INT16, out=_F),
    "a name that nothing makes": lambda: _model(
        [helper.make_node("Add", ["x", "lost"], ["y"], name="node")], {"x": MAP}),
    "cumulative sum": lambda: _one("CumSum", "a", constants={"a": np.int64(1)}),
    "instance norm": lambda: _one("InstanceNormalization", "s", "b", constants={k: _STATS[k] for k in "sb"}),
    "group norm, opset 21": lambda: _one(
        "GroupNormalization", "s", "b", opset=21, num_groups=2, constants={k: _STATS[k] for k in "sb"}),
    "layer norm": lambda: _one("LayerNormalization", "s", constants={"s": np.ones(16, np.float32)}),
    "attention, FP32": lambda: _one("Attention", inputs=_HEADS, opset=23),
    "attention, FP16": lambda: _one("Attention", inputs=_HEADS, opset=23, kind=_H),
    "determinant": lambda: _one("Det", inputs={"x": (1, 4, 4)}),
    "unique": lambda: _one("Unique", inputs={"x": (16,)}),
    "gelu of com.microsoft": lambda: _one("Gelu", domain="com.microsoft", domains=("com.microsoft",)),
    "a foreign plugin": lambda: _one("MyPlugin", domain="mine", domains=("mine",)),
    "a shipped plugin": lambda: _one("EfficientNMS_TRT", domain="TRT", domains=("TRT",)),
    "non zero": lambda: _one("NonZero", out=TensorProto.INT64),
    "roi align": lambda: _one(
        "RoiAlign", "r", "i", output_height=2, output_width=2,
        constants={"r": np.ones((3, 4), np.float32), "i": np.zeros(3, np.int64)}),
    "type inside: INT16": lambda: _through(TensorProto.INT16),
    "type inside: UINT8": lambda: _through(TensorProto.UINT8),
    "type inside: BF16": lambda: _through(TensorProto.BFLOAT16),
    "type inside: DOUBLE": lambda: _through(TensorProto.DOUBLE),
    "Q/DQ, INT8": lambda: _quantized(np.int8(0)),
    "Q/DQ, zero point 3": lambda: _quantized(np.int8(3)),
    "Q/DQ, UINT8": lambda: _quantized(np.uint8(0)),
    "Q/DQ, scale 0": lambda: _quantized(np.int8(0), 0.0),
    "Q/DQ, FP8": _fp8,
    "INT32 bias through DQ": _int32_bias,
    "nodes in a circle": _circle,
}  # fmt: skip
"""Every graph by what it shows."""
