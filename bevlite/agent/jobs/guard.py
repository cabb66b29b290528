"""What makes a figure void: conditions that do not hold before, during or after a run."""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple, Sequence, TypeVar

from bevlite.agent.fault import Fault
from bevlite.agent.lease import uptime
from bevlite.agent.protocol import statistics
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.system import conditions
from bevlite.agent.system.power import Sample

CLOCK_JUMP_S = 1.0
"""Difference between the wall clock and the monotonic one within a run; trtexec ends its runs by the former."""

T = TypeVar("T")


class Seen(NamedTuple):
    """What tells whether a run is void: samples of the board within it, and its latencies in ms, each way apart."""

    samples: list[Sample]
    values_ms: Sequence[list[float]]


class Guard:
    """The conditions of one board under one protocol."""

    def __init__(self, jetson: bool, protocol: Protocol, require_lease: Callable[[], None]) -> None:
        self._jetson = jetson
        self._protocol = protocol
        self.require_lease = require_lease

    def read_after(self) -> dict[str, Any]:
        """Conditions after the work; who uses the GPU then is no matter."""
        return conditions.read(self._jetson, users=False)

    def require_conditions(self) -> dict[str, Any]:
        """The conditions, which allow a measurement (raises Fault with the first that does not)."""
        self.require_lease()
        found = conditions.read(self._jetson)
        for fault in problems(found, self._jetson, self._protocol):
            raise fault
        return found

    def valid(self, run: Callable[[], T], seen: Callable[[T], Seen], notes: list[str], say: Callable[[str], None]) -> T:
        """A run that counts: it is repeated when the board throttled, its clock changed or the time jumped.

        Raises:
            Fault: every attempt was void.
        """
        for attempt in range(self._protocol.void_retries + 1):
            watch = Watch(self._protocol)
            found = run()
            fault = watch.verdict(seen(found))
            if fault is None:
                return found
            if attempt == self._protocol.void_retries:
                raise fault
            notes.append("a run was void and repeated: " + fault.message)
            say(f"void: {fault.message}; again after a pause")
            time.sleep(self._protocol.cool_s)
        raise AssertionError("unreachable")


class Watch:
    """What the clocks were when a run began."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._wall, self._uptime, self._steady = time.time(), uptime(), time.monotonic()
        self._clock = conditions.gpu_clock()
        self._events = conditions.throttle_events()

    def verdict(self, seen: Seen) -> Fault | None:
        """Why the run that just ended is void, or None."""
        limits, samples = self._protocol, seen.samples
        steady = time.monotonic() - self._steady
        jump = max(time.time() - self._wall - steady, uptime() - self._uptime - steady, key=abs)
        if abs(jump) > CLOCK_JUMP_S:
            return Fault("clock_jump", f"the board's clock jumped by {jump:.1f} s during a run", jump_s=jump)
        heat = [s.temperature_c for s in samples if s.temperature_c is not None]
        if heat and max(heat) > limits.hottest_c:
            message = "the board reached {:.0f} C during a run (accepted: {:.0f} C)"
            return Fault("throttling", message.format(max(heat), limits.hottest_c))
        if conditions.throttle_events() > self._events:
            return Fault("throttling", "the board counted over-current events during a run")
        clock = conditions.gpu_clock()
        if self._clock is not None and clock is not None and limits.require_locked_clocks:
            clocks = [s.gpu_mhz for s in samples if s.gpu_mhz is not None] + [clock.current]
            low, high = min(clocks), max(clocks)
            if low < self._clock.current * (1 - limits.clock_tolerance):
                message = "the GPU clock fell from {:.0f} to {:.0f} MHz during a run"
                return Fault("throttling", message.format(self._clock.current, low))
            if high > self._clock.current * (1 + limits.clock_tolerance):
                message = "the GPU clock rose from {:.0f} to {:.0f} MHz during a run"
                return Fault("clock_changed", message.format(self._clock.current, high))
        drift = max(statistics.drift(values) for values in seen.values_ms)
        if drift > limits.drift_limit:
            message = "latency rose by {:.0%} within a run (accepted: {:.0%}): a board that throttles"
            return Fault("throttling", message.format(drift, limits.drift_limit))
        return None


def problems(found: dict[str, Any], jetson: bool, limits: Protocol) -> list[Fault]:
    """Everything that speaks against a measurement under these conditions, each with what mends it."""
    wrong = []
    if jetson and limits.require_locked_clocks and not found["clocks_locked"]:
        message = (
            "the clocks are not locked" if found["clocks_locked"] is False else "whether clocks are locked is not known"
        )
        wrong.append(Fault("clocks_unlocked", message, fix="sudo jetson_clocks"))
    heat = found["temperature_c"]
    if heat is not None and heat > limits.hottest_start_c:
        message = f"the board is at {heat:.0f} C (accepted to start: {limits.hottest_start_c:.0f} C)"
        wrong.append(Fault("too_hot", message, fix="wait, or sudo jetson_clocks --fan"))
    if limits.require_idle_gpu and found["gpu_users"]:
        message = "the GPU is in use by {}".format(", ".join(found["gpu_users"]))
        wrong.append(Fault("other_gpu_process", message, fix="end it, or wait"))
    return wrong
