"""State from frame to frame: the same ten frames through every device that runs them, against a closed form."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.golden.golden import check_engines
from bevlite.devices.inference import Chain, InferringDevice
from bevlite.devices.local.cuda_frames import TorchChain
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.local.onnxruntime import OnnxRuntimeDevice
from bevlite.devices.report.frame_results import SampleFrames
from bevlite.devices.report.whole_frames import Samples
from bevlite.devices.settings import OnnxRuntimeSettings
from bevlite.errors import BevliteError
from bevlite.models.contracts import TensorSpec
from bevlite.models.modules import Module
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.devices.boards import closed_form, drawn_sequence, over_ssh, stateful_net
from tests.devices.conftest import Served, require_sshd

FEEDS = {"past": "y"}
STARTS = [4]
TOLERANCE = 2e-3
"""Of the emulated engines, which are off by what their precision costs."""
SHORT = {"duration_s": 0.5, "most_queries": 60, "queries": 30, "warmup_ms": 20}


def on_cpu() -> OnnxRuntimeDevice:
    protocol = {"duration_s": 0.05, "longest_s": 0.1, "queries": 20, "warmup_ms": 5, "repetitions": 1}
    return OnnxRuntimeDevice(OnnxRuntimeSettings(type="onnxruntime", threads=1, protocol=protocol))


def ys(device: InferringDevice, files: Mapping[str, Path], **changes: Any) -> list[np.ndarray]:
    values = {"frames": drawn_sequence(), "outputs": ["y"], "precision": "fp32", "feeds": FEEDS, "starts": STARTS}
    return [frame["y"] for frame in device.infer(files, **(values | changes)).frames]


@pytest.mark.parametrize("starts", [[], STARTS, [1, 9]])
def test_onnxruntime_gives_the_closed_form(tmp_path: Path, starts: list[int]) -> None:
    files = {"memory": stateful_net(tmp_path / "m.onnx")}
    found = ys(on_cpu(), files, starts=starts)
    np.testing.assert_allclose(found, closed_form(drawn_sequence(), starts), rtol=1e-6)


def test_a_sequence_goes_on_in_a_later_request(tmp_path: Path) -> None:
    files, frames = {"memory": stateful_net(tmp_path / "m.onnx")}, drawn_sequence()
    first = ys(on_cpu(), files, frames=frames[:6], starts=[])
    second = ys(on_cpu(), files, frames=[frames[6] | {"past": first[-1]}, *frames[7:]], starts=[])
    np.testing.assert_allclose([*first, *second], closed_form(frames), rtol=1e-6)


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BoardDevice]]:
    """Boards with TensorRT's Python API, and without: there trtexec runs the engines, and writes JSON before 8.6."""
    require_sshd()
    kinds = {"python": ("10.3.0", True), "trtexec": ("10.3.0", False), "trtexec 8.5": ("8.5.2", False)}
    with contextlib.ExitStack() as stack:
        found = {}
        for name, (version, python_api) in kinds.items():
            folder = tmp_path_factory.mktemp("board") / "orin"
            board = EmulatedBoard.create(folder, tensorrt=version, time_scale=0.01, python_api=python_api)
            found[name] = stack.enter_context(over_ssh(stack.enter_context(board.serve()), protocol=SHORT))
        yield found


@pytest.mark.parametrize("name", ["python", "trtexec", "trtexec 8.5"])
def test_a_board_over_ssh_agrees(tmp_path: Path, boards: dict[str, BoardDevice], name: str) -> None:
    files = {"memory": stateful_net(tmp_path / "m.onnx")}
    found = ys(boards[name], files)
    np.testing.assert_allclose(found, ys(on_cpu(), files), rtol=TOLERANCE)
    np.testing.assert_allclose(found, closed_form(drawn_sequence(), STARTS), rtol=TOLERANCE)
    frozen = closed_form(drawn_sequence(), range(10))
    assert np.abs(np.subtract(found, frozen)).max() > 0.5, "the test would see a state that stays zero"


def test_both_runners_of_a_board_give_the_same_bytes(tmp_path: Path, boards: dict[str, BoardDevice]) -> None:
    files = {"memory": stateful_net(tmp_path / "m.onnx")}
    np.testing.assert_array_equal(ys(boards["python"], files), ys(boards["trtexec"], files))


def test_half_precision_state_is_handed_on(tmp_path: Path, boards: dict[str, BoardDevice]) -> None:
    files = {"memory": stateful_net(tmp_path / "m.onnx", TensorProto.FLOAT16)}
    found = ys(boards["python"], files, precision="fp16")
    assert found[0].dtype == np.float16
    np.testing.assert_allclose(found, closed_form(drawn_sequence(), STARTS), rtol=5e-3)


