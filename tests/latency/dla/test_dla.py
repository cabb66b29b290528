"""The DLA: NVIDIA's limits one by one, how a graph is split, and times against closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bevlite.cli.main import build_app
from bevlite.errors import BevliteError, ConfigError
from bevlite.latency.device import DeviceConfig, find_device
from bevlite.latency.dla.placement import place
from bevlite.latency.dla.prediction import DlaPrediction, predict_dla
from bevlite.latency.dla.timing import (
    CALIBRATION,
    DlaCalibration,
    dla_board,
    require_dla,
    shipped_dla,
    too_many_loadables,
)
from bevlite.latency.onnx.graph import read_graph
from tests.latency.graphs import integers, model, weight

ORIN = find_device("agx-orin-64gb")
JETPACK_6 = (10, 3)
MAPS = (1, 64, 64, 64)


def node(op: str, *inputs: str, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, [*inputs], [out], name=out, **attributes)


def one(
    op: str, *inputs: str, shape: tuple[int, ...] = MAPS, constants: tuple[onnx.TensorProto, ...] = (), **a: Any
) -> onnx.ModelProto:
    return model([node(op, "x", *inputs, **a)], {"x": shape}, ["y"], list(constants))


def conv(kernel: int, shape: tuple[int, ...] = MAPS, op: str = "Conv", groups: int = 1, **a: Any) -> onnx.ModelProto:
    pads = a.pop("pads", [0, 0, 0, 0])
    held = weight("w", 64, shape[1] // groups, kernel, kernel)
    return one(op, "w", shape=shape, constants=(held,), pads=pads, group=groups, **a)


def floats(name: str, *values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def resize(mode: str, height: int, width: int, place: str = "half_pixel") -> onnx.ModelProto:
    size = integers("s", 1, 64, height, width)
    return one("Resize", "", "", "s", constants=(size,), mode=mode, coordinate_transformation_mode=place)


def two(op: str, first: tuple[int, ...], second: tuple[int, ...]) -> onnx.ModelProto:
    return model([node(op, "x", "z")], {"x": first, "z": second}, ["y"])


TAKEN = {
    "conv of 32 x 32": conv(32),
    "conv of stride 8": conv(3, strides=[8, 8]),
    "dilation 24": conv(3, dilations=[24, 24]),
    "depthwise": conv(3, groups=64),
    "8192 wide": conv(1, shape=(1, 8, 2, 8192)),
    "deconvolution": conv(4, op="ConvTranspose", strides=[4, 4]),
    "pooling": one("MaxPool", kernel_shape=[8, 8], strides=[16, 16]),
    "average": one("AveragePool", kernel_shape=[7, 7]),
    "nearest": resize("nearest", 128, 128, "asymmetric"),
    "bilinear": resize("linear", 128, 160),
    "residual": two("Add", MAPS, MAPS),
    "one a channel": two("Mul", MAPS, (1, 64, 1, 1)),
    "concat": model([node("Concat", "x", "x", axis=1)], {"x": MAPS}, ["y"]),
    "softmax": one("Softmax", axis=1),
    "constant matmul": one("MatMul", "w", constants=(weight("w", 64, 8),)),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "part of the channels": one("Slice", *"abc", constants=(integers("a", 0), integers("b", 32), integers("c", 1))),
    "prelu": one("PRelu", "s", constants=(weight("s", 64, 1, 1),)),
}
REFUSED = {
    "window 33; at most 32": conv(33),
    "stride 9; at most 8": conv(3, strides=[9, 9]),
    "padding 3 of a window of 3 x 3": conv(3, pads=[3, 3, 3, 3]),
    "dilation 33; at most 32": conv(2, dilations=[33, 33]),
    "a dimension of 8193": conv(1, shape=(1, 8, 2, 8193)),
    "batch 4097": conv(1, shape=(4097, 8, 2, 2)),
    "padding 1 of a transposed convolution": conv(4, op="ConvTranspose", pads=[1, 1, 1, 1]),
    "window 9 x 9; at most 8": one("MaxPool", kernel_shape=[9, 9]),
    "not exposed by TensorRT; an AveragePool": one("GlobalAveragePool"),
    "nearest by 1.5": resize("nearest", 96, 96),
    "align_corners": resize("linear", 128, 128, "align_corners"),
    "scale 0.5 x 0.5": resize("linear", 32, 32),
    "operands 1x64x64x64 and 1x1x64x64": two("Mul", MAPS, (1, 1, 64, 64)),
    "axis 2 of 4": model([node("Concat", "x", "x", axis=2)], {"x": MAPS}, ["y"]),
    "a product of two activations": two("MatMul", (1, 4, 16, 16), (1, 4, 16, 16)),
    "the batch would move": one("Transpose", perm=[1, 0, 2, 3]),
    "is not in NVIDIA's list": one("Erf"),
    "3 to 4 dimensions": one("Reshape", "s", constants=(integers("s", 1, 64, 4096),)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_dla_takes(name: str) -> None:
    assert [p.reason for p in place(read_graph(TAKEN[name]), JETPACK_6).nodes] == [""]


@pytest.mark.parametrize("reason", REFUSED)
def test_what_it_refuses_and_why(reason: str) -> None:
    (placed,) = place(read_graph(REFUSED[reason]), JETPACK_6).nodes
    assert placed.unit == "GPU" and reason in placed.reason


def test_div_comes_with_a_newer_compiler() -> None:
    graph = read_graph(two("Div", MAPS, MAPS))
    assert [place(graph, v).nodes[0].unit for v in ((8, 5), (8, 6), (10, 3))] == ["GPU", "GPU", "DLA"]


def test_integers_stay_on_the_gpu() -> None:
    images = model([node("Cast", "x", out="y", to=TensorProto.FLOAT)], {"x": MAPS}, ["y"], input_type=TensorProto.UINT8)
    assert place(read_graph(images), JETPACK_6).nodes[0].unit == "GPU"


def chain(*ops: str) -> onnx.ModelProto:
    """Operators in a row over the same maps; convolutions share their weight."""
    names = ["x", *(f"t{i}" for i in range(1, len(ops))), "y"]
    nodes = []
    for source, target, op in zip(names, names[1:], ops, strict=False):
        convolution: Any = {"pads": [1] * 4} if op == "Conv" else {}
        nodes.append(node(op, *([source, "w"] if op == "Conv" else [source]), out=target, **convolution))
    return model(nodes, {"x": MAPS}, ["y"], [weight("w", 64, 64, 3, 3)])


@pytest.mark.parametrize(
    ("ops", "loadables", "gpu_parts", "crossings"),
    [
        ("Conv Relu Conv", 1, 0, 0),
        ("Conv Erf Conv", 2, 1, 2),
        ("Erf Conv Erf", 1, 2, 2),
        ("Erf Exp", 0, 1, 0),
        ("Conv Erf Exp Conv Erf Conv", 3, 2, 4),
    ],
)
def test_loadables_and_crossings(ops: str, loadables: int, gpu_parts: int, crossings: int) -> None:
    found = place(read_graph(chain(*ops.split())), JETPACK_6)
    assert (found.loadables, found.gpu_parts, found.crossings) == (loadables, gpu_parts, crossings)


def test_neighbours_with_a_way_over_the_gpu_between_them_are_two_loadables() -> None:
    nodes = [
        node("Conv", "x", "w", out="a", pads=[1] * 4),
        node("Erf", "a", out="e"),
        node("Add", "a", "e", out="y"),
    ]
    found = place(read_graph(model(nodes, {"x": MAPS}, ["y"], [weight("w", 64, 64, 3, 3)])), JETPACK_6)
    assert (found.loadables, found.gpu_parts, found.crossings) == (2, 1, 2)


def test_more_loadables_than_a_core_holds() -> None:
    few, many = (place(read_graph(chain(*["Conv", "Erf"] * n)), JETPACK_6) for n in (16, 17))
    assert too_many_loadables(few) == "" and too_many_loadables(many).startswith("17 parts")


def predicted(file: onnx.ModelProto, mode: str | None = None, **arguments: Any) -> DlaPrediction:
    return predict_dla(read_graph(file), ORIN, "int8", "10.3", power_mode=mode, **arguments)


C: DlaCalibration = shipped_dla()
HEAVY = conv(3, shape=(1, 512, 64, 64), pads=[1] * 4)
"""512 to 64 channels: bound by compute."""


def test_a_convolution_against_its_closed_form() -> None:
    compute_us = 2 * 64 * 64 * 64 * 512 * 9 / (26.25e6 * C.conv_efficiency)
    assert predicted(HEAVY).dla_ms * 1e3 == pytest.approx(compute_us + C.layer_us)
    pooled_bytes = (64 * 64 + 62 * 62) * 64
    pooled = one("MaxPool", kernel_shape=[3, 3])
    assert predicted(pooled).dla_ms * 1e3 == pytest.approx(pooled_bytes / (152.8e3 / 2) + C.layer_us)


def test_channels_are_padded_to_32() -> None:
    narrow, wide = (predicted(conv(3, shape=(1, c, 256, 256))).dla_ms for c in (33, 64))
    assert narrow == pytest.approx(wide, rel=0.01)


def test_power_modes_follow_the_clocks() -> None:
    slow, fast = (dla_board(ORIN, require_dla(ORIN, JETPACK_6, "int8"), mode) for mode in ("15W", "MAXN"))
    assert slow.int8_per_us / fast.int8_per_us == pytest.approx(0.384)
    assert slow.bytes_per_us / fast.bytes_per_us == pytest.approx(2133 / 3199)
    assert predicted(HEAVY, "15W").dla_ms == pytest.approx(predicted(HEAVY).dla_ms / 0.384)


def test_time_grows_with_the_batch() -> None:
    single, four = (predicted(conv(3, shape=(b, 256, 64, 64))).dla_ms for b in (1, 4))
    assert four == pytest.approx(4 * single, rel=1e-6)


def test_fp16_outputs_and_fp16_are_far_slower() -> None:
    plain, out = predicted(HEAVY), predicted(HEAVY, fp16_outputs=True)
    half = predict_dla(read_graph(HEAVY), ORIN, "fp16", "10.3")
    assert half.dla_ms == pytest.approx(out.dla_ms) and half.dla_ms > 20 * plain.dla_ms
    assert half.upper_ms / half.latency_ms == pytest.approx(2) and any("FP16 on the DLA" in n for n in half.notes)


def test_the_interval_holds_the_sum_and_widens_for_what_no_row_covers() -> None:
    plain = predicted(chain("Conv", "Relu"))
    assert plain.lower_ms == pytest.approx(plain.latency_ms * (1 - C.band_below))
    assert plain.upper_ms == pytest.approx(plain.latency_ms * (1 + C.band_above))
    split = predicted(chain("Conv", "Erf", "Conv"))
    assert split.latency_ms == pytest.approx(split.dla_ms + split.gpu_ms + 2 * C.crossing_us / 1e3)
    assert split.gpu_ms > 0 and split.latency_ms > plain.latency_ms
    assert any("tensors between DLA and GPU: 2" in note for note in split.notes)
    odd = predicted(one("Softmax", axis=1))
    assert odd.upper_ms == pytest.approx(2 * odd.latency_ms) and any("Softmax" in note for note in odd.notes)


def test_attention_is_none_for_the_dla() -> None:
    shapes = {"x": (1, 4, 64, 64), "z": (1, 4, 64, 64)}
    graph = read_graph(model([node("MatMul", "x", "z")], shapes, ["y"]))
    found = predict_dla(graph, ORIN, "int8", "10.3")
    assert found.product_share == 0 and any("it is for convolutional backbones" in note for note in found.notes)
    whole = predicted(HEAVY)
    assert whole.product_share == 1 and not any("convolutional backbones" in note for note in whole.notes)


def test_explicit_quantisation_by_version() -> None:
    scale, zero = floats("s", 0.1), numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        node("QuantizeLinear", "x", "s1", "z", out="q"),
        node("DequantizeLinear", "q", "s1", "z", out="d"),
        node("Conv", "d", "w", out="y", pads=[1] * 4),
    ]
    constants = [numpy_helper.from_array(np.float32(0.1), "s1"), scale, zero, weight("w", 64, 64, 3, 3)]
    graph = read_graph(model(nodes, {"x": MAPS}, ["y"], constants))
    old, new = (predict_dla(graph, ORIN, "int8", version) for version in ("10.3", "11.4"))
    assert old.placement.loadables == 1 and not old.placement.fallbacks
    assert any("calibration cache" in note for note in old.notes)
    assert not any("calibration cache" in note or "strongly typed" in note for note in new.notes)
    without = predict_dla(read_graph(chain("Conv")), ORIN, "int8", "11.4")
    assert any("strongly typed" in note for note in without.notes)


@pytest.mark.parametrize(
    ("device", "version", "accepted"),
    [
        ("agx-orin-64gb", (8, 5), True),
        ("agx-orin-64gb", (10, 7), True),
        ("agx-orin-64gb", (10, 8), False),
        ("agx-orin-64gb", (11, 3), False),
        ("agx-orin-64gb", (11, 4), True),
        ("agx-orin-32gb", (11, 4), True),
        ("orin-nx-16gb", (10, 3), True),
        ("orin-nx-16gb", (11, 4), False),
        ("drive-orin-x", (11, 4), False),
        ("orin-nano-8gb", (10, 3), False),
    ],
)
def test_boards_and_versions(device: str, version: tuple[int, int], accepted: bool) -> None:
    board = find_device(device)
    if accepted:
        assert require_dla(board, version, "int8").cores == 2
    else:
        with pytest.raises(BevliteError, match=r"^--dla: .* has no DLA.*; accepted: ") as error:
            require_dla(board, version, "int8")
        assert "\n" not in str(error.value)


def test_a_wrong_dla_section_is_one_line(tmp_path: Path) -> None:
    data = ORIN.model_dump(mode="json")
    del data["dla"]["clock_mhz"]["15W"]
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(
        ConfigError, match=r"dla\.clock_mhz: found modes 30W, 50W, MAXN; accepted: exactly 15W"
    ) as error:
        find_device(str(file))
    assert "\n" not in str(error.value)
    data["dla"] = {"cores": 0}
    with pytest.raises(ValueError):
        DeviceConfig.model_validate(data)


def test_the_shipped_figures_say_what_they_stand_on() -> None:
    assert CALIBRATION.is_file() and C.networks == len(C.left_out) == 5 and C.rows == 17
    assert max(C.left_out.values()) < 0.35 and 0 < C.band_below < 0.5


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(build_app(), ["latency", *map(str, arguments)], env={"COLUMNS": "200"})
    if code:
        assert isinstance(result.exception, BevliteError)
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save(chain("Conv", "Erf", "Conv"), file)
    printed = run(file, "--dla")
    assert "One DLA core of agx-orin-64gb, int8, MAXN, TensorRT 10.3 (predicted)" in printed
    assert "what falls back to the GPU" in printed and "ONNX operator Erf is not in NVIDIA's list" in printed
    assert "measured" not in printed.split("note:")[0]
    onnx.save(chain("Conv", "Relu"), file)
    assert "net: nothing falls back to the GPU" in run(file, "--dla", "--power-mode", "15W", "--precision", "fp16")
    assert "has no DLA" in run(file, "--dla", "--device", "orin-nano-8gb", code=2)
    assert "TensorRT 10.16 has no DLA" in run(file, "--dla", "--tensorrt", "10.16", code=2)
    assert "found precision fp32" in run(file, "--dla", "--precision", "fp32", code=2)
    assert "--dla: takes one network" in run("--compare", file, file, "--dla", code=2)
