"""Recurrent layers: their multiply-adds against the formulas of the layers, and one step after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
import pytest
from onnx import helper

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.device import find_device
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import kernel_features
from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.gpu.kernels import kernel_costs
from bevlite.latency.gpu.recurrent import RecurrentWork, recurrent_work
from bevlite.latency.onnx.graph import Graph, read_graph
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import conv_relu, model, weight

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(op: str, steps: int, batch: int, width: int, hidden: int, directions: int = 1, **a: Any) -> onnx.ModelProto:
    gates = GATES[op] * hidden
    constants = [weight("w", directions, gates, width), weight("r", directions, gates, hidden)]
    node = helper.make_node(op, ["x", "w", "r"], ["y"], name="layer", hidden_size=hidden, **a)
    if directions == 2:
        node.attribute.append(helper.make_attribute("direction", "bidirectional"))
    shape = (batch, steps, width) if a.get("layout") else (steps, batch, width)
    return model([node], {"x": shape}, ["y"], constants)


def work(file: onnx.ModelProto) -> RecurrentWork:
    graph: Graph = read_graph(file)
    found = recurrent_work(graph, graph.nodes[0])
    assert found is not None
    return found


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("directions", [1, 2])
def test_multiply_adds_and_kernels(op: str, directions: int) -> None:
    found = work(layer(op, 20, 3, 64, 128, directions))
    expected = 2 * directions * 20 * 3 * GATES[op] * 128 * (64 + 128)
    assert sum(p.flops for p in found.products) == expected
    assert found.launches == 41 and len(found.products) == 21
    assert sum(found.read_again) == 19 * directions * GATES[op] * 128 * 128


def test_the_steps_are_products_of_their_own() -> None:
    entry, *steps = work(layer("LSTM", 20, 3, 64, 128)).products
    assert (entry.m, entry.n, entry.k) == (60, 512, 64)
    assert {(p.batch, p.m, p.n, p.k) for p in steps} == {(1, 3, 512, 128)}


def test_batch_first_is_the_same_work() -> None:
    assert work(layer("GRU", 20, 3, 64, 128, layout=1)) == work(layer("GRU", 20, 3, 64, 128))


def test_other_nodes_have_none() -> None:
    graph = read_graph(conv_relu())
    assert recurrent_work(graph, graph.nodes[0]) is None


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_a_step_costs_its_launches_and_its_weights(cuda_graph: bool) -> None:
    """Priced with this work, a layer takes twenty times as much for twenty times the steps: nothing overlaps."""
    board = find_device("agx-orin-64gb")
    top = ceilings(board, None, cuda_graph)
    times = []
    for steps in (10, 200):
        graph = read_graph(layer("LSTM", steps, 1, 256, 256))
        (plain,) = kernel_features(graph, fuse(graph), "fp16")
        found = recurrent_work(graph, graph.nodes[0])
        assert found is not None
        traffic = (*plain.traffic, *found.traffic(2))
        kernel = replace(plain, products=found.products, launches=found.launches, traffic=traffic)
        (cost,) = kernel_costs([kernel], top, Coefficients())
        assert cost.latency_us > found.launches * top.launch_us
        weights_us = sum(found.read_again) * 2 / (top.read_bytes_per_us * 6)  # not faster than six times the memory
        assert cost.memory_us > weights_us
        times.append(cost.latency_us)
    assert times[1] / times[0] == pytest.approx(20, rel=0.15)


def test_they_are_flagged() -> None:
    (kernel,) = predict_onnx(layer("LSTM", 20, 3, 64, 128), find_device("agx-orin-64gb")).kernels[-1:]
    assert kernel.op == "LSTM" and kernel.uncertain == "recurrent layers were not measured"
