"""Whole frames on this machine: ONNX Runtime for real, torch's GPU with stand-ins for what needs one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from bevlite.agent.protocol.flights import Turn, one_in_flight, two_in_flight
from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.local import cuda_frames
from bevlite.devices.local.cuda_frames import Past, Sample, TorchChain, TorchLane
from bevlite.devices.local.onnxruntime import OnnxRuntimeDevice
from bevlite.devices.report.frame_results import FramesDevice, SampleFrames
from bevlite.devices.report.whole_frames import Samples
from bevlite.devices.settings import OnnxRuntimeSettings
from bevlite.latency.pipeline import steps_for
from bevlite.models.contracts import TensorSpec
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from tests.devices.boards import closed_form, drawn_sequence, sample
from tests.devices.test_inference import modules
from tests.tiny import tiny

QUICK = Protocol(warmup_ms=0, duration_s=0.0, longest_s=0.1, queries=10, most_queries=50, repetitions=2)
STEPS = steps_for(sweeps=10, after=["decoding"])


def test_the_cpu_times_frames_one_by_one(tmp_path: Path) -> None:
    settings = OnnxRuntimeSettings(
        type="onnxruntime", threads=1, protocol={"duration_s": 0.1, "longest_s": 0.3, "queries": 20, "warmup_ms": 10}
    )
    device = OnnxRuntimeDevice(settings)
    assert isinstance(device, FramesDevice)
    given = SampleFrames((sample(), {"x": sample()["x"] * 2}), Samples(count=2, source="drawn", real=False))
    found = device.time_frames(modules(tmp_path, half=False), given, STEPS)
    one = found.one_in_flight
    assert one is not None and found.two_in_flight is None and found.cuda_graphs == ()
    assert [(step.name, step.status) for step in found.steps] == [
        ("pillarisation", "missing"), ("neck", "measured"), ("head", "measured"), ("decoding", "missing"),
    ]  # fmt: skip
    parts = np.sum([part.timing.samples_ms for part in one.parts], axis=0)
    np.testing.assert_allclose(parts, one.timing.samples_ms, rtol=1e-3, atol=1e-5)
    assert any("two frames in flight are not timed" in note for note in found.notes)
    assert len(one.timing.run_medians_ms) == device.protocol.repetitions


@pytest.fixture(scope="module")
def plans() -> dict[str, Module]:
    torch.manual_seed(0)
    with torch.inference_mode(), deployed_form():
        return {plan.name: plan for plan in modules_of(Detector(tiny()).eval())}


def chain_of(plans: dict[str, Module]) -> TorchChain:
    return TorchChain(plans, dict.fromkeys(plans, "fp32"), dict.fromkeys(plans, contextlib.nullcontext))


def frame_of(plans: dict[str, Module], chain: TorchChain) -> dict[str, np.ndarray]:
    examples = {name: example for plan in plans.values() for name, example in plan.example().items()}
    return {name: examples[name].numpy() for name in chain._examples}


def test_torch_modules_are_chained_by_the_names_of_their_tensors(plans: dict[str, Module]) -> None:
    chain = chain_of(plans)
    frame = frame_of(plans, chain)
    assert {"images", "pillars", "pillar_index"} <= set(frame) and not {"camera_bev", "lidar_bev"} & set(frame)
    assert set(chain.results) == set(plans["fusion_heads"].outputs)
    with torch.inference_mode(), deployed_form():
        known = chain.inputs(frame)
        for name in chain.names:
            chain.run(name, known)
        bev = [known[spec.name] for spec in plans["fusion_heads"].inputs]
        expected = plans["fusion_heads"].network(*bev)
    for name, value in zip(plans["fusion_heads"].outputs, expected, strict=True):
        assert torch.equal(known[name], value)


class Event:
    """Counts when it was recorded."""

    moment = 0.0
    waited: ClassVar[list[Event]] = []

    def __init__(self, **_: Any) -> None:
        self.at: float | None = None

    def record(self) -> None:
        Event.moment += 1.0
        self.at = Event.moment

    def synchronize(self) -> None:
        assert self.at is not None

    def elapsed_time(self, other: Event) -> float:
        assert self.at is not None and other.at is not None
        return other.at - self.at


class Graph:
    """Replays nothing: its tensors hold what the capture left."""

    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torch has for a GPU alone, as far as a lane uses it."""
    lanes = ["of earlier work"]
    methods = {"synchronize": lambda self: None, "wait_event": lambda self, event: Event.waited.append(event)}
    stream = type("Stream", (), {"__init__": lambda self, device: lanes.append("new"), **methods})
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: lanes.clear())
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000_000 * len(lanes))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **k: empty(*a, **k))
    with torch.inference_mode(), deployed_form():
        yield


def test_a_lane_of_torch_copies_runs_and_copies_back(plans: dict[str, Module], no_gpu: None) -> None:
    chain = chain_of(plans)
    given = chain.inputs(frame_of(plans, chain))
    lane = TorchLane(chain, torch.device("cpu"), Past())
    lane.issue(Sample(given, True))
    assert lane.finish() > 0.0
    known = dict(given)
    for name in chain.names:
        chain.run(name, known)
    assert set(lane._outputs) == set(chain.results)
    assert all(torch.equal(lane._outputs[name], known[name]) for name in chain.results)
    assert lane.parts_ms() == [1.0] * (len(chain.names) + 2)
    assert lane.capture() == chain.names
    lane.issue(Sample(given, True))
    assert [graph.replays for graph in lane._graphs.values()] == [1] * len(chain.names)


