"""What runs in INT8: asked by Q/DQ, given by NVIDIA's compiler, placed by our rules, on the graphs of the benchmark."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from benchmarks.quantized_graphs import GRAPHS, Network
from bevlite.export.check.int8 import Int8Product, denied, int8_products
from bevlite.rtx.compiler import build_model
from bevlite.rtx.graph import BuiltGraph, BuiltLayer, BuiltTensor
from tests.rtx.conftest import needs_compiler

MAKERS = {graph.name: graph.make for graph in GRAPHS}


@cache
def compared(name: str) -> dict[str, Int8Product]:
    model = MAKERS[name]()
    built = build_model(model, name=name)
    assert built.accepted, built.errors
    assert {layer.name for layer in built.int8_layers()} <= {layer.name for layer in built.kernels}
    return {product.node: product for product in int8_products(model, built)}


@needs_compiler
@pytest.mark.parametrize("name", [n for n in MAKERS if n not in ("transposed", "relu-behind")])
def test_the_compiler_gives_what_is_asked_and_our_rules_say_so(name: str) -> None:
    products = compared(name)
    assert products and any(product.asked for product in products.values())
    for product in products.values():
        assert product.granted == product.asked and product.agrees, product
        assert product.kernel and bool(product.reason) == (not product.asked)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "node", "reason"),
    [
        ("no-weight", "/half_held", "no Q/DQ on weight"),
        ("no-input", "/half_held", "no Q/DQ on input"),
        ("fork", "/free", "no Q/DQ on input and weight"),
        ("attention-linear", "/scores", "no Q/DQ on first operand and second operand"),
    ],
)
def test_what_was_not_asked(name: str, node: str, reason: str) -> None:
    product = compared(name)[node]
    assert (product.asked, product.runs, product.reason, product.placed) == (False, "fp32", reason, False)


@needs_compiler
def test_a_transposed_convolution_is_denied_and_named() -> None:
    """Classic TensorRT has INT8 kernels for it (TensorRT#2597, #1699): the table of the benchmark says why."""
    (product,) = denied(compared("transposed").values())
    assert product.note() == (
        "/up (ConvTranspose) was asked for INT8 and runs in FP32: the compiler has no INT8 kernel for this transposed "
        "convolution and dequantises its operands to FP32 before it"
    )
    assert not product.agrees


@needs_compiler
def test_what_stands_in_the_way_is_named() -> None:
    (product,) = denied(compared("relu-behind").values())
    assert product.reason == "its DequantizeLinear stands before Relu, over which the compiler does not move it"


@needs_compiler
def test_a_depthwise_convolution_is_padded_to_four_channels_a_group() -> None:
    model = MAKERS["depthwise"]()
    layer = build_model(model).layer_of("/grouped")
    assert layer is not None and layer.runs_int8
    assert layer.inputs[0].shape[1] == 4 * 64  # four times the channels, three of them nothing
    assert "depthwise" in compared("depthwise")["/grouped"].placed_reason


@needs_compiler
def test_attention_in_int8_is_one_kernel() -> None:
    built = build_model(MAKERS["attention"]())
    scores, mix = built.layer_of("/scores"), built.layer_of("/mix")
    assert scores is not None and scores == mix and scores.runs_int8


def test_a_product_that_no_layer_names() -> None:
    built = BuiltGraph(source="net", compiler="1.7", capability="8.6", verdict="taken")
    product = int8_products(MAKERS["output"](), built)[0]
    assert not product.known and not product.denied and product.agrees  # nothing is known, and nothing claimed
    assert product.reason.startswith("no layer of the compiler names it")


def test_a_product_that_became_part_of_a_generated_kernel() -> None:
    tensor = BuiltTensor(name="x", shape=(1, 64, 40, 40), dtype="fp16")
    layer = BuiltLayer(name="k", kind="kgen", inputs=(tensor,), nodes=("/first",))
    built = BuiltGraph(source="net", compiler="1.7", capability="8.6", verdict="taken", layers=(layer,))
    product = int8_products(MAKERS["output"](), built)[0]
    assert (product.runs, product.reason) == ("fp16", "it became part of the generated kernel k")


def test_names_that_two_nodes_share_claim_nothing() -> None:
    model = MAKERS["chain"]()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.name = "conv"
    tensor = BuiltTensor(name="x", shape=(1, 64, 40, 40), dtype="int8")
    layer = BuiltLayer(name="k", kind="correlation", inputs=(tensor,), constants=(tensor,), nodes=("conv",))
    built = BuiltGraph(source="net", compiler="1.7", capability="8.6", verdict="taken", layers=(layer,))
    for product in int8_products(model, built):
        assert not product.known and product.reason.startswith("its name is that of another node too")


@needs_compiler
@pytest.mark.parametrize("op", ["MatMul", "Conv"])
def test_a_float_weight_is_no_int8_product_whatever_the_input_is(op: str) -> None:
    """The compiler reads the input as INT8 and casts it inside the kernel: that is no INT8 product."""
    net = Network(inputs={"x": (64, 64)} if op == "MatMul" else {"x": (1, 64, 16, 16)}, channels={"x": 64})
    held = net.qdq("x")
    made = net.linear(held, 64, 64, held=False) if op == "MatMul" else net.conv(held, held=False)
    (product,) = int8_products(net.model(made), build_model(net.model(made)))
    assert (product.asked, product.granted, product.placed) == (False, False, False) and product.known


@needs_compiler
@pytest.mark.parametrize(
    ("op", "how", "asked"),
    [("Cast", {"to": 1}, True), ("Tile", {}, True), ("Expand", {}, True), ("Pad", {}, True),
     ("Pad", {"value": 0.5}, False)],
)  # fmt: skip
def test_layers_that_dequantisation_moves_over(op: str, how: dict[str, float], asked: bool) -> None:
    net = Network(inputs={"x": (1, 64, 16, 16)}, channels={"x": 64})
    more = {
        "Tile": lambda: [net.constant("by", np.array([1, 1, 2, 1]))],
        "Expand": lambda: [net.constant("to", np.array([1, 64, 16, 16]))],
        "Pad": lambda: [net.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1])),
                        *([net.constant("value", np.float32(how["value"]))] if "value" in how else [])],
    }.get(op, lambda: [])()  # fmt: skip
    attributes = {key: value for key, value in how.items() if key != "value"}
    moved = net.node(op, net.qdq("x"), *more, **attributes)
    net.channels[moved] = 64
    model = net.model(net.conv(moved))
    (product,) = int8_products(model, build_model(model))
    assert (product.asked, product.granted, product.placed) == (asked, asked, asked), product


