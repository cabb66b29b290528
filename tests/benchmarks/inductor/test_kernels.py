"""The kernels of torch's compiler, as its profiles on an H200 show them (benchmarks/data/modules_h200_*)."""

from __future__ import annotations

import onnx
from onnx import helper

from benchmarks.inductor.backend import Inductor
from benchmarks.inductor.features import CompiledKernel
from bevlite.latency.gpu.features import kernel_features
from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.onnx.graph import read_graph
from tests.latency.graphs import integers, model, weight

node = helper.make_node


BACKEND = Inductor()


def kernels(made: onnx.ModelProto) -> list[CompiledKernel]:
    graph = read_graph(made)
    found = BACKEND.features(graph, BACKEND.fuse(graph), "fp16")
    return [kernel for kernel in found if isinstance(kernel, CompiledKernel)]


def ops(made: onnx.ModelProto) -> list[list[str]]:
    return [[n.op for n in group.nodes] for group in BACKEND.fuse(read_graph(made)).groups]


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
        node("Mul", ["q", "c"], ["qs"]), node("Mul", ["k", "c"], ["ks"]), node("MatMul", ["qs", "ks"], ["s"]),
        node("Add", ["s", "m"], ["sm"]), node("Softmax", ["sm"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"]),
    ]  # fmt: skip
    inputs: dict[str, tuple[int | str, ...]] = {"q": (4, 64, 32), "k": (4, 32, 64), "v": (4, 64, 32)}
    found = kernels(model(nodes, inputs, ["y"], [weight("c", 1), weight("m", 64, 64)]))
    assert [(k.op, k.attention) for k in found] == [("Attention", True)]
    assert found[0].products[0].k == 2 * 64  # both sides of a head padded to 64


def test_an_attention_that_is_written_out_is_three_kernels() -> None:
    nodes = [
        node("Mul", ["q", "c"], ["qs"]), node("MatMul", ["qs", "k"], ["s"]), node("Add", ["s", "m"], ["sm"]),
        node("Softmax", ["sm"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["y"]),
    ]  # fmt: skip
    inputs: dict[str, tuple[int | str, ...]] = {"q": (4, 64, 32), "k": (4, 32, 64), "v": (4, 64, 32)}
    made = model(nodes, inputs, ["y"], [weight("c", 1), weight("m", 64, 64)])
    assert ops(made) == [["Mul"], ["MatMul"], ["Add", "Softmax"], ["MatMul"]]


def depthwise(height: int, width: int) -> float:
    pads = [height // 2, width // 2] * 2
    made = model(
        [node("Conv", ["x", "w"], ["y"], group=8, pads=pads)], {"x": (1, 8, 16, 16)}, ["y"],
        [weight("w", 8, 1, height, width)],
    )  # fmt: skip
    return kernels(made)[0].products[0].flops


def test_windows_that_no_depthwise_kernel_is_made_for_cost_the_general_one() -> None:
    outputs = 8 * 16 * 16
    assert [depthwise(3, 3), depthwise(5, 5)] == [2 * 9 * outputs, 2 * 25 * outputs]
    assert depthwise(1, 5) == depthwise(7, 7) == 440 * outputs


def test_few_channels_run_in_tiles_of_few_columns() -> None:
    made = model([node("Conv", ["x", "w"], ["y"])], {"x": (1, 10, 8, 8)}, ["y"], [weight("w", 64, 10, 1, 1)])
    (product,) = kernels(made)[0].products
    assert (product.batch, product.m, product.n, product.k) == (2, 64, 32, 16)


def test_a_normalisation_over_a_whole_map_takes_four_kernels() -> None:
    made = model([node("InstanceNormalization", ["x", "s", "s"], ["y"])], {"x": (1, 1, 64, 3136)}, ["y"],
                 [weight("s", 1)])  # fmt: skip
    assert [k.launches for k in kernels(made)] == [4]


def test_an_elementwise_kernel_writes_over_what_it_reads_but_not_over_an_input() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])]
    made = model(nodes, {"x": (64, 32)}, ["y"], [weight("w", 32, 32)])
    assert kernels(made)[1].footprint_bytes == 64 * 32 * 2
    alone = model([node("Relu", ["x"], ["y"])], {"x": (64, 32)}, ["y"])
    assert kernels(alone)[0].footprint_bytes == 2 * 64 * 32 * 2


def test_a_large_window_reads_each_element_as_often_as_it_has_elements() -> None:
    pool = node("MaxPool", ["x"], ["y"], kernel_shape=[5, 5], pads=[2, 2, 2, 2])
    (kernel,) = kernels(model([pool], {"x": (1, 8, 16, 16)}, ["y"]))
    assert [size for role, size in kernel.traffic if role == "strided"] == [8 * 16 * 16 * 2] * 25


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
    for channels, launches in ((64, 5), (32, 1)):  # from few channels there are kernels that pad nothing
        made = model(
            [node("Conv", ["x", "w"], ["y"])], {"x": (1, channels, 8, 8)}, ["y"], [weight("w", 2, channels, 3, 3)]
        )
        assert kernels(made)[0].launches == launches


def grouped(groups: int, window: int) -> CompiledKernel:
    weights = [weight("w", 96, 96 // groups, window, window)]
    conv = node("Conv", ["x", "w"], ["y"], group=groups)
    return kernels(model([conv], {"x": (1, 96, 8, 8)}, ["y"], weights))[0]


def test_two_odd_groups_run_one_by_one() -> None:
    kernel = grouped(2, 3)
    assert (len(kernel.products), kernel.launches) == (2, 6)


def test_more_odd_groups_are_rearranged_first() -> None:
    for kernel in (grouped(4, 3), grouped(2, 1)):
        assert (len(kernel.products), kernel.launches) == (1, 5)
        assert [size for role, size in kernel.traffic if role == "strided"] == [96 * 8 * 8 * 2] * 4
    assert grouped(3, 3).launches == 1  # 32 channels a group: a kernel is made for them


def test_the_activation_of_a_product_is_a_kernel() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Erf", ["a"], ["y"])]
    made = model(nodes, {"x": (64, 32)}, ["y"], [weight("w", 32, 32), weight("b", 32)])
    assert ops(made) == [["MatMul", "Add"], ["Erf"]]