class Memory(torch.nn.Module):
    """y = x + past / 2."""

    def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        return x + past / 2


def test_two_lanes_of_torch_hand_on_state_in_order(no_gpu: None) -> None:
    axes = ("batch", "row", "column")
    x = TensorSpec("x", (1, 2, 3), "float32", axes, "features")
    state = TensorSpec("past", (1, 2, 3), "float32", axes, "state", fed_by="y")
    plan = {"memory": Module("memory", Memory(), (x, state), ("y",))}
    chain = TorchChain(plan, {"memory": "fp32"}, {"memory": contextlib.nullcontext}, {"past": "y"})
    frames, starts, past = drawn_sequence(), [4], Past()
    lanes = [TorchLane(chain, torch.device("cpu"), past) for _ in range(2)]
    Event.waited.clear()
    found = []
    for number, frame in enumerate(frames):
        lane = lanes[number % 2]
        lane.issue(Sample(chain.inputs(frame), number in starts))
        lane.finish()
        found.append(lane._outputs["y"].numpy().copy())
    np.testing.assert_allclose(found, closed_form(frames, starts), rtol=1e-6)
    # Each frame waits for the module of the frame before, in the other lane: after a start as well.
    assert Event.waited == [lanes[(number - 1) % 2]._events[2] for number in range(1, 10)]
    lanes[1].capture()
    lanes[0].issue(Sample(chain.inputs(frames[0]), False))
    assert torch.equal(lanes[0]._outputs["y"], torch.from_numpy(frames[0]["x"])), "graphs hold nothing to go on from"


def test_where_a_module_allows_no_graph_none_is_used(
    plans: dict[str, Module], no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def graph(made: Graph, stream: Any) -> Iterator[None]:
        yield
        if refused.pop():
            raise RuntimeError("operation not permitted when stream is capturing")

    refused = [False, False, True, False] * 2  # from the end: the second module of each lane
    monkeypatch.setattr(torch.cuda, "graph", graph)
    chain = chain_of(plans)
    frames = SampleFrames((frame_of(plans, chain),), Samples(count=1, source="made up", real=False))
    found = cuda_frames.time_frames(chain, torch.device("cpu"), frames, STEPS, QUICK)
    assert found.cuda_graphs == () and "CUDA graph refused: run without" in found.notes
    names = ["pillarisation", "copy in", *chain.names, "copy out", "decoding"]
    assert [step.name for step in found.steps] == names
    one, two = found.one_in_flight, found.two_in_flight
    assert one is not None and two is not None and (one.memory_mb, two.memory_mb) == (5.0, 10.0)
    assert any("not the first work of the process" in note for note in found.notes)


def test_a_graph_that_one_lane_refuses_is_none_of_the_report(
    plans: dict[str, Module], no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = chain_of(plans)
    frames = SampleFrames((frame_of(plans, chain),), Samples(count=1, source="made up", real=False))
    captures = iter([chain.names, []])
    monkeypatch.setattr(TorchLane, "capture", lambda self: next(captures))
    found = cuda_frames.time_frames(chain, torch.device("cpu"), frames, STEPS, QUICK)
    assert found.cuda_graphs == () and "CUDA graph refused by the second lane: run without" in found.notes


class Lane:
    """Records what is asked of it."""

    def __init__(self, name: str, said: list[tuple[str, str, Any]]) -> None:
        self.name, self.said = name, said

    def issue(self, frame: Any) -> None:
        self.said.append((self.name, "issue", frame))

    def finish(self) -> float:
        self.said.append((self.name, "finish", None))
        return 2.0

    def parts_ms(self) -> list[float]:
        return [0.5, 1.5]


def test_two_lanes_take_turns_and_no_frame_is_lost() -> None:
    said: list[tuple[str, str, Any]] = []
    found = two_in_flight((Lane("a", said), Lane("b", said)), Turn([0, 1, 2]), QUICK)
    issued = [frame for _, what, frame in said if what == "issue"]
    assert issued == [number % 3 for number in range(len(issued))]
    assert sum(what == "finish" for _, what, _ in said) == len(issued)
    in_flight = np.cumsum([1 if what == "issue" else -1 for _, what, _ in said])
    assert in_flight.max() == 2 and in_flight[-1] == 0 and in_flight[2:-2].min() == 1
    assert [lane for lane, what, _ in said if what == "finish"][:6] == ["a", "b"] * 3
    assert found["parts_ms"] == [[0.5] * len(found["latency_ms"]), [1.5] * len(found["latency_ms"])]


def test_one_lane_has_one_frame_at_a_time() -> None:
    said: list[tuple[str, str, Any]] = []
    began: list[int] = []
    found = one_in_flight(Lane("a", said), Turn([0]), QUICK, lambda: began.append(len(said)))
    assert [what for _, what, _ in said] == ["issue", "finish"] * (len(said) // 2)
    assert began == [2] and len(found["latency_ms"]) == len(said) // 2 - 1  # one frame of warm-up
