"""Measure one engine by the protocol: conditions, repeated runs, ways of running, power, layers."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from typing import Any, Callable, NamedTuple

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.jobs import precisions
from bevlite.agent.jobs.build import Builder, Engine
from bevlite.agent.jobs.guard import Guard, Seen
from bevlite.agent.protocol import statistics
from bevlite.agent.protocol.protocol import MOST_DOUBLED, Protocol
from bevlite.agent.store import Store
from bevlite.agent.system import power
from bevlite.agent.trtexec import commands, documents, log

Say = Callable[[str], None]
SUMMARY_TOLERANCE = 0.01
"""Between the median of the samples and the one that trtexec prints: both come from the same queries."""


class Timed(NamedTuple):
    """One run: times of its queries, what it says of itself, and the samples of power within it."""

    times: documents.Times
    throughput_qps: float | None
    graph_refused: bool
    context_mb: float | None
    command: list[str]
    samples: list[power.Sample]
    power_source: str


class Measurement:
    """Everything that is measured of one engine, in the order of the protocol."""

    def __init__(
        self, store: Store, builder: Builder, guard: Guard, protocol: Protocol, inputs: dict[str, str], say: Say
    ) -> None:
        self._builder = builder
        self._guard = guard
        self._protocol = protocol
        self._inputs = inputs
        self._say = say
        self._folder = store.work()
        self._commands: list[list[str]] = []
        self._notes: list[str] = []
        self._duration_s = protocol.duration_s

    def close(self) -> None:
        """Throw the files of the runs away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, engine: Engine) -> dict[str, Any]:
        """All figures of an engine as plain JSON.

        Raises:
            Fault: the conditions do not allow a figure, a run failed, or every attempt was void.
        """
        before = self._guard.require_conditions()
        idle = self._idle_power()
        first = self._first(engine)
        main, refused = self._repeated(engine)
        self._say("other ways of running")
        plain = self._valid(engine, commands.Run(**self._base(), cuda_graph=False))
        moved = self._valid(engine, commands.Run(**self._base(), cuda_graph=not refused, transfers=True))
        layers = self._profile(engine)
        samples = [value for timed in main for value in timed.times.compute_ms]
        windows = [sample for timed in main for sample in timed.samples]
        return {
            "graph": None if refused else self._figures(main),
            "plain": self._figures(main if refused else [plain]),
            "transfers": {
                "h2d_ms": statistics.median(moved.times.h2d_ms),
                "d2h_ms": statistics.median(moved.times.d2h_ms),
            },
            "first_frame_ms": first,
            "throughput_qps": main[-1].throughput_qps,
            "memory_mb": main[-1].context_mb,
            "power": power.summary(windows, main[-1].power_source),
            "idle": idle,
            "energy_j": _energy(windows, main[-1].power_source, statistics.median(samples)),
            "layers": layers,
            "conditions": before,
            "conditions_after": self._guard.read_after(),
            "commands": self._commands,
            "notes": self._notes,
        }

    def _new_file(self, name: str) -> str:
        """Path of a file that is not there: what an earlier run wrote must never be read for this one."""
        path = os.path.join(self._folder, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return path

    def _base(self) -> dict[str, Any]:
        p = self._protocol
        return {
            "warmup_ms": p.warmup_ms,
            "duration_s": self._duration_s,
            "queries": p.queries,
            "inputs": self._inputs,
        }

    def _repeated(self, engine: Engine) -> tuple[list[Timed], bool]:
        """The repetitions with a CUDA graph; without one where the engine refuses it."""
        runs, refused = [], False
        for number in range(self._protocol.repetitions):
            self._say(f"run {number + 1} of {self._protocol.repetitions}")
            timed = self._converged(engine, not refused)
            if timed.graph_refused and not refused:
                refused = True
                self._notes.append("CUDA graph refused by the engine: measured without one")
            runs.append(timed)
        apart = statistics.spread([statistics.median(r.times.compute_ms) for r in runs])
        if apart > self._protocol.agreement:
            message = "repeated runs disagree by {:.1%} (accepted: {:.0%})"
            self._notes.append(message.format(apart, self._protocol.agreement))
        return runs, refused

    def _converged(self, engine: Engine, cuda_graph: bool) -> Timed:
        """One run, repeated longer until the interval of its median is narrow enough or the limit is reached."""
        run = commands.Run(**self._base(), cuda_graph=cuda_graph)
        while True:
            timed = self._valid(engine, run)
            values = timed.times.compute_ms
            if statistics.half_width(values) <= self._protocol.half_width and len(values) >= self._protocol.queries:
                return timed
            many = len(values) > MOST_DOUBLED * self._protocol.most_queries
            if many or run.duration_s * 2 > self._protocol.longest_s:
                message = "the 95 % interval of the median is +-{:.1%} after {:.0f} s (accepted: {:.0%})"
                self._notes.append(
                    message.format(statistics.half_width(values), run.duration_s, self._protocol.half_width)
                )
                return timed
            longer = self._base()
            longer["duration_s"], longer["queries"] = run.duration_s * 2, run.queries * 2
            run = commands.Run(**longer, cuda_graph=cuda_graph)

    def _valid(self, engine: Engine, run: commands.Run) -> Timed:
        """One run that counts."""
        return self._guard.valid(
            lambda: self._once(engine, run),
            lambda timed: Seen(timed.samples, [timed.times.compute_ms]),
            self._notes,
            self._say,
        )

    def _once(self, engine: Engine, run: commands.Run) -> Timed:
        path = self._new_file("times.json")
        command = commands.run_command(self._builder.trtexec, self._builder.version, engine.path, run, path)
        sampler = power.Sampler()
        began, ended = [math.inf], [math.inf]

        def on_line(line: str) -> None:
            if "Starting inference" in line:
                began[0] = time.monotonic()
                sampler.take()  # a run that is shorter than the interval would have none
            elif "Timing trace has" in line:  # what follows is writing files, with an idle GPU
                ended[0] = time.monotonic()

        sampler.start()
        try:
            done = self._trtexec(command, "measure", on_line)
        finally:
            samples = sampler.stop()
        times = documents.times(_text(path))
        self._cross_check(times, done.text)
        start = began[0] + run.warmup_ms / 1000
        busy = [s for s in samples if began[0] <= s.at <= ended[0]]
        within = [s for s in busy if s.at >= start] or busy  # the warm-up is load as well
        summary = log.summary(done.text)
        return Timed(
            times,
            summary.throughput_qps,
            log.graph_refused(done.text),
            log.context_memory_mb(done.text),
            command,
            within,
            sampler.source,
        )

    def _first(self, engine: Engine) -> float:
        """The first query of a new process, without warm-up, which is what the first frame of a drive costs, in ms.

        The queries after it tell how long a run may last.
        """
        path = self._new_file("times.json")
        run = commands.Run(0, 0.0, self._protocol.queries, False, True, self._inputs)
        command = commands.run_command(self._builder.trtexec, self._builder.version, engine.path, run, path)
        self._trtexec(command, "measure")
        times = documents.times(_text(path))
        if not times.compute_ms:
            raise Fault("truncated_json", "times: no query in the file", what="times")
        typical_s = statistics.median(times.compute_ms) / 1000
        self._duration_s = min(self._protocol.duration_s, self._protocol.most_queries * typical_s)
        return times.h2d_ms[0] + times.compute_ms[0] + times.d2h_ms[0]

    def _profile(self, engine: Engine) -> list[dict[str, Any]]:
        """Time by layer, joined with the layer's precision and ONNX nodes by its name."""
        self._say("profile")
        path = self._new_file("profile.json")
        run = commands.Run(**self._base())
        command = commands.profile_command(self._builder.trtexec, self._builder.version, engine.path, run, path)
        self._trtexec(command, "profile")
        known: dict[str, precisions.Layer] = {}
        for layer in engine.layers:
            known.setdefault(layer.name, layer)
        rows = []
        for row in documents.profile(_text(path)):
            found = known.get(row.name)
            rows.append(
                {
                    "name": row.name,
                    "latency_ms": row.median_ms,
                    "kind": found.kind if found else "",
                    "precision": found.precision if found else "",
                    "nodes": list(found.nodes) if found else [],
                    "on_dla": bool(found and found.on_dla),
                }
            )
        return rows

    def _trtexec(
        self, command: list[str], phase: str, on_line: Callable[[str], None] | None = None
    ) -> process.Finished:
        done = process.run(command, self._protocol.run_limit_s, phase, on_line)
        self._guard.require_lease()
        if not log.passed(done):
            raise log.failure(done, phase)
        if log.MODEL_CHANGED in done.text:
            raise Fault("engine_other_module", log.MODEL_CHANGED)
        self._commands.append(commands.shown(command))
        return done

    def _cross_check(self, times: documents.Times, text: str) -> None:
        printed = log.summary(text).medians_ms.get("GPU Compute Time")
        if not times.compute_ms:
            raise Fault("truncated_json", "times: no query in the file", what="times")
        ours = statistics.median(times.compute_ms)
        if printed is None or abs(printed - ours) > SUMMARY_TOLERANCE * ours:
            message = "times: their median is {:.4g} ms, trtexec prints {} ms"
            raise Fault("truncated_json", message.format(ours, printed), what="times")

    def _idle_power(self) -> dict[str, Any] | None:
        self._say("idle power")
        sampler = power.Sampler()
        sampler.start()
        time.sleep(self._protocol.idle_s)
        return power.summary(sampler.stop(), sampler.source)

    @staticmethod
    def _figures(runs: list[Timed]) -> dict[str, Any]:
        """The samples by run; what they amount to is computed where the report is made."""
        return {"runs_ms": [timed.times.compute_ms for timed in runs]}


def _energy(samples: list[power.Sample], source: str, latency_ms: float) -> float | None:
    """Joule a frame: mean power of the module while it ran, times the latency. The idle part is in it."""
    found = power.summary(samples, source)
    return found["module_w"] * latency_ms / 1000 if found and found["module_w"] is not None else None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        name = os.path.basename(path)
        raise Fault("truncated_json", f"{name}: trtexec passed and did not write it", what=name) from None
