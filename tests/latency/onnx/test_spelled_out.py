"""Operators of new opsets cost what the same work costs that an exporter took apart; unknown ones are wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.onnx.spelled_out import spelled_out
from bevlite.latency.predictor import predict_onnx

BOARD = find_device("agx-orin-64gb")
Q, K = (1, 4, 96, 32), (1, 4, 160, 32)


def value(name: str, shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def attention(shapes: dict[str, tuple[int, ...]], outputs: int = 1, **options: Any) -> onnx.ModelProto:
    names = [name if name in shapes else "" for name in ("q", "k", "v", "mask", "past_k", "past_v")]
    while not names[-1]:
        names.pop()
    results = ["y", "new_k", "new_v", "scores"][:outputs]
    node = helper.make_node("Attention", names, results, name="att", **options)
    graph = helper.make_graph([node], "g", [value(n, s) for n, s in shapes.items()], [value(n, None) for n in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


PACKED = {"q": (2, 96, 128), "k": (2, 160, 128), "v": (2, 160, 128)}
CASES: dict[str, tuple[dict[str, tuple[int, ...]], int, dict[str, Any]]] = {
    "by head": ({"q": Q, "k": K, "v": K}, 1, {}),
    "packed": (PACKED, 1, {"q_num_heads": 4, "kv_num_heads": 4}),
    "mask and cap": ({"q": Q, "k": K, "v": K, "mask": (96, 160)}, 1, {"softcap": 2.0, "scale": 0.3}),
    "grouped queries": ({"q": (1, 8, 96, 32), "k": K, "v": K}, 1, {}),
    "with past": ({"q": Q, "k": K, "v": K, "past_k": (1, 4, 40, 32), "past_v": (1, 4, 40, 32)}, 3, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_attention_computes_what_the_standard_says(case: str) -> None:
    """Against ONNX's own reference of the operator."""
    shapes, outputs, options = CASES[case]
    file = attention(shapes, outputs, **options)
    written = spelled_out(file, "file")
    assert "Attention" not in {node.op_type for node in written.graph.node}
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    ours, theirs = ReferenceEvaluator(written).run(None, given), ReferenceEvaluator(file).run(None, given)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_it_costs_what_it_costs_taken_apart() -> None:
    shapes = {"q": (1, 8, 900, 32), "k": (1, 8, 4224, 32), "v": (1, 8, 4224, 32)}
    nodes = [
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "t"], ["s"]),
        helper.make_node("Mul", ["s", "scale"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    graph = helper.make_graph(nodes, "g", [value(n, s) for n, s in shapes.items()], [value("y", None)], [scale])
    apart = predict_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), BOARD)
    whole = predict_onnx(attention(shapes), BOARD)
    assert whole.latency_ms == pytest.approx(apart.latency_ms) and whole.flops == apart.flops
    assert (whole.lower_ms, whole.upper_ms) == pytest.approx((apart.lower_ms, apart.upper_ms))


def test_heads_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(BevliteError, match=r"node 'att' \(Attention\) has queries, keys and values of \[2, 96, 128\]"):
        predict_onnx(attention(PACKED, q_num_heads=5, kv_num_heads=5), BOARD)


def test_other_operators_are_written_by_their_definition() -> None:
    node = helper.make_node("RotaryEmbedding", ["x", "c", "s"], ["y"], name="rope")
    inputs = [value("x", (1, 8, 64, 32)), value("c", (1, 64, 16)), value("s", (1, 64, 16))]
    graph = helper.make_graph([node], "g", inputs, [value("y", (1, 8, 64, 32))])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    found = predict_onnx(file, BOARD)
    assert not any("unknown" in note for note in found.notes) and found.latency_ms > 0


def test_an_unknown_operator_may_take_as_long_as_what_it_may_compute() -> None:
    """The interval of a foreign attention holds the time of the same attention in plain operators."""
    shapes = {"q": (1, 8, 900, 32), "k": (1, 8, 4224, 32), "v": (1, 8, 4224, 32)}
    known = predict_onnx(attention(shapes), BOARD)
    node = helper.make_node("FlashThing", ["q", "k", "v"], ["y"], name="foreign", domain="mine")
    graph = helper.make_graph([node], "g", [value(n, s) for n, s in shapes.items()], [value("y", shapes["q"])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    foreign = predict_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=8), BOARD)
    assert foreign.lower_ms < known.latency_ms < foreign.upper_ms
    assert any("FlashThing is unknown to the model" in note for note in foreign.notes)
