from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.latency.onnx.graph import load_model, read_graph
from bevlite.latency.onnx.shapes import parse_shapes, with_shapes
from bevlite.latency.predictor import predict_onnx
from tests.latency.graphs import conv_relu, integers, model, weight

BOARD = find_device("agx-orin-64gb")


def dynamic_conv(*shape: int | str) -> onnx.ModelProto:
    return model(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])],
        {"x": shape},
        ["y"],
        [weight("w", 8, 3, 3, 3)],
    )


def test_a_setting_is_read() -> None:
    assert parse_shapes(["1x3x224x224"]) == {"": (1, 3, 224, 224)}
    # a name of TensorFlow has a colon, one of another tool may have an equals sign
    assert parse_shapes(["input:0=2x3", "a=b=7"]) == {"input:0": (2, 3), "a=b": (7,)}


@pytest.mark.parametrize("word", ["", "x=", "=1x3", "x=1x", "x=1,3", "x=1x-3", "x=0x3", "x=axb", "1x3x²"])
def test_a_wrong_setting_is_one_line(word: str) -> None:
    with pytest.raises(BevliteError, match="accepted: --shape NAME=1x3x224x224") as error:
        parse_shapes([word])
    assert "\n" not in str(error.value)


def test_an_input_is_given_once() -> None:
    with pytest.raises(BevliteError, match="found x twice"):
        parse_shapes(["x=1x3", "x=1x4"])


def test_a_dynamic_file_with_sizes_is_predicted_as_the_static_one() -> None:
    dynamic = with_shapes(dynamic_conv("n", 3, "h", "w"), {"": (2, 3, 40, 64)}, "net")
    predicted, static = (predict_onnx(m, BOARD) for m in (dynamic, dynamic_conv(2, 3, 40, 64)))
    assert predicted.latency_ms == static.latency_ms
    assert predicted.flops == 2 * 2 * 40 * 64 * 8 * 3 * 9  # two a multiply-add, by hand


def test_the_given_model_stays_as_it_was() -> None:
    source = dynamic_conv("n", 3, 8, 8)
    before = source.SerializeToString()
    with_shapes(source, {"x": (4, 3, 8, 8)}, "net")
    assert source.SerializeToString() == before


def test_a_symbol_has_one_size_everywhere() -> None:
    add = model([helper.make_node("Add", ["a", "b"], ["y"])], {"a": ("n", 4), "b": ("n", 4)}, ["y"])
    add.graph.output[0].type.CopyFrom(add.graph.input[0].type)
    graph = read_graph(with_shapes(add, {"a": (6, 4)}, "net"))
    assert graph.tensor("b").shape == (6, 4) and graph.tensor("y").shape == (6, 4)
    with pytest.raises(BevliteError, match=r"found b=7x4; accepted: 6 in dimension 0 \('n'\), as in input 'a'"):
        with_shapes(add, {"a": (6, 4), "b": (7, 4)}, "net")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"y": (1, 3, 8, 8)}, "found input 'y'; accepted: x"),
        ({"x": (3, 8, 8)}, r"3 dimensions; accepted: 4 \(nx3xhx8\)"),
        ({"x": (1, 4, 8, 8)}, "accepted: 3 in dimension 1, which the file fixes"),
        ({"": (1, 3, 8, 9)}, "accepted: 8 in dimension 3"),
    ],
)
def test_what_does_not_fit_is_one_line(setting: dict[str, tuple[int, ...]], words: str) -> None:
    with pytest.raises(BevliteError, match=words) as error:
        with_shapes(dynamic_conv("n", 3, "h", 8), setting, "net.onnx")
    assert str(error.value).startswith("net.onnx: --shape: ") and "\n" not in str(error.value)


def test_stored_dimensions_without_a_size_do_not_hide_it() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    relu = model(nodes, {"x": ("None", 3)}, ["y"])
    relu.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, ("2*n", 3)))
    relu.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ("None", 3)))
    graph = read_graph(with_shapes(relu, {"": (4, 3)}, "net"))
    assert graph.tensor("m").shape == graph.tensor("y").shape == (4, 3)


def test_two_inputs_need_names() -> None:
    add = model([helper.make_node("Add", ["a", "b"], ["y"])], {"a": ("n",), "b": ("m",)}, ["y"])
    with pytest.raises(BevliteError, match="found no input name; accepted: NAME=SIZES with one of a, b"):
        with_shapes(add, {"": (3,)}, "net")


def test_the_message_of_a_dynamic_file_can_be_followed() -> None:
    source = dynamic_conv("n", 3, "h", 32)
    with pytest.raises(BevliteError, match=r"input 'x' dimension 0 \('n'\) is dynamic; accepted: static") as error:
        read_graph(source)
    option = str(error.value).rpartition("--shape ")[2]
    assert read_graph(with_shapes(source, parse_shapes([option]), "net")).tensor("x").shape == (1, 3, 224, 32)


