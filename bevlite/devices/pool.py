"""Several boards as one device: whoever is free measures next, a board that fails rests."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Health, Inputs, Precision
from bevlite.devices.link.faults import (
    AuthRefused,
    BadRequest,
    ClockChanged,
    ClockJump,
    ClocksUnlocked,
    ConnectionLost,
    DeviceFault,
    DiskFailed,
    DiskFull,
    DlaUnavailable,
    HostKeyChanged,
    LeaseHeld,
    LeaseLost,
    NanOutputs,
    NoGpu,
    NvpmodelReboot,
    OtherGpuProcess,
    OutOfMemory,
    ProgramMissing,
    PythonMissing,
    SettingsFailed,
    SudoPassword,
    Throttling,
    TooHot,
    TrtexecFailed,
    TrtexecMissing,
    UnknownVersion,
    Unreachable,
    UnsupportedOperator,
    WrongPrecision,
)
from bevlite.devices.link.orders import Plan
from bevlite.devices.report.latency import Kind, LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.pipeline import PipelineStep

OF_THE_WORK = (BadRequest, DlaUnavailable, NanOutputs, OutOfMemory, TrtexecFailed, UnsupportedOperator, WrongPrecision)
"""Faults that another board would answer with as well: the work is at fault, not the board."""
PASSING = (
    ClockChanged, ClockJump, ConnectionLost, LeaseHeld, LeaseLost, OtherGpuProcess, Throttling, TooHot, Unreachable,
)  # fmt: skip
"""Faults of a board that may be gone after a while, without anybody's help."""
BLOCKED = (
    AuthRefused, ClocksUnlocked, DiskFailed, DiskFull, HostKeyChanged, NoGpu, NvpmodelReboot, ProgramMissing,
    PythonMissing, SettingsFailed, SudoPassword, TrtexecMissing, UnknownVersion,
)  # fmt: skip
"""Faults of a board that somebody has to mend. What is in none of the three may be the work's fault or the board's."""
POLL_S = 0.1
SLICE_S = 1.0
"""How long a worker waits at one busy board before it looks at the others. It waits on the board itself, where
looking costs nothing, and is there when the board gets free."""


@dataclass(frozen=True)
class Work:
    """What one call of `measure` takes."""

    modules: Mapping[str, Path]
    precision: Precision = "fp16"
    pipeline: Sequence[PipelineStep] = ()
    inputs: Mapping[str, Inputs] | None = None


@dataclass
class Outcome:
    """What became of one piece of work: a report, or why there is none. `device` is the board that had it last."""

    index: int
    device: str = ""
    report: LatencyReport | None = None
    error: BevliteError | None = None
    refused_by: list[str] = field(default_factory=list)