def test_state_that_a_frame_gives_is_sent_and_used(tmp_path: Path, boards: dict[str, BoardDevice]) -> None:
    files, frames = {"memory": stateful_net(tmp_path / "m.onnx")}, drawn_sequence(3)
    frames[1] |= {"past": np.full((1, 2, 3), 6.0, np.float32)}
    wanted = frames[1]["x"] + 3
    for name in ("python", "trtexec"):
        found = ys(boards[name], files, frames=frames, starts=[1])
        np.testing.assert_allclose(found[1], wanted, rtol=TOLERANCE)
        np.testing.assert_allclose(found[2], frames[2]["x"] + wanted / 2, rtol=TOLERANCE)


def test_whole_frames_carry_it_and_say_so(tmp_path: Path, boards: dict[str, BoardDevice]) -> None:
    files, frames = {"memory": stateful_net(tmp_path / "m.onnx")}, tuple(drawn_sequence(4))
    given = SampleFrames(frames, Samples(count=4, source="drawn", real=False), FEEDS, [2])
    found = boards["python"].time_frames(files, given, (), "fp32")
    assert found.one_in_flight is not None and found.two_in_flight is not None
    assert any("past takes y of the frame before; zeros at 2 of 4 samples" in note for note in found.notes)
    assert any("in the order of the frames" in note for note in found.notes)
    cpu = on_cpu().time_frames(files, given)
    assert any("past takes y" in note for note in cpu.notes) and cpu.one_in_flight is not None
    assert not any("in the order of the frames" in note for note in cpu.notes)


def test_golden_outputs_follow_the_sequence(tmp_path: Path, boards: dict[str, BoardDevice]) -> None:
    files, frames = {"memory": stateful_net(tmp_path / "m.onnx")}, drawn_sequence(5)
    check = check_engines(boards["python"], files, frames, "fp32", "drawn", feeds=FEEDS, starts=[3])
    assert check.good and check.frames == 5

    class Forgetful(OnnxRuntimeDevice):
        """Every frame begins a sequence."""

        def infer(self, modules: Any, frames: Any, outputs: Any, precision: Any = "fp32", **state: Any) -> Any:
            return super().infer(modules, frames, outputs, **(state | {"starts": range(len(frames))}))

    settings = OnnxRuntimeSettings(type="onnxruntime", threads=1)
    forgetful = check_engines(Forgetful(settings), files, frames, "fp32", "drawn", feeds=FEEDS, starts=[3])
    assert not forgetful.good and forgetful.first_bad is None  # no layer of the module is bad


def test_torch_hands_on_state_as_the_others_do() -> None:
    class Memory(torch.nn.Module):
        def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
            return x + past / 2

    axes = ("batch", "row", "column")
    x = TensorSpec("x", (1, 2, 3), "float32", axes, "features")
    past = TensorSpec("past", (1, 2, 3), "float32", axes, "state", fed_by="y")
    plan = Module("memory", Memory(), (x, past), ("y",))
    chain = TorchChain({"memory": plan}, {"memory": "fp32"}, {"memory": contextlib.nullcontext}, FEEDS)
    assert chain.results == ["y"]
    found = list(chain.frames(torch.device("cpu"), drawn_sequence(), ["y"], STARTS))
    np.testing.assert_allclose([frame["y"] for frame in found], closed_form(drawn_sequence(), STARTS), rtol=1e-6)


@pytest.mark.parametrize(
    ("feeds", "starts", "words"),
    [
        ({"history": "y"}, [], "feeds: found input 'history'; accepted: x, past"),
        ({"past": "z"}, [], "feeds: past: found output 'z'; accepted: y"),
        (FEEDS, [10], "starts: found 10; accepted: numbers of frames, 0 to 9"),
    ],
)
def test_state_that_does_not_fit_is_one_line(
    tmp_path: Path, served: Served, feeds: dict[str, str], starts: list[int], words: str
) -> None:
    files = {"memory": stateful_net(tmp_path / "m.onnx")}
    with over_ssh(served.server) as board:
        for device in (on_cpu(), board):
            with pytest.raises(BevliteError, match=words) as caught:
                ys(device, files, feeds=feeds, starts=starts)
            assert "\n" not in str(caught.value)
        assert board._session is None, "it was refused before anything was sent"


def test_state_of_another_type_or_shape_is_refused(tmp_path: Path) -> None:
    files = {"a": stateful_net(tmp_path / "a.onnx")}
    half = stateful_net(tmp_path / "b.onnx", TensorProto.FLOAT16)
    with pytest.raises(BevliteError, match=r"feeds: past: found 'map' of float16 \(1, 2, 3\); accepted: float32"):
        Chain(files | {"b": renamed(half, y="map", x="u", past="v")}, {"past": "map"})
    assert list(OnnxChain(files, FEEDS).inputs) == ["x", "past"]


def renamed(path: Path, **names: str) -> Path:
    """The same file with other names of its inputs and outputs."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    onnx.save(model, path)
    return path
