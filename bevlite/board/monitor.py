"""`scripts/monitor`: frames for a while, and how the board stands meanwhile: JSON lines, and a page of curves."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
from typing import Any, Iterator, Sequence

from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store
from bevlite.agent.system import conditions, paths, power
from bevlite.board import start
from bevlite.board.contents import Package
from bevlite.board.curves import write_page
from bevlite.board.words import DONE, EMULATED, FAILED, ended

LOADING_S = 600.0
POWER_EVERY_S = 0.5


def main(root: str, arguments: Sequence[str]) -> int:
    """The exit code: 0 no limit was broken, 1 one was or the board throttled, 2 bad input, 3 the board is emulated."""
    parser = argparse.ArgumentParser(prog="monitor", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--fps", type=float, default=0.0, help="frames a second at most; 0 for one after the other")
    parser.add_argument("--interval-s", type=float, default=1.0, help="seconds in one line")
    parser.add_argument("--in-flight", type=int, default=1, choices=(1, 2), help="frames in flight")
    parser.add_argument("--out", default="monitor", help="FILE.jsonl and FILE.html are written")
    options = parser.parse_args(list(arguments))
    return ended("monitor", lambda: _run(root, options))


def _run(root: str, options: argparse.Namespace) -> int:
    package = Package(root)
    emulated = paths.emulated()
    kind = "emulated" if emulated else "measured"
    order = {
        "seconds": 60 * options.minutes, "most_frames": 0, "interval_s": options.interval_s, "fps": options.fps,
        "in_flight": options.in_flight, "exclusive": True,
    }  # fmt: skip
    folder = Store().work()
    recorder = Recorder(package.manifest["limits"], options.out + ".jsonl")
    try:
        start.run(package, "frames", order, folder, LOADING_S + 2 * order["seconds"], recorder.on_line)
    finally:
        recorder.close()
        shutil.rmtree(folder, ignore_errors=True)
        if recorder.rows:
            title = f"{package.name}, {kind}"
            write_page(options.out + ".html", title, recorder.rows, recorder.events, recorder.limits)
            print(f"written: {options.out}.jsonl and {options.out}.html")
    for event in recorder.events:
        print(f"at {event['at_s']:.1f} s: {event['what']}")
    print(f"{package.name}: {len(recorder.rows)} intervals, {len(recorder.events)} events, {kind}")
    return EMULATED if emulated else FAILED if recorder.events else DONE


class Recorder:
    """Puts how the board stands to every interval, writes it down, and says when something broke.

    rows: every interval. events: the moments at which a limit was broken, or the board began to throttle.
    """

    def __init__(self, limits: dict[str, float], path: str) -> None:
        self.limits = limits
        self.rows: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self._broken: set[str] = set()
        self._stream = open(path, "w")  # noqa: SIM115 - open for as long as frames run
        self._throttled = conditions.throttle_events()
        clock = conditions.gpu_clock()
        self._full_mhz = clock.highest if clock is not None and clock.locked else 0.0
        self._sampler = power.Sampler(POWER_EVERY_S)
        self._sampler.start()

    def close(self) -> None:
        """End the sampling."""
        self._sampler.stop()
        self._stream.close()

    def on_line(self, line: str) -> None:
        """A line of `frames` (raises OSError on a full disk; what was written stays whole)."""
        if not line.startswith(start.LINE):
            return
        row = dict(json.loads(line[len(start.LINE) :]), **self._board())
        row["events"] = [what for name, what in self._wrong(row) if name not in self._broken]
        self._broken = {name for name, _ in self._wrong(row)}
        self.rows.append(row)
        self.events += [{"at_s": row["at_s"], "what": what} for what in row["events"]]
        self._throttled = max(self._throttled, row["throttle_events"])
        self._full_mhz = max(self._full_mhz, row["gpu_mhz"] or 0.0)
        at = self._stream.tell()
        try:
            self._stream.write(json.dumps(row) + "\n")
            self._stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._stream.name, at)  # half a line would be none
            raise

    def _board(self) -> dict[str, Any]:
        """Power, temperatures, clock and memory since the last interval."""
        self._sampler.take()
        samples = self._sampler.drain()
        found = power.summary(samples, self._sampler.source)
        clocks = [s.gpu_mhz for s in samples if s.gpu_mhz is not None]
        return {
            "power_w": found["module_w"] if found else None,
            "rails_w": {rail["name"]: round(rail["mean_w"], 3) for rail in found["rails"]} if found else {},
            "temperatures_c": conditions.temperatures(),
            "gpu_mhz": min(clocks) if clocks else None,
            "memory_free_mb": conditions.memory_free_mb(),
            "throttle_events": conditions.throttle_events(),
        }

    def _wrong(self, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What is broken in an interval, by name and in words. An event is where it begins."""
        found = {"latency_ms": row["latency_ms"]["p99"], "power_w": row["power_w"]}
        for name, unit, what in (("latency_ms", "ms", "P99 of the latency"), ("power_w", "W", "power")):
            if name in self.limits and found[name] is not None and found[name] > self.limits[name]:
                yield name, f"{what} {found[name]:.3f} {unit}, limit {self.limits[name]:g} {unit}"
        if "fps" in self.limits and row["fps"] is not None and row["fps"] < self.limits["fps"]:
            yield "fps", f"{row['fps']:.2f} frames a second, limit {self.limits['fps']:g}"
        limits = Protocol()
        hottest = max(row["temperatures_c"].values(), default=0.0)
        if hottest > limits.hottest_c:
            yield "heat", f"{hottest:.0f} C (accepted: {limits.hottest_c:.0f} C)"
        if row["throttle_events"] > self._throttled:
            more = row["throttle_events"] - self._throttled
            yield "throttled", f"the board throttled: {more} over-current events"
        mhz = row["gpu_mhz"]
        if mhz is not None and mhz < self._full_mhz * (1 - limits.clock_tolerance):
            yield "clock", f"the board throttled: the GPU clock fell from {self._full_mhz:.0f} to {mhz:.0f} MHz"
