"""Engines of several modules over frames, on emulated boards of every generation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bevlite.devices.inference import Chain
from bevlite.devices.link import faults
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.errors import BevliteError
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.devices.boards import SHAPE, over_ssh, sample, small_net
from tests.devices.conftest import Served


def head(path: Path, *, half: bool) -> Path:
    """Takes `y` of the small network and a table, gives the class of each cell and a map."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [
        helper.make_node("Add", ["y", "y"], ["map"], name="/head/Add"),
        helper.make_node("ArgMax", ["y"], ["classes64"], name="/head/ArgMax", axis=1, keepdims=0),
        helper.make_node("Cast", ["classes64"], ["classes"], name="/head/Cast", to=TensorProto.INT32),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("y", kind, SHAPE)],
        [
            helper.make_tensor_value_info("map", kind, SHAPE),
            helper.make_tensor_value_info("classes", TensorProto.INT32, [1, 32, 32]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def modules(folder: Path, *, half: bool, seed: int = 0) -> dict[str, Path]:
    return {"neck": small_net(folder / "neck.onnx", seed, half=half), "head": head(folder / "head.onnx", half=half)}


@pytest.mark.parametrize("python_api", [True, False], ids=["python", "trtexec"])
@pytest.mark.parametrize("version", ["8.5.2", "8.6.2", "10.3.0", "11.4.1"])
def test_modules_are_chained_on_the_board(version: str, python_api: bool, tmp_path: Path, served: Served) -> None:
    """By either runner. trtexec of 8.5 writes JSON, later ones raw files; weak graphs are FP32 at their borders."""
    half = int(version.split(".")[0]) >= 10
    files = modules(tmp_path, half=half)
    kind = np.float16 if half else np.float32
    frames = [sample(), {"x": sample()["x"] * 2}]
    board = EmulatedBoard.create(tmp_path / "board", tensorrt=version, time_scale=0.01, python_api=python_api)
    with board.serve() as server, over_ssh(server) as device:
        found = device.infer(files, frames, ["map", "classes", "y"])
        assert device.kind == "emulated"
    if python_api:
        assert found.runner == "tensorrt python" and found.note == ""
        assert found.memory_mb is not None and found.memory_mb > 0
    else:
        assert found.runner == "trtexec" and found.memory_mb is None
        assert "sudo apt install python3-libnvinfer" in found.note
    assert set(found.engines) == {"neck", "head"} and len(found.frames) == 2
    for frame, ours in zip(found.frames, frames, strict=True):
        expected = OnnxChain(files).frame(ours)
        assert frame["map"].dtype == kind and frame["classes"].shape == (1, 32, 32)
        assert np.abs(frame["map"] - expected["map"]).max() < 0.02 * np.abs(expected["map"]).max()
        assert (frame["classes"] != expected["classes"]).mean() < 0.1


def test_frames_do_not_pile_up_on_the_board(orin_board: Served, tmp_path: Path) -> None:
    files = modules(tmp_path, half=True)
    with over_ssh(orin_board.server) as device:
        for scale in range(1, 5):
            device.infer(files, [{"x": sample()["x"] * scale}], ["map"])
    uploads = list(orin_board.board.root.rglob(".bevlite/uploads/*"))
    tensors = [path for path in uploads if path.stat().st_size == np.prod(SHAPE) * 2]
    assert len(tensors) == 1, uploads  # the input of the last call; outputs are gone as soon as they were fetched


def test_values_that_are_not_finite_come_back(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("nan_outputs")
    with over_ssh(orin_board.server) as device:
        found = device.infer(modules(tmp_path, half=True), [sample()], ["map", "y"])
    assert np.isnan(found.frames[0]["y"]).all() and np.isnan(found.frames[0]["map"]).all()


def test_a_connection_lost_meanwhile_is_mended(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("connection_drop", phase="result", times=1)
    files = modules(tmp_path, half=True, seed=5)
    with over_ssh(orin_board.server) as device:
        found = device.infer(files, [sample()], ["map"])
    assert np.isfinite(found.frames[0]["map"]).all()


def test_an_engine_of_another_version_is_built_again(orin_board: Served, tmp_path: Path) -> None:
    files = modules(tmp_path, half=True, seed=6)
    with over_ssh(orin_board.server) as device:
        device.infer(files, [sample()], ["map"])
        orin_board.board.faults.set("engine_other_version", times=1)
        found = device.infer(files, [sample()], ["map"])
    assert any("rebuilt" in note for facts in found.engines.values() for note in facts.notes)


def test_what_does_not_fit_is_refused_before_anything_is_sent(orin_board: Served, tmp_path: Path) -> None:
    files = modules(tmp_path, half=True)
    assert list(Chain(files).inputs) == ["x"] and list(Chain(files).outputs) == ["y", "map", "classes"]
    with over_ssh(orin_board.server) as device:
        with pytest.raises(BevliteError, match="found no 'x'"):
            device.infer(files, [{}], ["map"])
        with pytest.raises(BevliteError, match=r"found \(1, 2\)"):
            device.infer(files, [{"x": np.zeros((1, 2))}], ["map"])
        with pytest.raises(BevliteError, match="found 'boxes'; accepted: y, map, classes"):
            device.infer(files, [sample()], ["boxes"])
        with pytest.raises(BevliteError, match="at least one"):
            device.infer({}, [sample()], [])
        assert device._session is None
        orin_board.board.faults.set("trtexec_missing")
        with pytest.raises(faults.TrtexecMissing):
            device.infer(files, [sample()], ["map"])
