"""State from frame to frame on the emulated GPU: the runner of engines and the timer, with one and two in flight."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import frame_timer
from bevlite.agent.python_api.cuda import RunnerError
from bevlite.agent.python_api.engine_runner import run
from tests.agent.python_api.gpu import Gpu, engine
from tests.agent.python_api.test_engine_runner import order

KIND = ["FLOAT", [2, 3]]
FEEDS = {"past": "y"}
MEMORY = engine({"x": KIND, "past": KIND}, {"y": KIND}, 1, weights={"x": 1.0, "past": 0.5})
"""y = x + past / 2."""
EARLY = engine({"x": KIND}, {"y": KIND}, 1)
LATE = engine({"y": KIND, "past": KIND}, {"z": KIND}, 1, weights={"y": 1.0, "past": 0.5})
"""State that is taken after its successor was made: z = x + (x of the frame before) / 2."""
BACKBONE = engine({"x": KIND}, {"map": KIND}, 1)
FUSION = engine({"map": KIND, "past": KIND}, {"y": KIND}, 1, weights={"map": 1.0, "past": 0.5})


def expected(xs: list[np.ndarray], starts: Collection[int]) -> list[np.ndarray]:
    """y by its definition, in one closed sum a frame."""
    found = []
    for n in range(len(xs)):
        begin = max([0, *(s for s in starts if s <= n)])
        found.append(np.sum([xs[k] * 0.5 ** (n - k) for k in range(begin, n + 1)], axis=0))
    return found


def xs(count: int) -> list[np.ndarray]:
    return [np.arange(6, dtype=np.float32).reshape(2, 3) + n for n in range(count)]


def read(row: dict[str, Any]) -> np.ndarray:
    return np.fromfile(row["path"], row["dtype"]).reshape(row["shape"])


@pytest.mark.parametrize("engines", [[MEMORY], [BACKBONE, FUSION]], ids=["one engine", "two engines"])
@pytest.mark.parametrize("starts", [[], [4, 7]], ids=["one sequence", "resets"])
def test_ten_frames_are_the_closed_form(tmp_path: Path, engines: list[Any], starts: list[int]) -> None:
    gpu = Gpu()
    content = order(tmp_path, engines, frames=10, keep=["y"], feeds=FEEDS, starts=starts)
    answer = run(content, gpu.tensorrt(), gpu)
    for frame, wanted in zip(answer["frames"], expected(xs(10), starts), strict=True):
        np.testing.assert_array_equal(read(frame["y"]), wanted.astype(np.float32))


def test_state_that_is_taken_after_it_is_made_is_that_of_the_frame_before(tmp_path: Path) -> None:
    gpu = Gpu()
    content = order(tmp_path, [EARLY, LATE], frames=5, keep=["z"], feeds=FEEDS, starts=[3])
    frames = run(content, gpu.tensorrt(), gpu)["frames"]
    x = xs(5)
    wanted = [x[0], x[1] + x[0] / 2, x[2] + x[1] / 2, x[3], x[4] + x[3] / 2]
    for frame, y in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(read(frame["z"]), y)


def test_state_that_a_frame_gives_is_used_as_given_also_at_a_start(tmp_path: Path) -> None:
    gpu = Gpu()
    content = order(tmp_path, [MEMORY], frames=3, keep=["y"], feeds=FEEDS, starts=[2])
    for number in (0, 2):
        past = tmp_path / f"past{number}"
        past.write_bytes(np.full(6, 8.0 + number, np.float32).tobytes())
        content["frames"][number]["past"] = str(past)
    found = [read(frame["y"]) for frame in run(content, gpu.tensorrt(), gpu)["frames"]]
    x = xs(3)
    np.testing.assert_array_equal(found, [x[0] + 4, x[1] + (x[0] + 4) / 2, x[2] + 5])


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"past": "nothing"}, "no such input and output"),
        ({"y": "y"}, "no such input and output"),
        ({"t": "y"}, r"found float32 \(2, 3\); the engine takes int32 \(4,\)"),
    ],
)
def test_engines_that_do_not_fit_the_state_are_refused(tmp_path: Path, feeds: dict[str, str], message: str) -> None:
    gpu = Gpu()
    with_table = MEMORY | {"inputs": MEMORY["inputs"] | {"t": ["INT32", [4]]}}
    with pytest.raises(RunnerError, match=message):
        run(order(tmp_path, [with_table], feeds=feeds), gpu.tensorrt(), gpu)


@pytest.mark.parametrize("engines", [[MEMORY], [BACKBONE, FUSION]], ids=["one engine", "two engines"])
def test_timed_frames_hand_on_their_state_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: list[Any]
) -> None:
    """With two in flight as well: every output is that of the whole sequence, whichever lane it went through."""
    gpu, starts, count = Gpu(), [2], 5
    found = timed(tmp_path, monkeypatch, engines, gpu, starts=starts, frames=count, keep="y")
    wanted = expected(xs(count), starts)
    assert len(found) > 30 and found.answer["two"] is not None
    for number, y in enumerate(found):
        np.testing.assert_array_equal(y, wanted[number % count].astype(np.float32), err_msg=str(number))


def test_timed_state_that_is_taken_late_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that makes it is far quicker than the one that takes it: nothing but the order protects it."""
    engines = [EARLY | {"spans": [["DLA0", 0.1]]}, LATE | {"spans": [["GPU", 3.0]]}]
    found = timed(tmp_path, monkeypatch, engines, Gpu(), starts=[], frames=4, keep="z")
    x = xs(4)
    wanted = [x[0], *(x[n] + x[n - 1] / 2 for n in range(1, 4))]
    for number, z in enumerate(found):
        np.testing.assert_array_equal(z, wanted[number % 4], err_msg=str(number))