def test_an_einsum_of_one_is_no_product_and_deep_concatenations_cost_nothing() -> None:
    net = Network(inputs={"x": (8, 8)}, channels={"x": 8})
    turned = net.node("Einsum", net.qdq("x"), equation="ij->ji")
    for _ in range(24):
        turned = net.node("Concat", turned, turned, axis=0)
        turned = net.node("Slice", turned, net.constant(f"a{len(net.nodes)}", np.array([0])),
                          net.constant(f"b{len(net.nodes)}", np.array([8])))  # fmt: skip
    model = net.model(turned)
    built = BuiltGraph(source="net", compiler="1.7", capability="8.6", verdict="taken")
    assert int8_products(model, built) == ()


def test_a_node_without_name_is_found_by_what_it_writes() -> None:
    model = MAKERS["output"]()
    (node,) = [n for n in model.graph.node if n.op_type == "Conv"]
    node.name = ""
    tensor = BuiltTensor(name="x", shape=(1, 64, 40, 40), dtype="int8")
    named = (f"node_of_{node.output[0]}",)
    layer = BuiltLayer(name="k", kind="correlation", inputs=(tensor,), constants=(tensor,), nodes=named)
    built = BuiltGraph(source="net", compiler="1.7", capability="8.6", verdict="taken", layers=(layer,))
    assert int8_products(model, built)[0].granted


@needs_compiler
def test_the_parser_does_name_it_so() -> None:
    model: onnx.ModelProto = MAKERS["output"]()
    for node in model.graph.node:
        node.name = ""
    assert int8_products(model, build_model(model))[0].granted
