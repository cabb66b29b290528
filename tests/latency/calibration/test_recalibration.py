"""A board that is not as published: its own measurements, through the agent, correct the predictor.

Two emulated boards measure the same small modules, one as it is and one whose kinds of operators take 0.5 to 2 times
as long. The emulator's model of time shares no code with the predictor's; what the fit finds on the second board over
what it finds on the first has to be what was hidden there.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bevlite.latency.calibration.fitting import FACTORS, Measurement, fit
from bevlite.latency.coefficients import DEFAULT
from bevlite.latency.device import find_device
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import kernel_features
from bevlite.latency.gpu.fusion import fuse, tensorrt_rules
from bevlite.latency.gpu.kinds import factor_name
from bevlite.latency.onnx.graph import read_graph
from bevlite.latency.onnx.kinds import KINDS
from bevlite.simulation.jetson.board import EmulatedBoard, draw_factors
from tests.devices.boards import over_ssh
from tests.devices.conftest import require_sshd

FOUND_WITHIN = 0.15
node = helper.make_node


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(shape, 0.01, np.float16), name)


def save(
    folder: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    shapes: dict[str, tuple[int, ...]],
    result: tuple[int, ...],
    constants: tuple[onnx.TensorProto, ...] = (),
) -> tuple[str, Path]:
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT16, v) for k, v in shapes.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, result)]
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx"
    )
    return name, folder / f"{name}.onnx"


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Small modules of one kernel each, two sizes of each kind."""
    for size in (64, 128):
        m, t = (1, 64, size, size), 4 * size
        pads = {"pads": [1, 1, 1, 1]}
        yield save(folder, f"convolution_{size}", [node("Conv", ["x", "w"], ["y"], **pads)], {"x": m}, m,
                   (weights("w", 64, 64, 3, 3),))  # fmt: skip
        yield save(folder, f"depthwise_{size}", [node("Conv", ["x", "w"], ["y"], group=64, **pads)], {"x": m}, m,
                   (weights("w", 64, 1, 3, 3),))  # fmt: skip
        yield save(folder, f"matmul_{size}", [node("MatMul", ["x", "w"], ["y"])], {"x": (t, 512)}, (t, 512),
                   (weights("w", 512, 512),))  # fmt: skip
        heads, keys = (8, t, 64), (8, 64, t)
        attention = [
            node("MatMul", ["q", "k"], ["s"]),
            node("Softmax", ["s"], ["p"]),
            node("MatMul", ["p", "v"], ["y"]),
        ]
        yield save(folder, f"attention_{size}", attention, {"q": heads, "k": keys, "v": heads}, heads)
        yield save(folder, f"elementwise_{size}", [node("Add", ["x", "z"], ["y"])], {"x": m, "z": m}, m)
        yield save(
            folder, f"copy_{size}", [node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])], {"x": m}, (1, size, size, 64)
        )
        yield save(folder, f"reduction_{size}", [node("Softmax", ["x"], ["y"])], {"x": (8, t, t)}, (8, t, t))
        pool = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
        yield save(folder, f"pool_{size}", [pool], {"x": m}, (1, 64, size // 2, size // 2))
        sizes = (numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"),)
        yield save(folder, f"resize_{size}", [node("Resize", ["x", "", "scales"], ["y"], mode="nearest")], {"x": m},
                   (1, 64, 2 * size, 2 * size), sizes)  # fmt: skip
        rows = (numpy_helper.from_array(np.arange(64 * t, dtype=np.int32)[::-1].copy() % t, "rows"),)
        yield save(folder, f"gather_{size}", [node("Gather", ["x", "rows"], ["y"])], {"x": (t, 64)}, (64 * t, 64), rows)


def factors_of(folder: Path, networks: dict[str, Path], hidden: dict[str, float] | None) -> dict[str, float]:
    """The factors that a calibration finds on a board, from what its agent measured."""
    board = EmulatedBoard.create(folder, tensorrt="10.3.0", factors=hidden, time_scale=0.002)
    with board.serve() as server, over_ssh(server, name=folder.name) as device:
        report = device.measure(networks, precision="fp16")
    assert report.kind == "emulated"
    top = ceilings(find_device("agx-orin-64gb"))
    measured = []
    for row in report.modules:
        graph = read_graph(networks[row.name])
        kernels = tuple(kernel_features(graph, fuse(graph, tensorrt_rules((10, 3))), "fp16"))
        measured.append(Measurement(kernels, row.latency_ms, top, row.name.partition("_")[0], row.name))
    found, held = fit(measured, DEFAULT, tuple(FACTORS))
    assert set(held) == {"other_factor"}  # no module is of that kind
    return {name: getattr(found, name) for name in FACTORS}


def test_hidden_factors_of_a_board_are_found_again(tmp_path: Path) -> None:
    require_sshd()
    folder = tmp_path / "networks"
    folder.mkdir()
    networks = dict(modules(folder))
    hidden = draw_factors(7)
    assert max(hidden.values()) / min(hidden.values()) > 1.5
    with ThreadPoolExecutor(2) as both:  # boards wait for programs most of the time
        boards = [
            both.submit(factors_of, tmp_path / name, networks, f) for name, f in (("plain", None), ("other", hidden))
        ]
        plain, other = (board.result() for board in boards)
    for kind in KINDS[:-1]:  # no module is of the kind "other"
        name = factor_name(kind)
        assert other[name] / plain[name] == pytest.approx(hidden[kind], rel=FOUND_WITHIN), kind