def test_an_engine_with_state_runs_alone_and_the_others_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 ms on a DLA without state, 2 ms on the GPU with it: a frame every 3 ms. All on state: one after the other."""
    beside = [BACKBONE | {"spans": [["DLA0", 3.0]]}, FUSION | {"spans": [["GPU", 2.0]]}]
    two = timed(tmp_path, monkeypatch, beside, Gpu(), starts=[], frames=4, keep="y").answer["two"]
    assert len(two["latency_ms"]) / two["seconds"] == pytest.approx(1000 / 3.0, rel=0.03)
    both = [MEMORY | {"spans": [["DLA0", 3.0], ["GPU", 2.0]]}]
    two = timed(tmp_path, monkeypatch, both, Gpu(), starts=[], frames=4, keep="y").answer["two"]
    # The state's copy of 0.25 ms lies between two frames.
    assert len(two["latency_ms"]) / two["seconds"] == pytest.approx(1000 / 5.25, rel=0.03)


def test_state_is_not_transferred_from_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    loaded: list[int] = []
    real = gpu.memory.load
    monkeypatch.setattr(
        gpu.memory, "load", lambda address, host, size: (loaded.append(host), real(address, host, size))
    )
    timed(tmp_path, monkeypatch, [MEMORY], gpu, starts=[], frames=3, keep="y")
    assert len(set(loaded)) == 3  # x of each sample, nothing else


class Outputs(list[np.ndarray]):
    """Of every frame in their order, and what the timer answered."""

    answer: dict[str, Any]


def timed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    engines: list[Any],
    gpu: Gpu,
    *,
    starts: list[int],
    frames: int,
    keep: str,
) -> Outputs:
    """Run the timer on the GPU's own clock, and look at the output of every frame."""
    found = Outputs()
    content = order(folder, engines, frames=frames, outputs=[keep], feeds=FEEDS, starts=starts)
    limits = Protocol(warmup_ms=20, duration_s=0.1, longest_s=0.2, queries=20, most_queries=60)
    content["protocol"] = vars(limits)
    finish = frame_timer.Lane.finish

    def looks(lane: frame_timer.Lane) -> float:
        latency_ms = finish(lane)
        found.append(np.frombuffer(bytes(lane._outputs[keep]), np.float32).reshape(2, 3))
        return latency_ms

    with monkeypatch.context() as patch:
        patch.setattr(frame_timer.Lane, "finish", looks)
        patch.setattr(time, "perf_counter_ns", lambda: int(gpu.timeline.now * 1e6))
        patch.setattr(time, "monotonic", lambda: gpu.timeline.now / 1e3)
        found.answer = frame_timer.run(content, gpu.tensorrt(), gpu)
    return found
