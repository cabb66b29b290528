"""Q/DQ nodes where no kernel takes them in cost time: against placements that NVIDIA recommends, and without them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import numpy_helper

from bevlite.latency.device import find_device
from bevlite.latency.predictor import GraphPrediction, predict_onnx
from tests.latency.gpu.test_quantization import Net
from tests.latency.graphs import weight

BOARD = find_device("agx-orin-64gb")
MAPS = (1, 64, 56, 56)


def predicted(net: Net, output: str) -> GraphPrediction:
    return predict_onnx(net.model(output, x=MAPS), BOARD)


def kernels(found: GraphPrediction) -> Counter[str]:
    return Counter(kernel.op for kernel in found.kernels)


def residual(skip: bool, branch: bool, quantized: bool = True) -> GraphPrediction:
    net = Net()

    def conv(source: str) -> str:
        return net.conv(net.qdq(source) if quantized else source, held=quantized, channels=64)

    first = net.node("Relu", conv("x"))
    last = conv(first)
    added = net.node("Add", net.qdq(last) if branch else last, net.qdq(first) if skip else first)
    return predicted(net, conv(net.node("Relu", added)))


def test_a_residual_is_fastest_with_its_skip_branch_quantised_alone() -> None:
    """As NVIDIA's documentation on explicit quantisation places it; all others need kernels of their own."""
    times = {(skip, branch): residual(skip, branch).latency_ms for skip in (False, True) for branch in (False, True)}
    right = times.pop((True, False))
    assert kernels(residual(True, False)) == {"Reformat": 1, "Conv": 3}
    assert all(other > 1.15 * right for other in times.values())
    assert right < residual(False, False, quantized=False).latency_ms


def depthwise(pairs: bool) -> GraphPrediction:
    """Blocks that stay in float, with Q/DQ before each of their depthwise convolutions or without."""
    net, x = Net(), "x"
    for _ in range(3):
        y = net.node("Relu", net.conv(x, held=False, channels=64))
        mixed = net.conv(net.qdq(y) if pairs else y, held=False, groups=64, channels=64)
        x = net.node("Add", y, mixed)
    return predicted(net, x)


def test_pairs_that_serve_no_product_cost_a_kernel_each() -> None:
    """NVIDIA's compiler makes one kernel more for each as well (8 and 11 with tensorrt-rtx)."""
    plain, useless = depthwise(False), depthwise(True)
    assert len(useless.kernels) == len(plain.kernels) + 3 and kernels(useless)["QuantizeLinear"] == 3
    assert useless.latency_ms > 1.1 * plain.latency_ms


@pytest.mark.parametrize("op", ["Concat", "MaxPool", "Gather", "Transpose", "Resize", "Pad"])
def test_values_are_quantised_where_they_are_made_or_moved(op: str) -> None:
    """Seen with tensorrt-rtx: no kernel of its own for any of them."""
    net = Net()
    given = [net.node("Relu", net.conv(net.qdq("x"), channels=64)) for _ in range(2 if op == "Concat" else 1)]
    net.constants += [
        numpy_helper.from_array(np.random.default_rng(0).permutation(56), "index"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "sizes"),
        numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"),
        weight("last", 64, 128 if op == "Concat" else 64, 3, 3),
    ]
    moved = {
        "Concat": lambda: net.node(op, *given, axis=1),
        "MaxPool": lambda: net.node(op, *given, kernel_shape=[2, 2], strides=[2, 2]),
        "Gather": lambda: net.node(op, *given, "index", axis=2),
        "Transpose": lambda: net.node(op, *given, perm=[0, 1, 3, 2]),
        "Resize": lambda: net.node(op, *given, "", "sizes", mode="nearest"),
        "Pad": lambda: net.node(op, *given, "pads"),
    }[op]()
    found = predicted(net, net.node("Conv", net.qdq(moved), net.qdq("last"), pads=[1] * 4))
    assert kernels(found)["QuantizeLinear"] == kernels(found)["DequantizeLinear"] == 0


def test_two_readers_with_one_scale_are_quantised_once_and_with_two_apart() -> None:
    def two(second: float) -> Counter[str]:
        net = Net()
        x = net.node("Relu", net.conv(net.qdq("x"), channels=64))
        left, right = (net.conv(net.qdq(x, scale), channels=64) for scale in (0.1, second))
        return kernels(predicted(net, net.node("Add", left, right)))

    assert two(0.1)["QuantizeLinear"] == 0 and two(0.3)["QuantizeLinear"] > 0
