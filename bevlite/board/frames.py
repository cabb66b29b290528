"""Frames of the samples round and round through the network, for a while: a program of `start`.

Every interval it prints one line of JSON: how many frames, percentiles of their latency, medians of their steps.
"""

from __future__ import annotations

import json
import time
from typing import Any

from bevlite.agent.protocol import statistics
from bevlite.board.network import Network, Result
from bevlite.board.samples import Sample, read_samples
from bevlite.board.start import LINE

_WARM_UP = 3


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Frames with `in_flight` of them, until `seconds` or `most_frames`, at most `fps` a second; a line every
    `interval_s` (raises Fault). 0 is no bound."""
    with Network(order["root"], in_flight=order["in_flight"], exclusive=order["exclusive"]) as network:
        loop = _Loop(network, read_samples(network.package), order["fps"])
        for _ in range(_WARM_UP):
            loop.frame()
        began = last = steady()
        total = 0
        results: list[Result] = []
        ended = False
        while not ended:
            results.append(loop.frame())
            now = steady()
            count = total + len(results)
            ended = now - began >= order["seconds"] > 0 or count >= order["most_frames"] > 0
            if ended or now - last >= order["interval_s"]:
                print(LINE + json.dumps(summary(results, now - began, now - last)), flush=True)
                total, results, last = count, [], now
        return {"frames": total, "seconds": last - began, "graphs": network.graphs, "memory_mb": network.memory_mb}


def steady() -> float:
    """Seconds on a clock that only goes on. Asked by number: on an emulated board it is the one that really passes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class _Loop:
    """The samples one after the other, with as many in flight as the network has room for."""

    def __init__(self, network: Network, samples: list[Sample], fps: float) -> None:
        self._network, self._samples = network, samples
        self._every_s = 1 / fps if fps > 0 else 0.0
        self._due = steady()
        self._next = 0
        for _ in range(network.in_flight - 1):
            self._submit()

    def frame(self) -> Result:
        """Hand over one when it is due, and wait for the oldest."""
        time.sleep(max(0.0, self._due - steady()))
        self._due = max(self._due + self._every_s, steady())  # a frame that came late does not hurry the next ones
        self._submit()
        return self._network.collect()

    def _submit(self) -> None:
        sample = self._samples[self._next % len(self._samples)]
        self._next += 1
        self._network.submit(**sample.given)


def summary(results: list[Result], at: float, seconds: float) -> dict[str, Any]:
    """One interval as it is printed."""
    latencies = [result.times_ms["total"] for result in results]
    names = dict.fromkeys(name for result in results for name in result.times_ms)
    medians = {n: statistics.median([r.times_ms[n] for r in results if n in r.times_ms]) for n in names}
    return {
        "at_s": round(at, 3),
        "frames": len(results),
        "fps": round(len(results) / seconds, 3) if seconds > 0 else None,
        "latency_ms": {k: round(v, 4) for k, v in dict(statistics.percentiles(latencies), max=max(latencies)).items()},
        "steps_ms": {name: round(value, 4) for name, value in medians.items()},
        "notes": sorted({note for result in results for note in result.notes}),
    }
