"""Operators of new opsets spelled out in the plain ones that they stand for, which the model knows how to price.

Attention is written as the products that it is, so that it costs what the same attention costs that an exporter took
apart. Others are written by ONNX's own definition of them (function bodies of the standard).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError
from bevlite.latency.onnx.folding import known_shapes
from bevlite.shape_inference import infer_shapes

BY_DEFINITION = (
    "RotaryEmbedding", "SwiGLU", "MeanVarianceNormalization", "AffineGrid", "CenterCropPad", "LinearAttention",
    "CausalConvWithState", "DynamicQuantizeLinear",
)  # fmt: skip
"""Operators with a definition in the standard whose nodes cost what the operator costs."""


def spelled_out(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same network without operators that have a definition; the model itself where it has none of them.

    Args:
        model: without the values of large weights.
        name: for messages.

    Raises:
        BevliteError: an attention whose heads do not fit its inputs.
    """
    present = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    if "Attention" in present:
        model = _without_attention(model, name)
    wanted = [("", op) for op in BY_DEFINITION if op in present]
    if not wanted:
        return model
    try:
        return onnx.inliner.inline_selected_functions(model, wanted, inline_schema_functions=True)
    except Exception:  # of several C++ types: an operator without its definition is priced as an unknown one
        return model


def _without_attention(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    try:
        inferred = infer_shapes(model, data_prop=True)
    except Exception:  # an invalid graph is told by whoever reads the result
        return model
    shapes = known_shapes(inferred)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    for position, node in enumerate(model.graph.node):
        known = all(source in shapes for source in node.input[:3])
        if node.op_type != "Attention" or node.domain not in ("", "ai.onnx") or not known:
            result.graph.node.append(node)
            continue
        label = (node.name or f"Attention_{position}")[:80]
        try:
            _Attention(result.graph, node, label, shapes).write()
        except (IndexError, KeyError, ValueError, ZeroDivisionError):
            found = ", ".join(str(list(shapes[source])) for source in node.input[:3])
            raise BevliteError(
                f"{name}: node '{label}' (Attention) has queries, keys and values of {found}; accepted: [batch, heads, "
                "tokens, channels], or [batch, tokens, heads x channels] with q_num_heads and kv_num_heads"
            ) from None
    return result


class _Attention:
    """Writes one Attention (opset 23) as products: softmax(Q K^T * scale + mask) V, for each head."""

    def __init__(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, label: str, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        self._graph, self._node, self._label, self._shapes = graph, node, label, shapes
        self._options = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def write(self) -> None:
        """Append the nodes."""
        inputs = [*self._node.input, *[""] * (6 - len(self._node.input))]
        outputs = [*self._node.output, *[""] * (4 - len(self._node.output))]
        packed = len(self._shapes[inputs[0]]) == 3
        query, q_shape = self._heads(inputs[0], "q_num_heads")
        key, k_shape = self._heads(inputs[1], "kv_num_heads")
        value, v_shape = self._heads(inputs[2], "kv_num_heads")
        batch, heads, tokens, width = q_shape
        if k_shape[3] != width or v_shape[2] != k_shape[2] or heads % k_shape[1] or v_shape[1] != k_shape[1]:
            raise ValueError
        key, keys = self._past(key, inputs[4], outputs[1], k_shape)
        value, _ = self._past(value, inputs[5], outputs[2], v_shape)
        groups = heads // k_shape[1]
        if groups > 1:  # queries of one key head lie one after the other: one larger product
            query = self._reshaped(query, [batch, k_shape[1], groups * tokens, width], "grouped")
        scores = self._add("MatMul", [query, self._add("Transpose", [key], "keys", perm=[0, 1, 3, 2])], "scores")
        if groups > 1:
            scores = self._reshaped(scores, [batch, heads, tokens, keys], "by_head")
        scores = self._add("Mul", [scores, self._constant("scale", np.float32(self._scale(width)))], "scaled")
        if self._options.get("softcap", 0.0):
            cap = self._constant("cap", np.float32(self._options["softcap"]))
            scores = self._add(
                "Mul", [self._add("Tanh", [self._add("Div", [scores, cap], "over")], "tanh"), cap], "capped"
            )
        if inputs[3]:
            # A mask of truth values is as many bytes less to read; which ones are added does not matter to the time.
            scores = self._add("Add", [scores, self._add("Cast", [inputs[3]], "mask", to=TensorProto.FLOAT)], "masked")
        if outputs[3]:
            self._graph.node.append(helper.make_node("Identity", [scores], [outputs[3]], name=f"{self._label}/scores"))
        weights = self._add("Softmax", [scores], "weights", axis=-1)
        if groups > 1:
            weights = self._reshaped(weights, [batch, k_shape[1], groups * tokens, keys], "weights_grouped")
        result = self._add("MatMul", [weights, value], "values")
        if groups > 1:
            result = self._reshaped(result, [batch, heads, tokens, v_shape[3]], "values_by_head")
        if packed:
            result = self._add("Transpose", [result], "by_token", perm=[0, 2, 1, 3])
            result = self._reshaped(result, [batch, tokens, heads * v_shape[3]], "packed")
        self._graph.node.append(helper.make_node("Identity", [result], [outputs[0]], name=f"{self._label}/out"))

    def _heads(self, name: str, count: str) -> tuple[str, tuple[int, ...]]:
        """A tensor as (batch, heads, tokens, channels)."""
        shape = self._shapes[name]
        if len(shape) == 4:
            return name, shape
        batch, tokens, width = shape
        heads = int(self._options[count])
        if width % heads:
            raise ValueError
        split = self._reshaped(name, [batch, tokens, heads, width // heads], f"{name}_heads")
        moved = self._add("Transpose", [split], f"{name}_by_head", perm=[0, 2, 1, 3])
        return moved, (batch, heads, tokens, width // heads)

    def _past(self, name: str, past: str, present: str, shape: tuple[int, ...]) -> tuple[str, int]:
        """Keys or values behind those of before, and how many tokens that are."""
        tokens = shape[2]
        if past:
            tokens += self._shapes[past][2]
            name = self._add("Concat", [past, name], f"{name}_with_past", axis=2)
        if present:
            self._graph.node.append(helper.make_node("Identity", [name], [present], name=f"{self._label}/present"))
        return name, tokens

    def _scale(self, width: int) -> float:
        given = self._options.get("scale")
        return float(given) if given else width**-0.5

    def _reshaped(self, name: str, shape: list[int], word: str) -> str:
        if prod(shape) <= 0:
            raise ValueError
        return self._add("Reshape", [name, self._constant(f"{word}_shape", np.array(shape, np.int64))], word)

    def _add(self, op: str, inputs: list[str], word: str, **attributes: Any) -> str:
        output = f"{self._node.output[0]}/{word}"
        node = helper.make_node(op, inputs, [output], name=f"{self._label}/{word}", **attributes)
        node.metadata_props.extend(self._node.metadata_props)
        self._graph.node.append(node)
        return output

    def _constant(self, word: str, value: Any) -> str:
        name = f"{self._node.output[0]}/{word}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name
