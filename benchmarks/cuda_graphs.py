"""CUDA graphs of calls, and the time that they take."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any


@cache
def capture_stream() -> Any:
    """The stream of all captures: one, so that the workspaces of libraries are made once."""
    import torch

    return torch.cuda.Stream()


def capture(run: Callable[[], Any], calls: int, keep: bool = False) -> Any:
    """A CUDA graph of some calls in a row; `keep`: so that its nodes can be read.

    By hand: `torch.cuda.graph` would collect garbage for long.
    """
    import torch

    graph = torch.cuda.CUDAGraph(keep_graph=True) if keep else torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    gc.disable()  # what would be freed here must not end up in the capture
    try:
        with torch.cuda.stream(capture_stream()):
            graph.capture_begin(capture_error_mode="relaxed")
            try:
                for _ in range(calls):
                    run()
            finally:
                graph.capture_end()
        if keep:
            graph.instantiate()
    finally:
        gc.enable()
    torch.cuda.synchronize()
    return graph


def replay_ms(graph: Any, groups: int, replays: int) -> list[float]:
    """Milliseconds a replay, one value a group, all groups in one queue."""
    import torch

    events = [torch.cuda.Event(enable_timing=True) for _ in range(groups + 1)]
    events[0].record()
    for event in events[1:]:
        for _ in range(replays):
            graph.replay()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / replays for a, b in pairwise(events)]


def events_ms(work: Callable[[], None]) -> float:
    """Time of work on the current stream in ms."""
    import torch

    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))
