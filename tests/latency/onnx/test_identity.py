"""Two trainings of one network are one module to the latency; another shape or index is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from bevlite.errors import BevliteError
from bevlite.export.graph.emit import emit
from bevlite.latency.onnx.identity import module_identity
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.tensorrt import EMISSIONS, FORMS, Emission
from bevlite.variant import load_variant
from tests.latency.graphs import conv_relu, integers, model, weight
from tests.tiny import tiny

VARIANTS = Path(__file__).resolve().parents[3] / "configs" / "variants"
SMALL_IMAGES = ("camera.images.height=32", "camera.images.width=96")


def ident(m: onnx.ModelProto, precision: str = "fp16", device: str = "orin/MAXN") -> str:
    return module_identity(m, precision, device)


def floats(name: str, *values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def test_weights_and_names_do_not_count_but_shapes_precision_and_device_do() -> None:
    base = conv_relu()
    other = conv_relu()
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "w"))
    other.graph.node[0].name = "renamed"
    other.graph.node[0].output[0] = other.graph.node[1].input[0] = "elsewhere"
    first, second = other.graph.initializer
    del other.graph.initializer[:]
    other.graph.initializer.extend([second, first])
    assert ident(base) == ident(other)
    assert ident(conv_relu(32)) != ident(base) != ident(base, "int8")
    assert ident(base) != ident(base, device="orin/50W")


def gather(*rows: int) -> onnx.ModelProto:
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    return model([node], {"x": (9, 4)}, ["y"], [integers("i", *rows)])


def test_integer_constants_count() -> None:
    assert ident(gather(1, 2)) != ident(gather(1, 3))
    with pytest.raises(BevliteError, match="no such file"):
        module_identity("absent.onnx", "fp16", "orin")


def resized(scale: float, *, calculated: bool) -> onnx.ModelProto:
    """The scale as a constant, or as one that is calculated from a constant and the shape of the input."""
    if not calculated:
        nodes = [helper.make_node("Resize", ["x", "", "s"], ["y"])]
        constants = [floats("s", 1, 1, scale, scale)]
    else:
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["size"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["size", "s"], ["larger"]),
            helper.make_node("Cast", ["larger"], ["sizes"], to=TensorProto.INT64),
            helper.make_node("Resize", ["x", "", "", "sizes"], ["y"]),
        ]
        constants = [floats("s", 1, 1, scale, scale)]
    return model(nodes, {"x": (1, 4, 8, 8)}, ["y"], constants)


@pytest.mark.parametrize("calculated", [False, True])
def test_floats_that_decide_a_shape_count(calculated: bool) -> None:
    assert ident(resized(2, calculated=calculated)) != ident(resized(3, calculated=calculated))


def clipped(limit: float, bias: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Max", ["a", "zero"], ["m"]),
        helper.make_node("Clip", ["m", "", "limit"], ["y"]),
    ]
    limits = [numpy_helper.from_array(np.array(limit, np.float32), "limit"), floats("zero", 0.0)]
    return model(nodes, {"x": (1, 4)}, ["y"], [floats("b", bias), *limits])


def test_limits_count_and_a_bias_of_one_number_does_not() -> None:
    assert ident(clipped(6, 0.1)) == ident(clipped(6, 0.2)) != ident(clipped(4, 0.1))


def quantised(scale: float, value: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    stored = numpy_helper.from_array(np.full((8, 8, 1, 1), value, np.int8), "w")
    zero = numpy_helper.from_array(np.array(0, np.int8), "z")
    return model(nodes, {"x": (1, 8, 8, 8)}, ["y"], [numpy_helper.from_array(np.float32(scale), "s"), zero, stored])


def test_stored_integer_weights_and_scales_do_not_count() -> None:
    assert ident(quantised(0.1, 3)) == ident(quantised(0.2, -7))


def test_shared_equal_constants_are_as_those_of_their_own() -> None:
    def two(names: tuple[str, str], identity: bool = False) -> onnx.ModelProto:
        nodes = [helper.make_node("Add", ["x", names[0]], ["a"]), helper.make_node("Add", ["a", names[1]], ["y"])]
        if identity:
            nodes.insert(0, helper.make_node("Identity", ["first"], ["second"]))
        kept = ("first",) if identity else dict.fromkeys(names)
        return model(nodes, {"x": (1, 64)}, ["y"], [weight(name, 64) for name in kept])

    apart = ident(two(("first", "second")))
    assert ident(two(("first", "first"))) == apart == ident(two(("first", "second"), identity=True))


def test_branches_are_written_as_the_graph_around_them() -> None:
    def branching(value: float, rows: int, names: tuple[str, str] = ("o", "o")) -> onnx.ModelProto:
        branches = [
            helper.make_graph(
                [helper.make_node("Add", ["x", "b"], ["s"]), helper.make_node("Gather", ["s", "i"], [name])],
                "branch",
                [],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4))],
                [floats("b", value), integers("i", rows)],
            )
            for name in names
        ]
        node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
        flag = helper.make_tensor("c", TensorProto.BOOL, (), [True])
        return model([node], {"x": (4, 4)}, ["y"], [flag])

    assert ident(branching(0.5, 1)) == ident(branching(0.7, 1)) != ident(branching(0.5, 2))
    assert ident(branching(0.5, 1, ("p", "q"))) == ident(branching(0.5, 1))


def other_weights(network: nn.Module, seed: int) -> nn.Module:
    """As after another training: no two values are equal, none is zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*network.parameters(), *(b for n, b in network.named_buffers() if "running" in n)):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


@pytest.mark.parametrize("emission", EMISSIONS)
@pytest.mark.parametrize("name", ["demo", "tiny"])
def test_two_trainings_of_a_variant_have_the_same_identities(name: str, emission: Emission) -> None:
    """The fresh network has zero biases and unit scales, that a training gives values of their own."""
    variant = tiny() if name == "tiny" else load_variant(VARIANTS / "demo.yaml", SMALL_IMAGES)
    torch.manual_seed(0)
    network = Detector(variant).eval()
    first = {plan.name: ident(emit(plan, FORMS[emission])) for plan in modules_of(network)}
    other_weights(network, seed=1)
    second = {plan.name: ident(emit(plan, FORMS[emission])) for plan in modules_of(network)}
    assert first == second and len(set(first.values())) == len(first)
