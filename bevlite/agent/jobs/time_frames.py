"""The job that times frames through all engines of a network: conditions, repeated runs, power, by the protocol."""

from __future__ import annotations

import math
import shutil
import time
from typing import Any, Callable, NamedTuple, Sequence

from bevlite.agent.jobs.build import Builder, Engine, with_usable_engines
from bevlite.agent.jobs.guard import Guard, Seen
from bevlite.agent.jobs.infer import facts_of, order_of
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import frame_timer, runner
from bevlite.agent.store import Store
from bevlite.agent.system import conditions, power
from bevlite.agent.system.power import Sample

Say = Callable[[str], None]
PHASE = "frames"


class Run(NamedTuple):
    """One process: what it answered, and the samples of the board while one and while two frames were in flight."""

    answer: dict[str, Any]
    command: list[str]
    one: list[Sample]
    two: list[Sample]
    power_source: str


def time_frames(
    request: dict[str, Any], store: Store, board: dict[str, Any], require_lease: Callable[[], None], say: Say
) -> dict[str, Any]:
    """Time sample frames through the engines of a network; the answer is plain JSON.

    The request names the `modules` as `jobs.infer` does, the sample `frames` (SHA-256 of the tensor by name) and
    the `outputs` that a frame has to bring to host memory, and the state by `feeds` and `starts`. Without TensorRT's
    Python API nothing is timed: the answer is then `why_not`, in one line.

    Raises:
        Fault: the conditions do not allow a figure, an engine cannot be built or run, or every attempt was void.
    """
    why_not = runner.why_not(board["tensorrt"])
    if why_not is not None:
        return {"why_not": why_not}
    protocol = Protocol(**request["protocol"])
    guard = Guard(board["jetson"], protocol, require_lease)
    builder = Builder(store, board, conditions.power_mode()[0] if board["jetson"] else None, protocol.build_limit_s)
    say("build")
    timer = _Timer(request, store, guard, protocol, say)
    try:
        found, engines = with_usable_engines(builder, request["modules"], store, timer.run)
    finally:
        timer.close()
    return dict(found, why_not=None, engines=facts_of(request["modules"], engines), board=board)


class _Timer:
    """Repeats the timing program and watches the board meanwhile."""

    def __init__(self, request: dict[str, Any], store: Store, guard: Guard, protocol: Protocol, say: Say) -> None:
        self._request = request
        self._guard = guard
        self._protocol = protocol
        self._say = say
        self._frames = [{name: store.require(sha) for name, sha in frame.items()} for frame in request["frames"]]
        self._folder = store.work()

    def close(self) -> None:
        """Throw the files away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, engines: Sequence[Engine]) -> dict[str, Any]:
        """All repetitions."""
        order = dict(
            order_of(self._request, engines),
            frames=self._frames,
            outputs=self._request["outputs"],
            protocol=self._request["protocol"],
        )
        before = self._guard.require_conditions()
        notes: list[str] = []
        runs = []
        for number in range(self._protocol.repetitions):
            self._say(f"frames, run {number + 1} of {self._protocol.repetitions}")
            runs.append(self._guard.valid(lambda: self._once(order), _seen, notes, self._say))
        source = runs[-1].power_source
        return {
            "runs": [run.answer for run in runs],
            "power": {
                "one": power.summary([s for run in runs for s in run.one], source),
                "two": power.summary([s for run in runs for s in run.two], source),
            },
            "conditions": before,
            "conditions_after": self._guard.read_after(),
            "command": runs[-1].command,
            "notes": notes,
        }

    def _once(self, order: dict[str, Any]) -> Run:
        marks = dict.fromkeys(frame_timer.MARKS, math.inf)
        sampler = power.Sampler()

        def on_line(line: str) -> None:
            if line.strip() in marks:
                marks[line.strip()] = time.monotonic()
                sampler.take()  # a way that is shorter than the interval would have none

        # What the limit of a run is for, loading among it, and both ways at their longest.
        limit_s = self._protocol.run_limit_s + 2 * (self._protocol.longest_s + self._protocol.warmup_ms / 1000)
        sampler.start()
        try:
            done = runner.start("frame_timer", order, self._folder, limit_s, PHASE, on_line)
        finally:
            samples = sampler.stop()
        self._guard.require_lease()
        one, one_end, two, end = marks.values()
        return Run(
            done.answer,
            done.command,
            [s for s in samples if one <= s.at < one_end],
            [s for s in samples if two <= s.at < end],
            sampler.source,
        )


def _seen(run: Run) -> Seen:
    ways = [run.answer[way] for way in ("one", "two") if run.answer[way] is not None]
    return Seen(run.one + run.two, [way["latency_ms"] for way in ways])
