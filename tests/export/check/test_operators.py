"""The operator check against what TensorRT's documents say, one small graph a fact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError, ExportError
from bevlite.export.check.operators import check_model, findings_table, has_errors
from bevlite.tensorrt import BEFORE_11_2, VERSIONS, version_key
from tests.latency.graphs import conv_relu, integers, model, weight

node = helper.make_node
OLD, NEW = ("8.5", "8.6"), ("10.3", "10.16", "11.1", "11.4")
Shapes = dict[str, "tuple[int | str, ...]"]


def severities(m: onnx.ModelProto, text: str = "") -> dict[str, set[str]]:
    """Version to severities of the findings whose reason holds the text."""
    found: dict[str, set[str]] = {}
    for f in check_model(m):
        if text in f.reason:
            found.setdefault(f.version, set()).add(f.severity)
    return found


def every(severity: str, versions: tuple[str, ...] = VERSIONS) -> dict[str, set[str]]:
    return {version: {severity} for version in versions}


def single(op: str, shapes: Shapes, opset: int = 17, constants: list[onnx.TensorProto] | None = None,
           **attributes: object) -> onnx.ModelProto:  # fmt: skip
    names = [*shapes, *(c.name for c in constants or [])]
    return model([node(op, names, ["y"], name="n", **attributes)], shapes, ["y"], constants, opset)


def test_a_plain_convolution_is_clean() -> None:
    assert check_model(conv_relu()) == []


@pytest.mark.parametrize(
    ("version", "key"),
    [("8.5.2", "8.5"), ("8.6", "8.6"), ("10.0", "10.3"), ("10.3.0", "10.3"), ("10.7", "10.3"),
     ("10.16.2", "10.16"), ("11", "11.4"), ("11.4", "11.4"), ("11.1", "11.1"), ("11.0", "10.16")],
)  # fmt: skip
def test_version_to_column(version: str, key: str) -> None:
    assert version_key(version) == key


@pytest.mark.parametrize("first", ["MatMul", "Cast"])
def test_long_attention_is_as_its_engine_computes(first: str) -> None:
    """In FP32 any number of keys will do; between casts of FP16 a kernel may be fused that is FP16 inside."""
    made = {"MatMul": node("MatMul", ["q", "k"], ["s"]), "Cast": node("Cast", ["h"], ["s"], to=TensorProto.FLOAT)}
    shapes = {"MatMul": {"q": (1, 4), "k": (4, 65536)}, "Cast": {"h": (1, 65536)}}
    m = model([made[first], node("Softmax", ["s"], ["y"])], shapes[first], ["y"])
    if first == "Cast":
        m.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for precision in ("fp16", "int8"):
        assert {f.severity for f in check_model(m, precision=precision)} == {"silent_wrong"}
    assert check_model(m, precision="fp32") == []
    assert bool(check_model(m, precision="graph")) == (first == "Cast")


def test_layer_normalization_needs_8_6() -> None:
    m = single("LayerNormalization", {"x": (2, 64)}, constants=[weight("s", 64)])
    assert severities(m) == every("error", ("8.5",))
    assert "opset 16" in check_model(m)[0].remedy


def test_opset_ranges() -> None:
    x: Shapes = {"x": (1, 4)}
    assert severities(single("Relu", x, opset=18), "opset") == every("warning", OLD)
    assert severities(single("Relu", x, opset=21), "opset") == every("warning", (*OLD, "10.3"))
    assert severities(single("Relu", x, opset=7), "opset") == every("warning", NEW)


def test_grid_sample() -> None:
    flat: Shapes = {"x": (1, 8, 16, 16), "g": (1, 4, 4, 2)}
    assert check_model(single("GridSample", flat, mode="bilinear")) == []
    for opset in (20, 21):
        m = single("GridSample", flat, opset=opset, mode="linear")
        assert severities(m, "nearest") == every("silent_wrong", BEFORE_11_2)
    assert severities(single("GridSample", flat, opset=20), "nearest") == every("silent_wrong", BEFORE_11_2)  # default
    volume: Shapes = {"x": (1, 8, 4, 16, 16), "g": (1, 2, 4, 4, 3)}
    assert severities(single("GridSample", volume, opset=20, mode="nearest"), "5-D") == every(
        "error", ("8.5", "8.6", "10.3", "10.16", "11.1")
    )


def test_reductions_of_later_opsets_are_at_risk_on_8() -> None:
    """Their axes became an input in opset 18, which the importers of 8.5 and 8.6 do not look at."""
    m = model([node("ReduceMean", ["x", "axes"], ["y"])], {"x": (1, 4, 8, 8)}, ["y"], [integers("axes", 1)], 18)
    assert severities(m, "axes of ReduceMean are an input since 18") == every("error", OLD)
    assert severities(m, "opset") == every("error", OLD)
    m.graph.node[0].op_type = "ReduceSum"  # an input since 13, which they do look at
    assert severities(m, "opset") == every("warning", OLD)


@pytest.mark.parametrize(
    ("op", "kind", "refused"),
    [("TopK", TensorProto.INT64, ("8.5",)), ("TopK", TensorProto.INT32, ("8.5",)), ("TopK", TensorProto.FLOAT, ()),
     ("Relu", TensorProto.INT32, (*OLD, *NEW)), ("Relu", TensorProto.INT64, OLD),
     ("ArgMax", TensorProto.INT64, ("8.5",)),
     ("DepthToSpace", TensorProto.BOOL, (*OLD, *NEW)), ("Add", TensorProto.INT64, ())],
)  # fmt: skip
def test_types_that_an_importer_refuses(op: str, kind: int, refused: tuple[str, ...]) -> None:
    names, options = {"TopK": (["x", "k"], {}), "Add": (["x", "x"], {}), "DepthToSpace": (["x"], {"blocksize": 2})}.get(
        op, (["x"], {})
    )
    m = model([node(op, names, ["y"], **options)], {"x": (1, 4, 8, 8)}, ["y"], [integers("k", 3)], 17, (), kind)
    m.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64 if op == "ArgMax" else kind
    assert severities(m, "which the importer refuses") == every("error", refused)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling_is_never_dilated(op: str) -> None:
    m = single(op, {"x": (1, 4, 16, 16)}, opset=19, kernel_shape=[3, 3], dilations=[2, 2])
    assert severities(m, "dilations") == every("error")


def scatter(op: str, **attributes: object) -> onnx.ModelProto:
    index = numpy_helper.from_array(np.zeros((2, 1) if op == "ScatterND" else (2, 3), np.int64), "i")
    m = model([node(op, ["x", "i", "u"], ["y"], **attributes)], {"x": (4, 3), "u": (2, 3)}, ["y"], [index], 16)
    return m


def test_scatter_reductions_are_wrong_without_an_error_on_8() -> None:
    assert check_model(scatter("ScatterND")) == []
    assert severities(scatter("ScatterND", reduction="add")) == every("silent_wrong", OLD) | every("error", NEW)
    assert severities(scatter("ScatterND", reduction="none")) == every("error", ("10.3",))
    expected = every("silent_wrong", OLD) | every("warning", NEW)
    assert severities(scatter("ScatterElements", reduction="add")) == expected
    assert check_model(scatter("ScatterElements")) == []


def topk(k: int | None) -> onnx.ModelProto:
    constants = [] if k is None else [integers("k", k)]
    m = model([node("TopK", ["x", "k"], ["v", "i"])], {"x": (1, 10000)}, ["v"], constants)
    if k is None:
        m.graph.input.append(helper.make_tensor_value_info("k", TensorProto.INT64, (1,)))
    return m


def test_topk_limit_and_constant_k() -> None:
    assert check_model(topk(500)) == []
    assert severities(topk(3840)) == every("warning")
    assert severities(topk(3841)) == every("error")
    assert severities(topk(None), "K is no constant") == every("error", ("8.5",))
    empty = topk(None)
    next(n for n in empty.graph.node if n.op_type == "TopK").input[1] = ""
    assert severities(empty, "K is missing") == every("error")


def quantized(scale: np.ndarray, zero: np.ndarray | None, **attributes: object) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(scale, "s")]
    names = ["x", "s"]
    if zero is not None:
        constants.append(numpy_helper.from_array(zero, "z"))
        names.append("z")
    return model([node("QuantizeLinear", names, ["q"], **attributes)], {"x": (1, 4)}, ["q"], constants, 19)


def test_quantisation_rules() -> None:
    one = np.array(0.1, np.float32)
    good = quantized(one, np.array(0, np.int8))
    assert [f for f in check_model(good, NEW) if "opset" not in f.reason] == []
    assert severities(quantized(one, None), "missing") == every("error", OLD)
    assert severities(quantized(one, np.array(3, np.int8)), "not 0") == every("error")
    unsigned = quantized(one, np.array(0, np.uint8))
    assert severities(unsigned, "UINT8") == every("error", OLD) | every("silent_wrong", NEW)
    for bad in (0.0, -1.0, np.nan):
        m = quantized(np.array(bad, np.float32), np.array(0, np.int8))
        assert severities(m, "positive") == every("error")
    half = quantized(one.astype(np.float16), np.array(0, np.int8))
    assert severities(half, "FP16 scales") == every("error", OLD)
    axis = quantized(np.full(4, 0.1, np.float32), np.zeros(4, np.int8), axis=1)
    assert severities(axis, "per-axis") == every("error")


def test_inputs() -> None:
    assert severities(single("Relu", {"x": ("n", 4)}), "dynamic shape") == every("error")
    wide = model([node("Cast", ["x"], ["y"], to=1)], {"x": (4,)}, ["y"], input_type=TensorProto.INT64)
    assert severities(wide) == every("warning")
    image = model([node("Reshape", ["x", "s"], ["r"]), node("Cast", ["r"], ["y"], to=1)], {"x": (4,)}, ["y"],
                  [integers("s", 2, 2)], input_type=TensorProto.UINT8)  # fmt: skip
    assert severities(image, "UINT8") == every("error")
    cast = model([node("Cast", ["x"], ["y"], to=1)], {"x": (4,)}, ["y"], input_type=TensorProto.UINT8)
    assert check_model(cast) == []


def test_single_operators() -> None:
    pair: Shapes = {"a": (2, 3, 4), "b": (2, 4, 5)}
    assert check_model(single("Einsum", pair, equation="bij,bjk->bik")) == []
    ellipsis = single("Einsum", pair, equation="...ij,...jk->...ik")
    assert severities(ellipsis) == every("error", OLD) | every("warning", NEW)
    assert check_model(single("Mod", {"a": (2,), "b": (2,)}, fmod=1)) == []
    assert severities(single("NonZero", {"x": (2, 3)}), "depends on the data") == every("error")
    assert severities(single("CumSum", {"x": (4, 4)}, constants=[integers("axis", 1)])) == every("warning")
    assert severities(single("Softmax", {"x": (1, 65536)}), "NaN") == every("silent_wrong")
    assert check_model(single("Softmax", {"x": (1, 40000)})) == []  # the largest map that the design allows
    m = model([node("Pool", ["x"], ["y"], domain="acme")], {"x": (1, 4)}, ["y"], extra_domains=("acme",))
    assert severities(m, "plugin") == every("error")
    assert check_model(single("Resize", {"x": (1, 1, 4, 4)}, mode="cubic")) == []
    assert severities(single("Softmax", {"x": (1, 8)}, axis=5), "axis 5 of a tensor of 2 axes") == every("error")


def test_training_mode() -> None:
    stats = [weight(name, 4) for name in ("s", "b", "m", "v")]
    batch_norm = single("BatchNormalization", {"x": (1, 4, 8, 8)}, constants=stats, training_mode=1)
    assert severities(batch_norm, "training mode") == every("error")
    switches = [numpy_helper.from_array(np.float32(0.5), "r"), numpy_helper.from_array(np.bool_(True), "t")]
    dropout = single("Dropout", {"x": (1, 4)}, constants=switches)
    assert severities(dropout, "training mode") == every("error", NEW) | every("silent_wrong", OLD)


def test_the_float_bias_that_onnx_runtime_quantises() -> None:
    """Its static quantisation stores biases in INT32 behind DequantizeLinear, which no TensorRT takes."""
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    bias = numpy_helper.from_array(np.zeros(4, np.int32), "bias")
    m = model([node("DequantizeLinear", ["bias", "s"], ["d"], name="dq"), node("Add", ["x", "d"], ["y"])],
              {"x": (1, 4)}, ["y"], [scale, bias])  # fmt: skip
    assert severities(m, "its input is INT32: only activation types") == every("error")
    assert all("leave the bias in float" in f.remedy for f in check_model(m) if "INT32" in f.reason)


@pytest.mark.parametrize(
    ("kind", "versions"),
    [(TensorProto.INT16, VERSIONS), (TensorProto.UINT8, VERSIONS), (TensorProto.BFLOAT16, OLD),
     (TensorProto.FLOAT8E4M3FN, VERSIONS), (TensorProto.STRING, VERSIONS), (TensorProto.INT32, ())],
)  # fmt: skip
def test_types_inside_the_graph(kind: int, versions: tuple[str, ...]) -> None:
    nodes = [node("Cast", ["x"], ["inner"], name="there", to=kind), node("Cast", ["inner"], ["y"], name="back", to=1)]
    m = model(nodes, {"x": (1, 4)}, ["y"], opset=19)
    found = severities(m, "'inner', written by there,")
    assert found == (every("error", versions) if versions else {})


def test_branches_and_bodies_count() -> None:
    """LayerNormalization inside a branch of If, inside a Loop: refused by 8.5, named with where it is."""
    norm = node("LayerNormalization", ["x", "s"], ["z"], name="norm")
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branch = helper.make_graph([norm], "branch", [], [out])
    choice = node("If", ["c"], ["z"], name="choice", then_branch=branch, else_branch=branch)
    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, ())
    given = [helper.make_tensor_value_info("i", TensorProto.INT64, ()), flag]
    results = [helper.make_tensor_value_info("d", TensorProto.BOOL, ()), out]
    body = helper.make_graph([choice, node("Identity", ["c"], ["d"])], "body", given, results)
    loop = node("Loop", ["n", "t"], ["y"], name="loop", body=body)
    constants = [integers("n", 3), numpy_helper.from_array(np.bool_(True), "t"), weight("s", 8)]
    m = model([loop], {"x": (1, 8)}, ["y"], constants)
    assert severities(m, "LayerNormalization has no importer") == every("error", ("8.5",))
    assert {f.node for f in check_model(m) if f.op == "LayerNormalization"} == {"norm (inside loop, choice)"}


def test_nodes_in_a_circle_and_inputs_that_are_too_large() -> None:
    circle = model([node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"], name="second")],
                   {"x": (1, 4)}, ["a"])  # fmt: skip
    assert severities(circle, "its nodes form a circle") == every("error")
    assert severities(single("Relu", {"x": (1, 10**9, 4)}), "over 2^31 - 1 elements") == every("error")


def test_plugins_that_tensorrt_ships_and_others() -> None:
    m = model([node("EfficientNMS_TRT", ["x"], ["y"], domain="TRT")], {"x": (1, 4)}, ["y"], extra_domains=("TRT",))
    assert severities(m, "a plugin that TensorRT ships") == every("warning")
    # The parser finds importers by the name of the operator, whatever its domain.
    gelu = model([node("Gelu", ["x"], ["y"], domain="com.microsoft")], {"x": (1, 4)}, ["y"],
                 extra_domains=("com.microsoft",))  # fmt: skip
    assert severities(gelu) == every("error", OLD)


def test_attention_in_fp32_has_no_kernel() -> None:
    maps: Shapes = {name: (1, 2, 16, 32) for name in "qkv"}
    assert severities(single("Attention", maps, opset=23), "no kernel") == every("error", ("10.16", "11.1", "11.4"))
    half = model([node("Attention", [*"qkv"], ["y"])], maps, ["y"], opset=23, input_type=TensorProto.FLOAT16)
    assert severities(half, "no kernel") == {}


def test_deform_conv_needs_10_1() -> None:
    shapes: Shapes = {"x": (1, 4, 8, 8), "w": (4, 4, 3, 3), "o": (1, 18, 6, 6)}
    assert severities(single("DeformConv", shapes, opset=19), "no importer") == every("error", OLD)


def decomposed_norm(kind: int) -> onnx.ModelProto:
    two = helper.make_tensor("two", kind, [], [2.0])
    eps = helper.make_tensor("eps", kind, [], [1e-3])
    nodes = [
        node("Pow", ["x", "two"], ["p"]),
        node("ReduceMean", ["p"], ["v"], axes=[-1]),
        node("Add", ["v", "eps"], ["e"]),
        node("Sqrt", ["e"], ["q"]),
        node("Div", ["x", "q"], ["y"]),
    ]
    return model(nodes, {"x": (1, 64)}, ["y"], [two, eps], opset=16, input_type=kind)


def test_decomposed_layer_norm_in_half_precision() -> None:
    assert severities(decomposed_norm(TensorProto.FLOAT), "LayerNorm") == every("warning")
    assert severities(decomposed_norm(TensorProto.FLOAT16), "LayerNorm") == every("silent_wrong")


def test_table_joins_versions_and_puts_errors_first() -> None:
    findings = check_model(scatter("ScatterND", reduction="add"))
    table = findings_table(findings)
    assert [(row[0], row[1]) for row in table] == [
        ("error", "10.3, 10.16, 11.1, 11.4"),
        ("silent_wrong", "8.5, 8.6"),
    ]
    assert has_errors(findings) and has_errors(findings, "8.5")
    assert not has_errors(check_model(topk(3840)))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match="no such file"):
        check_model(tmp_path / "absent.onnx")
    for version in ("7.2", "new"):
        with pytest.raises(ExportError, match="accepted"):
            check_model(conv_relu(), (version,))


@pytest.mark.parametrize(
    ("op", "inputs", "options", "said"),
    [
        ("Squeeze", {"x": (1, 4), "axes": (1,)}, {}, "axes are no constant"),
        ("Unsqueeze", {"x": (4,), "axes": (1,)}, {}, "axes are no constant"),
        ("LpPool", {"x": (1, 4, 16, 16)}, {"kernel_shape": [3, 3], "dilations": [2, 2]}, "dilations"),
        ("LpPool", {"x": (1, 4, 16, 16)}, {"kernel_shape": [3, 3], "p": 3}, "p = 3"),
        ("TensorScatter", {"x": (1, 4, 8), "update": (1, 2, 8)}, {}, "4 axes"),
        ("Range", {"a": (), "b": (), "c": ()}, {}, "its size is not known"),
        ("OneHot", {"x": (3,), "depth": (), "values": (2,)}, {}, "its depth is no constant"),
        ("Upsample", {"x": (1, 4, 8, 8), "scales": (4,)}, {}, "its scales are no constant"),
        ("Mod", {"a": (4,), "b": (4,)}, {}, "needs fmod"),
    ],
)  # fmt: skip
def test_what_nvidias_parser_refuses_of_an_operator(
    op: str, inputs: Shapes, options: dict[str, Any], said: str
) -> None:
    """Each was seen in the sweep over the test networks of the standard (benchmarks/operator_sweep.py)."""
    m = model([node(op, list(inputs), ["y"], **options)], inputs, ["y"], opset=24 if op == "TensorScatter" else 17)
    found = severities(m, said)
    assert found and all(words == {"error"} for words in found.values()) and "11.4" in found


def test_axes_that_the_importer_does_not_compute() -> None:
    nodes = [
        node("Shape", ["x"], ["s"]), node("Size", ["s"], ["rank"]), node("Range", ["one", "rank", "one"], ["axes"]),
        node("ReduceSum", ["x", "axes"], ["y"]),
    ]  # fmt: skip
    m = model(nodes, {"x": (1, 4, 8)}, ["y"], [numpy_helper.from_array(np.array(1), "one")])
    assert severities(m, "its axes are no constant") == every("error")
