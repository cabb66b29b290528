"""Whole frames by torch on a GPU: modules as CUDA graphs in lanes of their own, one frame in flight and two."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bevlite.agent.protocol.flights import Turn, one_in_flight, two_in_flight
from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.report.frame_results import (
    COPY_IN,
    COPY_OUT,
    SampleFrames,
    doubts,
    flight_of,
    state_notes,
    steps_of,
)
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.devices.state import Feeds, begins
from bevlite.latency.pipeline import PipelineStep

if TYPE_CHECKING:
    import torch

    from bevlite.models.modules import Module

Enter = Callable[[], contextlib.AbstractContextManager[Any]]
"""What a module runs in: its precision."""
WARM_CALLS = 3
"""Calls before a capture: lazy allocations and the choice of algorithms must be over."""


class TorchChain:
    """The modules of a network on tensors by name: what one gives, the next takes; `feeds` is the state."""

    def __init__(
        self,
        plans: Mapping[str, Module],
        precisions: Mapping[str, str],
        enter: Mapping[str, Enter],
        feeds: Feeds | None = None,
    ) -> None:
        self.names = list(plans)
        self.feeds = dict(feeds or {})
        self._plans, self._precisions, self._enter = plans, precisions, enter
        made = {name: module for module, plan in plans.items() for name in plan.outputs}
        taken = {spec.name: module for module, plan in reversed(list(plans.items())) for spec in plan.inputs}
        left = [name for name in made if name not in taken]
        self.results = [name for name in left if name not in self.feeds.values()] or left
        self.state_before: dict[str, list[tuple[str, int]]] = {name: [] for name in self.names}
        for name, source in self.feeds.items():
            maker = self.names.index(made[source])
            first = min(self.names.index(taken[name]), maker)
            self.state_before[self.names[first]].append((name, maker))
        self._examples = {
            name: (example, precisions[module])
            for module, plan in plans.items()
            for name, example in plan.example().items()
            if name not in made
        }

    def inputs(self, frame: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """What a frame takes from outside, in the types of the modules, in host memory; of state what it gives."""
        import torch

        found = {}
        for name, (example, precision) in self._examples.items():
            if name in self.feeds and name not in frame:
                continue
            tensor = torch.from_numpy(np.ascontiguousarray(frame[name]))
            found[name] = tensor.to(_kind(example, precision))
        return found

    def places(self, device: torch.device) -> dict[str, torch.Tensor]:
        """Tensors of zeros for all that comes from outside, the state among it, on a device."""
        import torch

        return {
            name: torch.zeros(tuple(example.shape), dtype=_kind(example, precision), device=device)
            for name, (example, precision) in self._examples.items()
        }

    def frames(
        self,
        device: torch.device,
        frames: Sequence[Mapping[str, np.ndarray]],
        outputs: Sequence[str],
        starts: Collection[int],
    ) -> Iterator[dict[str, np.ndarray]]:
        """Tensors of frames one after the other, by name; a new sequence begins at `starts`."""
        known = self.places(device)
        for number, frame in enumerate(frames):
            for name, source in self.feeds.items():
                zeros = known[name].new_zeros(known[name].shape)
                known[name] = zeros if begins(number, starts) else known[source]
            known |= {name: tensor.to(device) for name, tensor in self.inputs(frame).items()}
            for name in self.names:
                self.run(name, known)
            yield {name: known[name].cpu().numpy() for name in outputs}

    def run(self, name: str, known: dict[str, torch.Tensor]) -> None:
        """One module; its outputs join the known tensors."""
        plan, precision = self._plans[name], self._precisions[name]
        with self._enter[name]():
            made = plan.network(*(known[n].to(_kind(e, precision)) for n, e in plan.example().items()))
        known.update(zip(plan.outputs, made if isinstance(made, tuple) else (made,), strict=True))


class Sample(NamedTuple):
    """Pinned host memory by the name of the input, and whether a new sequence begins."""

    tensors: Mapping[str, torch.Tensor]
    begins: bool


class Past:
    """Which lane had the frame before: it holds the state. None where there is no frame to go on from."""

    lane: TorchLane | None = None


class TorchLane:
    """One frame at a time: a stream, tensors, graphs, events and host memory of its own.

    A module that needs state waits on the GPU for the lane of the frame before, even where it takes none of it: the
    other lane must not write its next state while this one reads.
    """

    def __init__(self, chain: TorchChain, device: torch.device, past: Past) -> None:
        import torch

        self._torch, self._chain, self._past = torch, chain, past
        self._stream = torch.cuda.Stream(device)
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(len(chain.names) + 3)]
        self._known = chain.places(device)
        self._graphs: dict[str, Any] = {}
        self._outputs: dict[str, torch.Tensor] = {}
        self._began = 0.0

    def issue(self, sample: Sample) -> None:
        """Put a whole frame into the stream: copies, modules, copies. State is copied in the part of its module."""
        before, self._past.lane = self._past.lane, self
        self._began = time.perf_counter()
        events = iter(self._events)
        with self._torch.cuda.stream(self._stream):
            next(events).record()
            for name, tensor in sample.tensors.items():
                self._known[name].copy_(tensor, non_blocking=True)
            next(events).record()
            for name in self._chain.names:
                self._hand_on(name, sample, before)
                graph = self._graphs.get(name)
                if graph is None:
                    self._chain.run(name, self._known)
                else:
                    graph.replay()
                next(events).record()
            for name in self._chain.results:
                made = self._known[name]
                if name not in self._outputs:
                    pinned = self._torch.empty(made.shape, dtype=made.dtype, device="cpu", pin_memory=True)
                    self._outputs[name] = pinned
                self._outputs[name].copy_(made, non_blocking=True)
            next(events).record()

    def finish(self) -> float:
        """Wait until the outputs are in host memory; ms since the frame was issued."""
        self._events[-1].synchronize()
        return (time.perf_counter() - self._began) * 1000

    def parts_ms(self) -> list[float]:
        """GPU time of the last frame: copies in, every module, copies out."""
        return [float(a.elapsed_time(b)) for a, b in zip(self._events, self._events[1:], strict=False)]

    def _hand_on(self, module: str, sample: Sample, before: TorchLane | None) -> None:
        """Put the state for a module into the stream, from the lane of the frame before."""
        for name, maker in self._chain.state_before[module]:
            if before is not None and before is not self:
                self._stream.wait_event(before._events[maker + 2])
            if name in sample.tensors:
                continue
            if sample.begins or before is None:
                self._known[name].zero_()
            else:
                self._known[name].copy_(before._known[self._chain.feeds[name]], non_blocking=True)

    def capture(self) -> list[str]:
        """Every module as a CUDA graph from now on; those that are. If one refuses, none is: a graph reads where the
        graph before it writes. What a graph will write holds nothing yet: the next frame begins a sequence."""
        torch = self._torch
        self._past.lane = None
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_CALLS):
                for name in self._chain.names:
                    self._chain.run(name, self._known)
        self._stream.synchronize()
        try:
            for name in self._chain.names:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self._stream):
                    self._chain.run(name, self._known)
                self._graphs[name] = graph
        except RuntimeError:
            self._graphs.clear()
        self._stream.synchronize()
        return list(self._graphs)


def time_frames(
    chain: TorchChain,
    device: torch.device,
    given: SampleFrames,
    pipeline: Sequence[PipelineStep],
    protocol: Protocol,
) -> WholeFrames:
    """Time frames in this process, where all modules are on the GPU.

    What the process did before is in the first frame's favour: libraries are loaded, kernels may be.
    """
    import torch

    samples = [
        Sample(_pinned(chain.inputs(frame)), begins(number, given.starts)) for number, frame in enumerate(given.frames)
    ]
    past, turn, names = Past(), Turn(samples), [COPY_IN, *chain.names, COPY_OUT]
    torch.cuda.reset_peak_memory_stats(device)  # what was timed before is no part of it
    first = TorchLane(chain, device, past)
    first.issue(turn.next())
    first_ms = first.finish()
    captured = first.capture()
    ones = [one_in_flight(first, turn, protocol) for _ in range(protocol.repetitions)]
    one_mb = torch.cuda.max_memory_allocated(device) / 1e6
    second = TorchLane(chain, device, past)
    second.issue(turn.next())
    second.finish()
    captured_two = second.capture()
    twos = [two_in_flight((first, second), turn, protocol) for _ in range(protocol.repetitions)]
    one = flight_of(ones, names, protocol.half_width, memory_mb=one_mb)
    two = flight_of(twos, names, protocol.half_width, memory_mb=torch.cuda.max_memory_allocated(device) / 1e6)
    return WholeFrames(
        steps=tuple(steps_of(pipeline, chain.names, one, "")),
        runner=f"torch {torch.__version__}",
        cuda_graphs=tuple(name for name in captured if name in captured_two),
        first_frames_ms=(first_ms,),
        one_in_flight=one,
        two_in_flight=two,
        samples=given.samples,
        protocol=dataclasses.asdict(protocol),
        notes=(
            "one process for all runs; the first frame is not the first work of the process",
            *state_notes(given, two_in_flight=True),
            *_refused(captured, captured_two),
            *doubts(one, "one frame in flight", protocol.half_width, protocol.agreement),
            *doubts(two, "two frames in flight", protocol.half_width, protocol.agreement),
        ),
    )


def _refused(one: Sequence[str], two: Sequence[str]) -> list[str]:
    """What to say of lanes without graphs."""
    if one and two:
        return []
    where = " by the second lane" if one else " by the first lane" if two else ""
    return [f"CUDA graph refused{where}: run without"]


def _kind(example: torch.Tensor, precision: str) -> torch.dtype:
    import torch

    return torch.float16 if precision == "fp16" and example.is_floating_point() else example.dtype


def _pinned(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.pin_memory() for name, tensor in tensors.items()}
