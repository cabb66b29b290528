"""Several boards as one device: whoever is free measures next, a board that fails rests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Health, Inputs, Precision
from bevlite.devices.link.faults import DeviceFault, LeaseHeld, Verdict
from bevlite.devices.link.orders import Order
from bevlite.devices.link.waiting import SLICE_S, Clock, Waiting
from bevlite.devices.report.latency import Kind, LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.pipeline import PipelineStep
from bevlite.tensorrt import oldest_first


class BoardPool:
    """Boards that answer alike. Workers of several processes share them through the leases on the boards."""

    def __init__(
        self, name: str, boards: Sequence[BoardDevice], *, wait_s: float = 3600.0, rest_s: float = 60.0
    ) -> None:
        if not boards:
            raise BevliteError(f"{name}: devices: found none; accepted: at least one board")
        self.name = name
        self._boards, self._wait_s, self._rest_s = list(boards), wait_s, rest_s
        self._resting: dict[str, tuple[Waiting, DeviceFault]] = {}
        self.clock = Clock()

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
        return oldest_first(known)

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
        sent: dict[str, Order] = {}
        patience = Waiting(self._wait_s, self.clock)
        wait_s = 0.0  # the first time round only whether one is free
        failed: dict[str, DeviceFault] = {}
        while True:
            awake = [board for board in self._awake() if board.name not in failed]
            if not awake:
                raise self._verdict(failed)
            for board in awake:
                try:
                    if board.name not in sent:
                        order = board.order(modules, precision, inputs=inputs)
                        board.send(order)
                        sent[board.name] = order
                    board.acquire(wait_s)
                    return board.run(sent[board.name], steps)
                except LeaseHeld:
                    continue
                except DeviceFault as fault:
                    if fault.verdict is Verdict.REJECT:
                        raise
                    failed[board.name] = fault
                    self._resting[board.name] = (Waiting(self._rest_s, self.clock), fault)
            if patience.over:
                raise LeaseHeld(self.name, f"no board was free for {self._wait_s:.0f} s")
            wait_s = SLICE_S

    def _awake(self) -> list[BoardDevice]:
        """Boards that do not rest, in any order: workers who ask at once do not all ask the same one first."""
        self._resting = {name: rest for name, rest in self._resting.items() if not rest[0].over}
        free = [board for board in self._boards if board.name not in self._resting]
        return random.sample(free, len(free))

    def _verdict(self, failed: Mapping[str, DeviceFault]) -> DeviceFault:
        """Of the faults of boards that failed now, or rest since they did, the one that says most."""
        resting = {name: fault for name, (_, fault) in self._resting.items()}
        faults = list((resting | dict(failed)).values())
        said = {verdict: [fault for fault in faults if fault.verdict is verdict] for verdict in Verdict}
        return (said[Verdict.UNCLEAR] or said[Verdict.WAIT] or faults)[-1]