def test_sizes_that_do_not_fit_together_say_why() -> None:
    add = model([helper.make_node("Add", ["a", "b"], ["y"], name="sum")], {"a": (1, "n"), "b": (1, 4)}, ["y"])
    with pytest.raises(BevliteError, match=r"node 'sum' \(Add\) has no shape: Incompatible dimensions") as error:
        read_graph(with_shapes(add, {"a": (1, 3)}, "net"))
    assert "\n" not in str(error.value)


def test_an_unknown_operator_with_stored_shapes_is_traffic_with_a_wide_interval() -> None:
    def with_middle(op: str, domain: str) -> onnx.ModelProto:
        nodes = [
            helper.make_node(op, ["x"], ["m"], name="middle", domain=domain),
            helper.make_node("Sigmoid", ["m"], ["y"], name="last"),
        ]
        made = model(nodes, {"x": (1, 64, 128, 128)}, ["y"], extra_domains=(domain,) if domain else ())
        if domain:
            made.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, (1, 64, 128, 128)))
        return made

    custom = predict_onnx(with_middle("Mystery", "mine"), BOARD)
    known = predict_onnx(with_middle("Erf", ""), BOARD)
    kernel = next(k for k in custom.kernels if k.op == "Mystery")
    assert kernel.uncertain and kernel.flops == 0
    # one tensor in and one out of DRAM, both of 2 MB in FP16: of their order, whatever the cache does
    assert 1e6 < kernel.traffic_bytes < 5e6
    assert any("Mystery is unknown" in note for note in custom.notes)
    assert custom.upper_ms / custom.latency_ms > known.upper_ms / known.latency_ms
    assert custom.lower_ms / custom.latency_ms < known.lower_ms / known.latency_ms


def test_an_unknown_operator_without_shapes_says_what_is_missing() -> None:
    custom = model([helper.make_node("Mystery", ["x"], ["y"], domain="mine")], {"x": (1, 8)}, ["y"],
                   extra_domains=("mine",))  # fmt: skip
    with pytest.raises(BevliteError, match="'mine' is no part of ONNX; accepted: unknown operators whose output"):
        read_graph(custom)


def test_external_weights_may_be_missing(tmp_path: Path) -> None:
    onnx.save(conv_relu(), str(tmp_path / "whole.onnx"))
    onnx.save(conv_relu(), str(tmp_path / "net.onnx"), save_as_external_data=True, location="net.data",
              size_threshold=0)  # fmt: skip
    (tmp_path / "net.data").unlink()
    files = [predict_onnx(tmp_path / name, BOARD).latency_ms for name in ("net.onnx", "whole.onnx")]
    assert files[0] == files[1]


@pytest.mark.parametrize("cut", [1, 100, 2000])
def test_a_truncated_file_is_one_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(conv_relu(), str(path))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BevliteError, match=r"net\.onnx: ") as error:
        read_graph(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["net.json", "net.onnxtxt", "net.onnx"])
def test_text_is_no_onnx_file_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"total_ms": 3}')
    with pytest.raises(BevliteError, match="not a readable ONNX file") as error:
        load_model(tmp_path / name)
    assert "\n" not in str(error.value)


def test_functions_of_the_file_are_written_out(tmp_path: Path) -> None:
    body = [helper.make_node("Conv", ["a", "b"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["d"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Block", ["a", "b"], ["d"], body, opsets)
    call = helper.make_node("Block", ["x", "w"], ["y"], domain="mine", name="block")
    with_function = model([call], {"x": (1, 64, 56, 56)}, ["y"], [weight("w", 64, 64, 3, 3)], extra_domains=("mine",))
    with_function.functions.append(function)
    onnx.save(with_function, str(tmp_path / "net.onnx"))
    prediction = predict_onnx(tmp_path / "net.onnx", BOARD)
    plain = model(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])],
        {"x": (1, 64, 56, 56)}, ["y"], [weight("w", 64, 64, 3, 3)],
    )  # fmt: skip
    assert prediction.latency_ms == predict_onnx(plain, BOARD).latency_ms


def test_a_constant_that_folding_finds_keeps_its_own_shape() -> None:
    """torchvision's Swin: an index made of folded constants, larger than what is folded."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["size"]),
        helper.make_node("Range", ["zero", "size", "step"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "axis"], ["column"]),
        helper.make_node("Add", ["row", "column"], ["index"], name="index"),
        helper.make_node("Cast", ["index"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "weights"], ["y"], name="product"),
    ]
    scalars = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in (("one", 1), ("zero", 0), ("step", 1))]
    graph = read_graph(model(nodes, {"x": (7, 49)}, ["y"], [*scalars, integers("axis", 1)]))
    assert graph.tensor("index").shape == (49, 49) and graph.tensor("y").shape == (7, 49)
