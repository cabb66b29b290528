"""The kernels of torch's compiler, as its profiles on an H200 show them (benchmarks/data/modules_h200_*)."""

from __future__ import annotations

import onnx
from onnx import helper

from bevlite.latency.features import KernelFeatures, kernel_features
from bevlite.latency.fusion import fuse
from bevlite.latency.graph import read_graph
from bevlite.latency.inductor import fuse_inductor

from .graphs import integers, model, weight

node = helper.make_node


def kernels(made: onnx.ModelProto) -> list[KernelFeatures]:
    graph = read_graph(made)
    return kernel_features(graph, fuse_inductor(graph), "fp16")


def ops(made: onnx.ModelProto) -> list[list[str]]:
    return [[n.op for n in group.nodes] for group in fuse_inductor(read_graph(made)).groups]


def test_convolutions_take_nothing_along() -> None:
    nodes = [node("Conv", ["x", "w", "b"], ["c"]), node("Relu", ["c"], ["r"]), node("Sigmoid", ["r"], ["y"])]
    made = model(nodes, {"x": (1, 8, 4, 4)}, ["y"], [weight("w", 8, 8, 3, 3), weight("b", 8)])
    assert ops(made) == [["Conv"], ["Relu", "Sigmoid"]]
    assert [k.launches for k in kernels(made)] == [1, 1]
    assert kernel_features(read_graph(made), fuse(read_graph(made)), "fp16")[0].op == "Reformat"


def test_a_bias_that_nothing_follows_is_a_kernel() -> None:
    made = model(
        [node("Conv", ["x", "w", "b"], ["y"])], {"x": (1, 8, 4, 4)}, ["y"], [weight("w", 8, 8, 3, 3), weight("b", 8)]
    )
    assert kernels(made)[0].launches == 2


def test_what_feeds_a_concatenation_alone_is_written_into_it() -> None:
    nodes = [node("Relu", ["a"], ["r"]), node("Sigmoid", ["b"], ["s"]), node("Concat", ["r", "s"], ["y"], axis=1)]
    made = model(nodes, {"a": (1, 8, 4, 4), "b": (1, 8, 4, 4)}, ["y"])
    assert len(ops(made)) == 1
    twice = model([*nodes, node("Tanh", ["r"], ["t"])], {"a": (1, 8, 4, 4), "b": (1, 8, 4, 4)}, ["y", "t"])
    assert sorted(map(len, ops(twice))) == [2, 2]  # Relu with Tanh, Sigmoid with Concat


def test_a_norm_takes_the_addition_in_front_of_it() -> None:
    nodes = [
        node("Add", ["x", "z"], ["a"]),
        node("LayerNormalization", ["a", "s"], ["n"]),
        node("Add", ["a", "n"], ["y"]),
    ]
    made = model(nodes, {"x": (64, 32), "z": (64, 32)}, ["y"], [weight("s", 32)])
    assert ops(made) == [["Add", "LayerNormalization", "Add"]]


def test_attention_takes_scales_and_masks() -> None:
    nodes = [
        node("Mul", ["q", "c"], ["qs"]), node("MatMul", ["qs", "k"], ["s"]), node("Add", ["s", "m"], ["sm"]),
        node("Softmax", ["sm"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"]),
    ]  # fmt: skip
    inputs: dict[str, tuple[int | str, ...]] = {"q": (4, 64, 32), "k": (4, 32, 64), "v": (4, 64, 32)}
    found = kernels(model(nodes, inputs, ["y"], [weight("c", 1), weight("m", 64, 64)]))
    assert [(k.op, k.attention) for k in found] == [("Attention", True)]
    assert found[0].products[0].k == 2 * 64  # both sides of a head padded to 64


def test_few_sums_over_many_pixels_take_two_kernels() -> None:
    nodes = [node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=1)]
    assert [k.launches for k in kernels(model(nodes, {"x": (1, 64, 32, 32)}, ["y"]))] == [2]
    assert [k.launches for k in kernels(model(nodes, {"x": (1, 64, 4, 4)}, ["y"]))] == [1]


def test_parts_of_the_channels_are_cut_out_for_convolutions() -> None:
    nodes = [
        node("Split", ["x", "parts"], ["a", "b"], axis=1),
        node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1]),
        node("Conv", ["b", "w"], ["z"], pads=[1, 1, 1, 1]),
    ]
    made = model(nodes, {"x": (1, 16, 8, 8)}, ["y", "z"], [integers("parts", 8, 8), weight("w", 8, 8, 3, 3)])
    assert [k.launches for k in kernels(made)] == [2, 1, 1]


def test_channels_that_are_no_multiple_of_eight_are_padded_by_further_kernels() -> None:
    made = model([node("Conv", ["x", "w"], ["y"])], {"x": (1, 8, 8, 8)}, ["y"], [weight("w", 2, 8, 3, 3)])
    assert kernels(made)[0].launches == 5


def test_odd_groups_run_one_by_one() -> None:
    made = model([node("Conv", ["x", "w"], ["y"], group=4)], {"x": (1, 96, 8, 8)}, ["y"], [weight("w", 96, 24, 3, 3)])
    (kernel,) = kernels(made)
    assert len(kernel.products) == 4 and kernel.launches >= 12
