"""Which products stay FP16 in a file with Q/DQ nodes, and where scales are changed, on graphs drawn by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from bevlite.cli.main import build_app
from bevlite.latency.device import find_device
from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.gpu.quantization import Int8Findings, findings, scales_of
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import model, weight

MAPS = (1, 16, 8, 8)


class Net:
    """A graph put together node by node; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = [numpy_helper.from_array(np.int8(0), "zero")]

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def qdq(self, source: str, scale: float = 0.1) -> str:
        name = f"scale{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.float32(scale), name))
        quantized = self.node("QuantizeLinear", source, name, "zero")
        return self.node("DequantizeLinear", quantized, name, "zero")

    def conv(self, source: str, *, held: bool = True, groups: int = 1, channels: int = 16) -> str:
        name = f"weight{len(self.constants)}"
        self.constants.append(weight(name, channels, channels // groups, 3, 3))
        return self.node("Conv", source, self.qdq(name) if held else name, pads=[1] * 4, group=groups)

    def model(self, *outputs: str, **inputs: tuple[int, ...]) -> onnx.ModelProto:
        return model(self.nodes, inputs or {"x": MAPS}, list(outputs), self.constants)

    def read(self, *outputs: str, **inputs: tuple[int, ...]) -> Int8Findings:
        file = self.model(*outputs, **inputs)
        graph = read_graph(file)
        return findings(graph, fuse(graph), scales_of(file))


def only(found: Int8Findings) -> tuple[str, str, tuple[str, ...]]:
    (row,) = found.rows
    return row.effect, row.reason, row.nodes


def test_all_inputs_quantised_is_int8() -> None:
    net = Net()
    found = net.read(net.conv(net.qdq("x")))
    assert (found.explicit, found.int8_products, found.products, found.rows) == (True, 1, 1, ())


@pytest.mark.parametrize(
    ("source", "held", "reason"),
    [
        (False, True, "no Q/DQ on input"),
        (True, False, "no Q/DQ on weight"),
        (False, False, "no Q/DQ on input and weight"),
    ],
)
def test_what_is_missing_is_named(source: bool, held: bool, reason: str) -> None:
    net = Net()
    other = net.conv(net.qdq("x"))
    last = net.conv(net.qdq(other) if source else other, held=held)
    found = net.read(last)
    assert only(found) == ("stays FP16", reason, (last,)) and (found.int8_products, found.products) == (1, 2)


@pytest.mark.parametrize("op", ["MaxPool", "Relu", "Transpose"])
def test_dequantisation_moves_over_layers_that_only_pick_or_move(op: str) -> None:
    extra: dict[str, Any] = {"MaxPool": {"kernel_shape": [2, 2]}, "Relu": {}, "Transpose": {"perm": [0, 1, 3, 2]}}[op]
    net = Net()
    assert net.read(net.conv(net.node(op, net.qdq("x"), **extra))).rows == ()
    net = Net()
    last = net.conv(net.node("Sigmoid", net.qdq("x")))
    assert only(net.read(last)) == ("stays FP16", "no Q/DQ on input", (last,))


@pytest.mark.parametrize(("groups", "idle"), [(16, "depthwise"), (8, "grouped, 2 channels a group"), (4, "")])
def test_grouped_convolutions_run_in_int8_and_gain_nothing(groups: int, idle: str) -> None:
    """Q/DQ binds: NVIDIA's compiler pads a depthwise convolution and runs it in INT8 (tests/export/check/test_int8)."""
    net = Net()
    found = net.read(net.conv(net.qdq("x"), groups=groups))
    assert (found.int8_products, found.products) == (1, 1)
    assert [(row.effect, row.reason.split(":")[0]) for row in found.rows] == ([("gains nothing", idle)] if idle else [])


@pytest.mark.parametrize(("scale", "rows"), [(0.1, 0), (0.2, 1)])
def test_a_pooling_between_two_scales(scale: float, rows: int) -> None:
    net = Net()
    pooled = net.node("MaxPool", net.qdq("x"), kernel_shape=[2, 2], strides=[2, 2])
    found = net.read(net.conv(net.qdq(pooled, scale)))
    assert [row.reason for row in found.rows] == ["another scale behind than before"] * rows


def test_what_has_no_int8_kernel_is_named() -> None:
    net = Net()
    pooled = net.node("GlobalAveragePool", net.qdq("x"))
    found = net.read(net.conv(net.qdq(pooled)))
    assert only(found) == ("requantised", "no INT8 kernel: it is dequantised before", (pooled,))


def test_a_tensor_that_is_read_quantised_and_in_float() -> None:
    net = Net()
    x = net.node("Relu", net.conv(net.qdq("x")))
    held, free = net.conv(net.qdq(x)), net.conv(x, held=False)
    rows = {row.effect: row.reason for row in net.read(held, free).rows}
    assert rows["requantised"] == "its tensor is read in float too (by Conv)"
    assert rows["stays FP16"] == "no Q/DQ on input and weight"


def attention(net: Net, quantised: bool) -> str:
    q, k, v = ((net.qdq(name) if quantised else name) for name in "qkv")
    scores = net.node("Softmax", net.node("MatMul", q, k))
    return net.node("MatMul", net.qdq(scores) if quantised else scores, v)


def test_products_inside_attention_stay_fp16() -> None:
    net = Net()
    out = attention(net, quantised=False)
    net.conv(net.qdq("x"))  # so that the file is one with Q/DQ
    last = net.nodes[-1].output[0]
    shapes = {"q": (1, 2, 16, 8), "k": (1, 2, 8, 16), "v": (1, 2, 16, 8), "x": MAPS}
    found = net.read(out, last, **shapes)
    assert only(found)[:2] == ("stays FP16", "inside attention") and len(found.rows[0].nodes) == 2


def residual(skip: bool, branch: bool) -> Int8Findings:
    net = Net()
    first = net.node("Relu", net.conv(net.qdq("x")))
    last = net.conv(net.qdq(first))
    add = net.node("Add", net.qdq(last) if branch else last, net.qdq(first) if skip else first)
    return net.read(net.node("Relu", add))


def test_residual_additions() -> None:
    assert residual(skip=True, branch=False).rows == ()
    for skip, branch, reason in (
        (False, True, "Q/DQ on the wrong branch of a residual addition"),
        (True, True, "Q/DQ on both branches of a residual addition"),
        (False, False, "no Q/DQ on the skip branch of a residual addition"),
    ):
        effect, found, _ = only(residual(skip, branch))
        assert (effect, found) == ("requantised", reason)


def test_an_addition_in_fp16_is_no_residual_of_int8() -> None:
    net = Net()
    quantised = net.conv(net.qdq("x"))
    first, second = (net.conv("x", held=False) for _ in range(2))
    found = net.read(quantised, net.node("Add", first, second))
    assert {row.effect for row in found.rows} == {"stays FP16"}


@pytest.mark.parametrize(("scales", "reason"), [((0.1, 0.1), ""), ((0.1, 0.2), "2 different scales")])
def test_concatenations(scales: tuple[float, float], reason: str) -> None:
    net = Net()
    parts = [net.qdq(net.conv(net.qdq("x")), scale) for scale in scales]
    found = net.read(net.node("Concat", *parts, axis=1))
    assert [row.reason for row in found.rows] == ([reason] if reason else [])


def test_a_concatenation_that_is_quantised_in_part() -> None:
    net = Net()
    plain = net.conv(net.qdq("x"))
    found = net.read(net.node("Concat", plain, net.qdq(plain), axis=1))
    assert only(found)[1] == "1 of 2 operands have Q/DQ"


def test_without_qdq_it_says_what_that_means() -> None:
    net = Net()
    net.conv("x", held=False)
    file = net.model(net.conv("x", held=False, groups=16))
    board = find_device("agx-orin-64gb")
    old, new = (predict_onnx(file, board, "int8", version).notes for version in ("8.6", "11.4"))
    assert any("accuracy is noise" in note and "calibration cache" in note for note in old)
    assert any("TensorRT 11 takes INT8 from them alone" in note for note in new)
    assert any("1 Conv stays FP16 (depthwise" in note for note in old)
    assert not any(note.startswith("INT8") for note in predict_onnx(file, board, "fp16").notes)


def test_a_long_list_names_the_first_and_counts_the_rest() -> None:
    net = Net()
    last = net.qdq("x")
    for _ in range(10):
        last = net.conv(last, held=False)
    (row,) = [row for row in net.read(last).rows if row.reason == "no Q/DQ on input and weight"]
    assert len(row.nodes) == 9 and row.note().endswith("and 1 more; quantise all inputs of a product, or none")


def test_the_command_and_the_page_name_them(tmp_path: Path) -> None:
    net = Net()
    file = tmp_path / "net.onnx"
    last = net.conv(net.conv(net.qdq("x")), held=False)
    onnx.save(net.model(last), file)
    page, report = tmp_path / "r.html", tmp_path / "r.json"
    arguments = ["latency", str(file), "--precision", "int8", "--html", str(page), "--json", str(report)]
    result = CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "INT8: what stays FP16, gains nothing, or is requantised" in result.output and last in result.output
    assert "INT8: 1 of 2 products run in INT8" in result.output
    assert "what stays FP16" in page.read_text() and f'<td class="long">{last}</td>' in page.read_text()
    assert f"no Q/DQ on input and weight): {last}" in report.read_text()