class BoardPool:
    """Boards that answer alike. Workers of several processes share them through the leases on the boards."""

    def __init__(
        self, name: str, boards: Sequence[BoardDevice], *, wait_s: float = 3600.0, rest_s: float = 60.0
    ) -> None:
        if not boards:
            raise BevliteError(f"{name}: devices: found none; accepted: at least one board")
        self.name = name
        self._boards, self._wait_s, self._rest_s = list(boards), wait_s, rest_s
        self._resting: dict[str, tuple[float, DeviceFault]] = {}

    @property
    def kind(self) -> Kind:
        """Emulated if any board is: a pool is as true as its least true board."""
        return "emulated" if any(board.kind == "emulated" for board in self._boards) else "measured"

    def close(self) -> None:
        """End all connections."""
        for board in self._boards:
            board.close()

    def check(self) -> Health:
        """Every board by name, and all their problems."""
        found = {board.name: board.check() for board in self._boards}
        return Health(
            {name: dict(health.identity) for name, health in found.items()},
            {name: dict(health.conditions) for name, health in found.items()},
            tuple(problem for health in found.values() for problem in health.problems),
            any(health.emulated for health in found.values()),
        )

    def tensorrt(self) -> dict[str, str]:
        """The version of every board that answers, by name, the oldest first."""
        found = {name: identity.get("tensorrt") for name, identity in self.check().identity.items()}
        known = {name: str(version) for name, version in found.items() if version}
        return dict(sorted(known.items(), key=lambda item: tuple(int(part) for part in item[1].split("."))))

    def measure(
        self,
        modules: Mapping[str, Path],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Measure on the first board that is free.

        A board that is busy gets the files meanwhile. One that fails the work rests for a while, and another one takes
        over.

        Raises:
            BevliteError: the work is at fault, no board was free in time, or every board failed; of their faults one
                that may be the work's, else one that may pass, else the last.
        """
        steps = tuple(pipeline)
        sent: dict[str, Plan] = {}
        deadline = time.monotonic() + self._wait_s
        wait_s = 0.0  # the first time round only whether one is free
        failed: dict[str, DeviceFault] = {}
        while True:
            awake = [board for board in self._awake() if board.name not in failed]
            if not awake:
                raise self._verdict(failed)
            for board in awake:
                try:
                    if board.name not in sent:
                        plan = board.plan(modules, precision, inputs=inputs)
                        board.send(plan)
                        sent[board.name] = plan
                    board.acquire(wait_s)
                    return board.run(sent[board.name], steps)
                except LeaseHeld:
                    continue
                except OF_THE_WORK:
                    raise
                except DeviceFault as fault:
                    failed[board.name] = fault
                    self._resting[board.name] = (time.monotonic() + self._rest_s, fault)
            if time.monotonic() > deadline:
                raise LeaseHeld(self.name, f"no board was free for {self._wait_s:.0f} s")
            wait_s = SLICE_S

    def _awake(self) -> list[BoardDevice]:
        """Boards that do not rest, in any order: workers who ask at once do not all ask the same one first."""
        now = time.monotonic()
        self._resting = {name: rest for name, rest in self._resting.items() if rest[0] > now}
        free = [board for board in self._boards if board.name not in self._resting]
        return random.sample(free, len(free))

    def _verdict(self, failed: Mapping[str, DeviceFault]) -> DeviceFault:
        """Of the faults of boards that failed now, or rest since they did, the one that says most."""
        resting = {name: fault for name, (_, fault) in self._resting.items()}
        faults = list((resting | dict(failed)).values())
        suspect = [fault for fault in faults if not isinstance(fault, PASSING + BLOCKED)]
        passing = [fault for fault in faults if isinstance(fault, PASSING)]
        return (suspect or passing or faults)[-1]

    def measure_all(self, work: Sequence[Work], stop: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
        """Measure many, one worker a board; outcomes come as they are done.

        Work that a board fails goes to another one, and that board rests for a while; it is an error only when every
        board has refused it.
        """
        waiting: queue.Queue[Outcome] = queue.Queue()
        done: queue.Queue[Outcome] = queue.Queue()
        ended = threading.Event()
        for index in range(len(work)):
            waiting.put(Outcome(index))
        arguments = (work, waiting, done, ended)
        threads = [threading.Thread(target=self._serve, args=(b, *arguments), daemon=True) for b in self._boards]
        for thread in threads:
            thread.start()
        try:
            for _ in work:
                while True:
                    try:
                        outcome = done.get(timeout=POLL_S)
                        break
                    except queue.Empty:
                        if stop():
                            return
                yield outcome
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _serve(
        self,
        board: BoardDevice,
        work: Sequence[Work],
        waiting: queue.Queue[Outcome],
        done: queue.Queue[Outcome],
        ended: threading.Event,
    ) -> None:
        while not ended.is_set():
            try:
                outcome = waiting.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if board.name in outcome.refused_by:
                waiting.put(outcome)
                ended.wait(POLL_S)
                continue
            item = work[outcome.index]
            outcome.device = board.name
            try:
                outcome.report = board.measure(item.modules, item.pipeline, item.precision, inputs=item.inputs)
                outcome.error = None
            except BevliteError as error:
                outcome.error = error
                outcome.refused_by.append(board.name)
                of_the_board = isinstance(error, DeviceFault) and not isinstance(error, OF_THE_WORK)
                if of_the_board and len(outcome.refused_by) < len(self._boards):
                    waiting.put(outcome)
                    ended.wait(self._rest_s)
                    continue
            done.put(outcome)
