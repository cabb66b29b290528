"""A device that an agent answers for: a Jetson over ssh, or this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.contract import Health, Inputs, Precision, Problem
from bevlite.devices.inference import Blobs, Chain, Inference
from bevlite.devices.link.faults import BoardRebooted, DeviceFault
from bevlite.devices.link.orders import Order, network_of
from bevlite.devices.link.session import Session
from bevlite.devices.link.transport import Connection
from bevlite.devices.link.waiting import Attempts, Clock
from bevlite.devices.report.frame_results import SampleFrames, of_answer
from bevlite.devices.report.from_agent import conditions_of, measured_of, report_of
from bevlite.devices.report.latency import Kind, LatencyReport
from bevlite.devices.report.timing import EngineFacts
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.devices.settings import BuildSettings, Limits
from bevlite.devices.state import Feeds
from bevlite.latency.pipeline import PipelineStep

T = TypeVar("T")


class BoardDevice:
    """Builds and measures on a board through its agent. Keeps one connection, and the lease while it measures."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        protocol: Protocol,
        limits: Limits,
        build: BuildSettings,
        tensorrt_root: str | None = None,
        power_mode: str | None = None,
        may_sudo: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name = name
        self.protocol = protocol
        self.build = build
        self.clock = Clock()
        self._connect, self._limits = connect, limits
        self._root, self.power_mode, self._may_sudo, self._say = tensorrt_root, power_mode, may_sudo, say
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._session: Session | None = None
        self._identity: dict[str, Any] = {}
        self._events: list[str] = []
        self._sent: set[str] = set()

    @property
    def kind(self) -> Kind:
        """Emulated as soon as the board has said so."""
        return "emulated" if self._identity.get("emulated") else "measured"

    def close(self) -> None:
        """End the connection, and with it everything on the board."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> BoardDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> Health:
        """Identity, conditions and everything that stands in the way; a fault becomes a problem."""
        try:
            found = self._attempt(lambda session: session.conditions(dataclasses.asdict(self.protocol)))
        except DeviceFault as fault:
            return Health(self._identity, problems=(Problem(fault.code, str(fault), fault.fix),), emulated=self._fake)
        problems = [Problem(row["code"], row["message"], row["fix"]) for row in found["problems"]]
        mode = found["conditions"]["power_mode"]
        if self.power_mode and mode != self.power_mode:
            number = found["modes"].get(self.power_mode, "?")
            message = f"power mode {mode}, not {self.power_mode}"
            problems.append(Problem("power_mode", message, f"sudo nvpmodel -m {number}"))
        return Health(self._identity, found["conditions"], tuple(problems), self._fake)

    def tensorrt(self) -> str:
        """The version that it builds with (raises DeviceFault)."""
        self._attempt(lambda session: None)
        return str(self._identity["tensorrt"])

    def acquire(self, wait_s: float) -> None:
        """Take the board's lease (raises DeviceFault, LeaseHeld among)."""
        self._attempt(lambda session: session.lease(self._owner, wait_s, self._limits.lease_ttl_s, self._say))

    def release(self) -> None:
        """Give the lease back; a lost connection has done so already."""
        if self._session is not None:
            with contextlib.suppress(DeviceFault):
                self._session.release()

    def measure(
        self,
        modules: Mapping[str, Path],
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
        *,
        inputs: Mapping[str, Inputs] | None = None,
    ) -> LatencyReport:
        """Send every module, then build and measure them under one lease (raises DeviceFault or BevliteError)."""
        order = self.order(modules, precision, inputs=inputs)
        self.send(order)
        return self.run(order, pipeline)

    def order(
        self, modules: Mapping[str, Path], precision: Precision = "fp16", *, inputs: Mapping[str, Inputs] | None = None
    ) -> Order:
        """What a measurement needs, read and hashed; the board is not asked (raises BevliteError)."""
        return Order.of(self.name, self.build, modules, precision, inputs)

    def send(self, order: Order) -> None:
        """Send the files of a measurement, without the lease: others measure meanwhile (raises DeviceFault)."""
        self._events = []
        self._say(f"{', '.join(order.modules)}: copy")
        self._attempt(lambda session: session.upload(order.files))

    def run(self, order: Order, pipeline: Iterable[PipelineStep] = ()) -> LatencyReport:
        """Build and measure what was sent, under one lease (raises DeviceFault)."""
        rows, answer = {}, {}
        try:
            for name, job in order.jobs.items():
                answer = self._work("measure", name, order.files, **job)
                rows[name] = measured_of(answer, self.protocol.half_width)
        finally:
            self.release()
        notes = [*dict.fromkeys(self._events), *order.notes]
        return report_of(self.name, order.modules, rows, conditions_of(answer), order.precision, pipeline, notes)

    def infer(
        self,
        modules: Mapping[str, Path],
        frames: Sequence[Inputs],
        outputs: Sequence[str],
        precision: Precision = "fp16",
        *,
        feeds: Feeds | None = None,
        starts: Collection[int] = (),
    ) -> Inference:
        """Run frames through a network without borders or state leaving the board (see `InferringDevice`).

        Raises:
            DeviceFault: the board cannot build or run a module.
            BevliteError: an input, output or state that the modules do not have.
        """
        chain = Chain(modules, feeds)
        chain.require_outputs(outputs)
        blobs = Blobs.of([chain.frame(frame) for frame in frames])
        files, network = network_of(self.name, self.build, chain, blobs, starts, precision)
        try:
            answer = self._work("infer", "engines", files, keep=list(outputs), **network)
        finally:
            self.release()
        found = self._attempt(lambda session: self._fetch_frames(session, answer["frames"], set(blobs.files)))
        return Inference(
            found,
            {name: EngineFacts.model_validate(facts) for name, facts in answer["engines"].items()},
            answer["runner"],
            answer["runner_note"],
            answer["memory_mb"],
            answer["power_mode"],
        )

    def time_frames(
        self,
        modules: Mapping[str, Path],
        given: SampleFrames,
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
    ) -> WholeFrames:
        """Time sample frames through all modules in one process on the board (raises DeviceFault or BevliteError)."""
        chain = Chain(modules, given.feeds)
        blobs = Blobs.of([chain.frame(frame) for frame in given.frames])
        files, network = network_of(self.name, self.build, chain, blobs, given.starts, precision)
        self._events = []
        try:
            answer = self._work("time_frames", "frames", files, outputs=chain.results, **network)
        finally:
            self.release()
        with contextlib.suppress(DeviceFault):  # what is left on the board costs its disk, no figure
            self._attempt(lambda session: session.drop(blobs.files))
        found = of_answer(answer, list(modules), given, tuple(pipeline), self.protocol)
        return found.model_copy(update={"notes": (*dict.fromkeys(self._events), *found.notes)})

    def built_engines(self, modules: Sequence[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], bytes]]:
        """The engines of modules (`name`, `onnx`, `build`) that the board has built: what is known of each, its bytes.

        Raises:
            DeviceFault: the board cannot be reached.
        """

        def fetch(session: Session) -> dict[str, tuple[dict[str, Any], bytes]]:
            rows = session.engines(list(modules))
            found = {name: (row, session.fetch_bytes(row, f"engine of {name}")) for name, row in rows.items()}
            session.drop(row["sha256"] for row in rows.values())
            return found

        return self._attempt(fetch)

    def _fetch_frames(
        self, session: Session, rows: Sequence[Sequence[Mapping[str, Any]]], sent: set[str]
    ) -> tuple[dict[str, np.ndarray], ...]:
        """The tensors of all frames. What was sent for the frames before these is deleted on the board."""
        found = tuple({row["name"]: session.fetch(row) for row in frame} for frame in rows)
        session.drop({row["sha256"] for frame in rows for row in frame} | (self._sent - sent))
        self._sent = sent
        return found

    @property
    def _fake(self) -> bool:
        return bool(self._identity.get("emulated"))

    def _work(self, operation: str, name: str, files: Mapping[str, Path | bytes], **values: Any) -> dict[str, Any]:
        job = uuid.uuid4().hex

        def work(session: Session) -> dict[str, Any]:
            session.upload(files)
            session.lease(self._owner, self._limits.lease_wait_s, self._limits.lease_ttl_s, self._say)
            if self._may_sudo:
                for done in session.prepare(self.power_mode, True):
                    self._say(f"{name}: {done}")
            answer = session.job(
                operation,
                lambda text: self._say(f"{name}: {text}"),
                job=job,
                protocol=dataclasses.asdict(self.protocol),
                **values,
            )
            with contextlib.suppress(DeviceFault):  # the result is here: a connection lost now must not cost it
                session.forget(job)
            return answer

        return self._attempt(work)

    def _attempt(self, work: Callable[[Session], T]) -> T:
        """Do it, again where the fault allows; a board that is lost meanwhile is waited for (`link.waiting`)."""
        attempts = Attempts(self._limits, self.clock)
        was_there = self._session is not None
        while True:
            try:
                return work(self._open())
            except DeviceFault as fault:
                was_there = was_there or self._session is not None
                if fault.ends_connection:
                    self.close()
                if not attempts.again(fault, was_there):
                    raise
                self._events.append(f"tried again after {fault.code}: {fault}")
                self._say(f"{fault}; trying again")
                attempts.pause(fault)

    def _open(self) -> Session:
        """The session, connected if need be (raises DeviceFault, BoardRebooted among)."""
        if self._session is not None:
            return self._session
        session = Session(self._connect(), self._root)
        try:
            found = session.identify()
        except BaseException:
            session.close()
            raise
        before, self._identity, self._session = self._identity, found, session
        if before and before["boot_id"] != found["boot_id"]:
            raise BoardRebooted(self.name, "the board was booted since the work began")
        return session
