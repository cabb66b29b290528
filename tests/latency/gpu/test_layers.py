"""Kernels as engines list them: copies of concatenations, convolutions of one map in one, functions apart.

What is expected is what published layer lists say: YOLOv8 with TensorRT 8.6 and YOLO11 with 10.
"""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from bevlite.latency.device import find_device
from bevlite.latency.gpu.features import kernel_features
from bevlite.latency.gpu.fusion import FusedGraph, fuse, tensorrt_rules
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import integers, model, weight

BOARD = find_device("agx-orin-64gb")
node = helper.make_node


def conv(source: str, target: str, w: str, **attributes: object) -> onnx.NodeProto:
    return node("Conv", [source, w], [target], name=target, **attributes)


def silu(source: str, target: str) -> list[onnx.NodeProto]:
    return [node("Sigmoid", [source], [f"{target}_s"]), node("Mul", [source, f"{target}_s"], [target])]


def fused(m: onnx.ModelProto, version: tuple[int, int] = (10, 3)) -> FusedGraph:
    return fuse(read_graph(m), tensorrt_rules(version))


def layers(m: onnx.ModelProto, version: tuple[int, int] = (10, 3)) -> list[tuple[str, int]]:
    """Operators of each kernel, and how many layers of an engine it stands for."""
    groups = fused(m, version).groups
    return [("+".join(n.op for n in g.nodes), g.launches) for g in groups if not g.elided]


def c2f() -> onnx.ModelProto:
    """Half of the channels go through two convolutions and a skip branch; all parts are put together."""
    nodes = [
        conv("x", "a", "w1"),
        *silu("a", "cv1"),
        node("Split", ["cv1", "halves"], ["s0", "s1"], axis=1),
        conv("s1", "b", "w3", pads=[1, 1, 1, 1]),
        *silu("b", "m1"),
        conv("m1", "c", "w3", pads=[1, 1, 1, 1]),
        *silu("c", "m2"),
        node("Add", ["s1", "m2"], ["sum"]),
        node("Concat", ["s0", "s1", "sum"], ["cat"], axis=1),
        conv("cat", "d", "w2"),
        *silu("d", "y"),
    ]
    constants = [weight("w1", 32, 32, 1, 1), weight("w3", 16, 16, 3, 3), weight("w2", 32, 48, 1, 1)]
    return model(nodes, {"x": (1, 32, 20, 20)}, ["y"], [*constants, integers("halves", 16, 16)])


def test_a_c2f_block_has_the_layers_of_its_engine() -> None:
    # the copies of YOLOv8's first: `/model.2/cv1/act/Mul_output_0 copy` and `/model.2/m.0/Add_output_0 copy`
    silu_conv = "Conv+Sigmoid+Mul"
    assert layers(c2f(), (8, 6)) == [
        (silu_conv, 1),
        ("Split", 1),
        (silu_conv, 1),
        (f"{silu_conv}+Add", 1),
        ("Concat", 2),
        (silu_conv, 1),
    ]


def test_copies_move_what_is_copied_and_no_more() -> None:
    graph = read_graph(c2f())
    kernels = kernel_features(graph, fused(c2f()), "fp16")
    pixels, halves = 20 * 20, 2  # bytes of FP16
    moved = {kernel.op: sum(size for role, size in kernel.traffic if role != "constant") for kernel in kernels}
    assert moved["Split"] == 2 * 16 * pixels * halves  # half is read, half written
    assert moved["Concat"] == 2 * 48 * pixels * halves


def pyramid(other_reader: str) -> onnx.ModelProto:
    """A map of convolutions, beside one made larger; the first is read once more."""
    more = {
        "Conv": [conv("f", "z", "w")],
        "Resize": [node("Resize", ["f", "", "scales"], ["z"], mode="nearest")],
    }[other_reader]
    nodes = [
        conv("x", "a", "w"),
        node("Relu", ["a"], ["f"]),
        conv("small", "b", "w"),
        node("Resize", ["b", "", "scales"], ["up"], mode="nearest"),
        node("Concat", ["up", "f"], ["y"], axis=1),
        *more,
    ]
    scales = helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], [1.0, 1.0, 2.0, 2.0])
    inputs = {"x": (1, 16, 8, 8), "small": (1, 16, 4, 4)}
    return model(nodes, inputs, ["y", "z"], [weight("w", 16, 16, 1, 1), scales])


@pytest.mark.parametrize(("other_reader", "copies"), [("Conv", 1), ("Resize", 2)])
def test_a_map_is_written_in_place_where_only_convolutions_read_it_too(other_reader: str, copies: int) -> None:
    """`Resize_output_0 copy` stands in every list; the map of the backbone beside it is copied if a Resize reads it."""
    assert dict(layers(pyramid(other_reader)))["Concat"] == copies


