"""Branches, loops and scans cost what is inside them: against the same work written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import GraphPrediction, predict_onnx
from tests.latency.graphs import model, weight

MAPS = (1, 64, 64, 64)
BOARD = find_device("agx-orin-64gb")


def value(name: str, shape: tuple[int, ...] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def convolutions(count: int, source: str, result: str, prefix: str) -> tuple[list[onnx.NodeProto], list[Any]]:
    names = [source, *(f"{prefix}{i}" for i in range(1, count)), result]
    nodes = [
        helper.make_node("Conv", [names[i], f"{prefix}w{i}"], [names[i + 1]], name=f"{prefix}conv{i}", pads=[1] * 4)
        for i in range(count)
    ]
    return nodes, [weight(f"{prefix}w{i}", 64, 64, 3, 3) for i in range(count)]


def chain(count: int) -> onnx.ModelProto:
    nodes, weights = convolutions(count, "x", "y", "")
    return model(nodes, {"x": MAPS}, ["y"], weights)


def branch(count: int, prefix: str) -> onnx.GraphProto:
    nodes, weights = convolutions(count, "x", f"{prefix}out", prefix)
    return helper.make_graph(nodes, prefix, [], [value(f"{prefix}out", MAPS)], weights)


def finished(nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], constants: Any = ()) -> Any:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def choice(then: int, other: int, condition: bool | None = None) -> onnx.ModelProto:
    node = helper.make_node(
        "If", ["c"], ["y"], name="if", then_branch=branch(then, "t"), else_branch=branch(other, "e")
    )
    inputs, constants = [value("x", MAPS)], []
    if condition is None:
        inputs.append(value("c", (), TensorProto.BOOL))
    else:
        constants.append(numpy_helper.from_array(np.array(condition), "c"))
    return finished([node], inputs, [value("y", MAPS)], constants)


def loop(trips: int | None, count: int = 3, stacked: bool = False) -> onnx.ModelProto:
    nodes, weights = convolutions(count, "state", "next", "b")
    nodes += [helper.make_node("Identity", ["go"], ["on"])]
    inputs = [value("i", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("state", MAPS)]
    outputs = [value("on", (), TensorProto.BOOL), value("next", MAPS)]
    if stacked:
        nodes += [helper.make_node("Relu", ["next"], ["each"])]
        outputs.append(value("each", MAPS))
    body = helper.make_graph(nodes, "body", inputs, outputs, weights)
    constants = [numpy_helper.from_array(np.array(True), "c")]
    given = [value("x", MAPS)]
    if trips is None:
        given.append(value("n", (), TensorProto.INT64))
    else:
        constants.append(numpy_helper.from_array(np.array(trips), "n"))
    names = ["y", "all"] if stacked else ["y"]
    node = helper.make_node("Loop", ["n", "c", "x"], names, name="loop", body=body)
    ends = [value("y", MAPS)] + ([value("all", (trips or 1, *MAPS))] if stacked else [])
    return finished([node], given, ends, constants)


def predicted(file: onnx.ModelProto) -> GraphPrediction:
    return predict_onnx(file, BOARD)


@pytest.mark.parametrize(("then", "other"), [(6, 1), (1, 6)])
def test_the_dearer_branch_is_priced(then: int, other: int) -> None:
    plain, inside = predicted(chain(6)), predicted(choice(then, other))
    assert inside.latency_ms == pytest.approx(plain.latency_ms, rel=0.02) and inside.flops == plain.flops
    assert inside.upper_ms > plain.upper_ms
    assert any("the dearer branch of 'if' is priced" in note for note in inside.notes)


@pytest.mark.parametrize(("condition", "count"), [(True, 6), (False, 2)])
def test_a_constant_condition_decides(condition: bool, count: int) -> None:
    found = predicted(choice(6, 2, condition))
    assert found.flops == predicted(chain(count)).flops and not any("branch" in note for note in found.notes)


def test_a_loop_costs_its_body_times_its_trips() -> None:
    once, often = predicted(loop(1)), predicted(loop(7))
    kernels = [k for k in often.kernels if k.op == "Conv"]
    assert often.flops == 7 * predicted(chain(3)).flops and len(kernels) == 3
    convs = sum(k.latency_us for k in once.kernels if k.op == "Conv")
    assert sum(k.latency_us for k in kernels) == pytest.approx(7 * convs)
    assert any("runs 7 times" in note for note in often.notes)


def test_what_a_loop_gives_at_each_trip_is_stacked() -> None:
    graph = read_graph(loop(5, stacked=True))
    assert graph.tensor("all").shape == (5, *MAPS) and graph.tensor("y").shape == MAPS


def test_a_loop_without_a_known_trip_count_is_refused() -> None:
    with pytest.raises(
        BevliteError, match=r"often node 'loop' \(Loop\) runs its body depends on the data; accepted: a c"
    ):
        predicted(loop(None))


def test_a_scan_runs_over_its_axis() -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["m"]), helper.make_node("Add", ["m", "x"], ["n"]),
         helper.make_node("Identity", ["n"], ["o"])],
        "body", [value("h", (8, 32)), value("x", (8, 32))], [value("n", (8, 32)), value("o", (8, 32))],
        [weight("w", 32, 32)],
    )  # fmt: skip
    node = helper.make_node("Scan", ["h0", "xs"], ["hn", "ys"], name="scan", num_scan_inputs=1, body=body)
    ends = [value("hn", (8, 32)), value("ys", (20, 8, 32))]
    file = finished([node], [value("h0", (8, 32)), value("xs", (20, 8, 32))], ends)
    assert predicted(file).flops == 20 * 2 * 8 * 32 * 32
    assert read_graph(file).tensor("ys").shape == (20, 8, 32)


def test_a_branch_in_a_loop_in_a_branch() -> None:
    inner = helper.make_node("If", ["c"], ["next"], name="inner", then_branch=renamed(4), else_branch=renamed(2))
    body = helper.make_graph(
        [inner, helper.make_node("Identity", ["go"], ["on"])], "body",
        [value("i", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("state", MAPS)],
        [value("on", (), TensorProto.BOOL), value("next", MAPS)],
    )  # fmt: skip
    repeated = helper.make_node("Loop", ["n", "go_on", "x"], ["r"], name="loop", body=body)
    constants = [numpy_helper.from_array(np.array(3), "n"), numpy_helper.from_array(np.array(True), "go_on")]
    looped = helper.make_graph([repeated], "then", [], [value("r", MAPS)], constants)
    outer = helper.make_node("If", ["c"], ["y"], name="outer", then_branch=looped, else_branch=branch(5, "e"))
    given = [value("x", MAPS), value("c", (), TensorProto.BOOL)]
    found = predicted(finished([outer], given, [value("y", MAPS)]))
    assert found.flops == 3 * predicted(chain(4)).flops


def renamed(count: int) -> onnx.GraphProto:
    nodes, weights = convolutions(count, "state", f"i{count}", f"p{count}")
    return helper.make_graph(nodes, f"b{count}", [], [value(f"i{count}", MAPS)], weights)


def test_a_body_that_does_not_fit_its_node_is_one_line() -> None:
    file = loop(3)
    file.graph.node[0].input.append("x")
    with pytest.raises(BevliteError, match=r"node 'loop' \(Loop\) does not fit its body"):
        predicted(file)


def test_nodes_out_of_order_are_read_and_circles_refused() -> None:
    file = chain(3)
    nodes = list(file.graph.node)
    del file.graph.node[:]
    file.graph.node.extend(reversed(nodes))
    assert [n.name for n in read_graph(file).nodes] == [f"conv{i}" for i in range(3)]
    file.graph.node[2].input[0] = "y"
    with pytest.raises(BevliteError, match="its nodes form a circle"):
        read_graph(file)


def test_absurd_sizes_and_graphs_without_nodes_are_refused() -> None:
    with pytest.raises(
        BevliteError, match=r"tensor 'x' has 4,096,000,000,000 elements .*; accepted: at most 2\^31 - 1"
    ):
        read_graph(model([helper.make_node("Relu", ["x"], ["y"])], {"x": (1000, 64, 8000, 8000)}, ["y"]))
    empty = helper.make_model(helper.make_graph([], "g", [value("x", MAPS)], [value("x", MAPS)]))
    with pytest.raises(BevliteError, match="has no nodes"):
        read_graph(empty)