def test_pools_are_copied_into_a_concatenation() -> None:
    pool = {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}
    nodes = [conv("x", "a", "w"), node("MaxPool", ["a"], ["p"], **pool), node("MaxPool", ["p"], ["q"], **pool)]
    nodes.append(node("Concat", ["a", "p", "q"], ["y"], axis=1))
    assert layers(model(nodes, {"x": (1, 8, 8, 8)}, ["y"], [weight("w", 8, 8, 1, 1)]))[-1] == ("Concat", 3)


def twins(activation: str, second: dict[str, object], add: bool = False) -> onnx.ModelProto:
    """Two convolutions of one map, of 16 and 24 channels."""
    nodes = [conv("x", "a", "wa", pads=[1, 1, 1, 1]), conv("x", "b", "wb", **second)]
    for name in "ab":
        nodes += silu(name, f"{name}1") if activation == "silu" else [node("Relu", [name], [f"{name}1"])]
    if add:
        nodes.append(node("Add", ["a1", "skip"], ["a2"]))
    inputs = {"x": (1, 8, 6, 6)} | ({"skip": (1, 16, 6, 6)} if add else {})
    return model(nodes, inputs, ["a2" if add else "a1", "b1"], [weight("wa", 16, 8, 3, 3), weight("wb", 24, 8, 3, 3)])


SAME = {"pads": [1, 1, 1, 1]}


def test_convolutions_of_one_map_are_one_kernel_and_a_function_of_each_its_own() -> None:
    # `cv2.0/conv/Conv || cv3.0/conv/Conv`, then PWN of each (YOLOv8); with ReLU `a + Relu || b + Relu`
    assert layers(twins("silu", SAME)) == [("Conv+Conv", 1), ("Sigmoid+Mul", 1), ("Sigmoid+Mul", 1)]
    assert layers(twins("relu", SAME)) == [("Conv+Relu+Conv+Relu", 1)]


def test_the_product_of_both_has_the_columns_and_the_flops_of_both() -> None:
    m = twins("relu", SAME)
    (kernel,) = [k for k in kernel_features(read_graph(m), fused(m), "fp16") if k.products]
    assert kernel.products[0].n == 16 + 24
    assert kernel.flops == predict_onnx(m, BOARD).flops == 2 * 6 * 6 * (16 + 24) * 8 * 9
    assert dict(kernel.traffic)["write"] and sum(s for role, s in kernel.traffic if role == "write") == 40 * 36 * 2


@pytest.mark.parametrize(
    "second", [{"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"pads": [2, 2, 2, 2], "dilations": [2, 2]}]
)
def test_other_strides_or_windows_make_no_siblings(second: dict[str, object]) -> None:
    assert [name for name, _ in layers(twins("relu", second))] == ["Conv+Relu", "Conv+Relu"]


def test_what_adds_a_skip_branch_has_no_sibling() -> None:
    assert len(layers(twins("relu", SAME, add=True))) == 2


def test_every_reader_of_merged_convolutions_still_comes_after_them() -> None:
    groups = fused(twins("silu", SAME)).groups
    made: dict[str, int] = {}
    for group in groups:
        for name in group.inputs:
            assert name == "x" or name in made or name.startswith("w"), name
        made |= {name: group.index for n in group.nodes for name in n.outputs if name}


def one(channels_in: int, group: int, activation: str) -> onnx.ModelProto:
    nodes = [conv("x", "a", "w", group=group)]
    nodes += silu("a", "y") if activation == "silu" else [node("Clip", ["a"], ["y"])]
    return model(nodes, {"x": (1, channels_in, 8, 8)}, ["y"], [weight("w", 16, channels_in // group, 1, 1)])


@pytest.mark.parametrize(
    ("channels", "group", "activation", "version", "kernels"),
    [
        (3, 1, "silu", (8, 6), 2),  # /model.0/conv/Conv, PWN(PWN(/model.0/act/Sigmoid), /model.0/act/Mul)
        (3, 1, "clip", (8, 6), 1),
        (32, 1, "silu", (10, 3), 1),
        (16, 16, "silu", (10, 3), 2),  # one2one_cv3.0.0.0/conv/Conv of YOLO11, and its PWN
        (16, 16, "silu", (8, 6), 1),
        (16, 16, "clip", (10, 3), 1),
    ],
)
def test_what_a_convolution_stores(
    channels: int, group: int, activation: str, version: tuple[int, int], kernels: int
) -> None:
    assert len(layers(one(channels, group, activation), version)) == kernels


@pytest.mark.parametrize(("key", "value", "kernels"), [(64, 64, 1), (32, 64, 3)])
def test_attention_is_one_kernel_if_keys_are_as_long_as_values(key: int, value: int, kernels: int) -> None:
    nodes = [
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    inputs = {"q": (1, 4, 400, key), "k": (1, 4, key, 400), "v": (1, 4, 400, value)}
    assert len(layers(model(nodes, inputs, ["y"]))) == kernels
