"""Latency of a variant from boards: each module measured once, the network put together from them.

What a worker has measured is in the study's log, and all others find it there. A module that two workers want at
once is measured by one of them; the other waits for it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.config import load_config, stable_hash, to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.devices.link.faults import DeviceFault, Verdict
from bevlite.devices.link.waiting import Clock
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError, ConfigError
from bevlite.latency.device import DeviceConfig
from bevlite.latency.onnx.graph import strip_weights
from bevlite.latency.onnx.identity import module_identity
from bevlite.locks import FileLock
from bevlite.tensorrt import Form, form_for, module_precision
from search.latency.candidate import Candidate, ModuleFile
from search.latency.choice import DeviceChoice
from search.latency.log import LOG, Entry, MeasurementLog, NoBoard, NoLatency, Scope
from search.latency.pool import Boards, Place, open_boards, place_of_boards
from search.latency.predicted import LatencySource
from search.latency.waiting import Patience
from search.terminal import make_console, speaker

if TYPE_CHECKING:  # imports torch
    from bevlite.export.graph.graphs import GraphStore
    from bevlite.variant import Variant


class BoardLatency:
    """Measures variants on the boards of a search, or replays the log of another study."""

    def __init__(
        self, device: DeviceConfig, choice: DeviceChoice, data: DataConfig, folder: Path, clock: Clock | None = None
    ) -> None:
        wait_s = choice.wait_s if choice.unmeasured == "fail" else 0.0
        self._patience = Patience(wait_s, _announce, clock or Clock())
        self._device, self._choice, self._data, self._folder = device, choice, data, folder
        replayed = Path(choice.replay) if choice.replay is not None else None
        self._log = MeasurementLog(replayed or folder / LOG)
        self._boards: Boards | None = None
        self._graphs: GraphStore | None = None
        self._place: Place | None = None
        self._looked_at = False

    def __getstate__(self) -> dict[str, Any]:
        """For another process: with connections of its own."""
        return self.__dict__ | {"_boards": None, "_graphs": None, "_looked_at": False}

    def __call__(self, variant: Variant) -> LatencyReport:
        """The report, put together from its modules.

        Raises:
            NoLatency: no board answers and predictions are not allowed, or the log to replay lacks a measurement.
            BevliteError: the variant cannot be exported, built or measured.
        """
        try:
            return self._composed(variant)
        except NoBoard as error:
            if self._choice.unmeasured != "predict":
                raise
            return self._predicted(variant, str(error))

    def whole(self, variant: Variant) -> LatencyReport | None:
        """The network measured as one engine; None when no board answers and predictions are allowed instead.

        Raises:
            NoLatency, BevliteError: as for the modules.
        """
        try:
            place, variant = self._conditions(), self._planned(variant)
            identity = stable_hash({"whole": list(self._identities(variant, place).values())}, length=16)
            with Candidate(variant, self._data, self._form(variant, place), whole=True) as candidate:
                return self._measured("whole", identity, "network", variant, candidate, place).report
        except NoBoard as error:
            if self._choice.unmeasured != "predict":
                raise
            _announce(f"not measured as a whole: {error}")
            return None

    @property
    def tensorrt(self) -> str:
        """The version that the boards build with, as the study was begun (raises NoLatency)."""
        return self._conditions().tensorrt

    def close(self) -> None:
        """End the connections."""
        if self._boards is not None:
            self._boards.pool.close()
            self._boards = None

    def _composed(self, variant: Variant) -> LatencyReport:
        place, variant = self._conditions(), self._planned(variant)
        identities = self._identities(variant, place)
        with Candidate(variant, self._data, self._form(variant, place)) as candidate:
            entries = [
                self._measured("module", identity, name, variant, candidate, place)
                for name, identity in identities.items()
            ]
        return composed([entry.report for entry in entries], _steps(variant))

    def _identities(self, variant: Variant, place: Place) -> dict[str, str]:
        """Identity of every module under the conditions, from its graph alone."""
        from bevlite.export.graph.graphs import GraphStore, module_graphs  # imports torch

        if self._graphs is None:
            self._graphs = GraphStore(self._folder / "graphs")
        precision, form = variant.precision, self._form(variant, place)
        return {
            module.name: module_identity(
                self._graphs(module, form), module_precision(precision, module.name), place.where
            )
            for module in module_graphs(variant)
        }

    def _measured(
        self, scope: Scope, identity: str, module: str, variant: Variant, candidate: Candidate, place: Place
    ) -> Entry:
        """From the log, or measured now."""
        found = self._log.find(scope, identity)
        if found is not None:
            return found
        if self._choice.replay is not None:
            what = f"{scope} '{module}' ({identity}, {place.where}) of variant {variant.hash}"
            raise NoLatency(f"{self._log.path}: found no measurement of {what}; accepted: a log that holds it")
        with FileLock(self._folder / "locks" / f"{identity}.lock"):
            found = self._log.find(scope, identity)
            if found is None:
                found = self._measure(scope, identity, module, variant, candidate.module(module), place)
            return found

    def _measure(
        self, scope: Scope, identity: str, module: str, variant: Variant, file: ModuleFile, place: Place
    ) -> Entry:
        precision = module_precision(variant.precision, module)
        self._look(place)
        began, start = time.time(), time.monotonic()
        report = self._on_a_board(module, file, precision)
        seconds = time.monotonic() - start
        self._check(report, file.path, precision, place)
        entry = Entry(
            scope=scope,
            identity=identity,
            module=module,
            where=place.where,
            tensorrt=place.tensorrt,
            precision=precision,
            variant=variant.hash,
            graph=self._keep_graph(identity, file.path),
            worker=f"{platform.node()}:{os.getpid()}",
            began=round(began, 3),
            seconds=round(seconds, 3),
            report=report.model_copy(update={"notes": (*report.notes, file.note)}),
        )
        self._log.append(entry)
        return entry

    def _on_a_board(self, module: str, file: ModuleFile, precision: str) -> LatencyReport:
        """On whichever board is free; boards that are away are waited for (raises NoBoard, DeviceFault)."""

        def attempt() -> LatencyReport:
            try:
                return self._pool().pool.measure({module: file.path}, (), precision, inputs={module: file.inputs})
            except DeviceFault as fault:
                if fault.verdict not in (Verdict.WAIT, Verdict.MEND):
                    raise
                passes = fault.verdict is Verdict.WAIT
                raise NoBoard(f"no board can measure: {fault}", passes=passes) from None

        return self._patience.until_answered(attempt)

    def _conditions(self) -> Place:
        """The conditions of the study: those of its first measurements, or now of the boards."""
        if self._place is None:
            self._place = self._known_place()
        return self._place

    def _known_place(self) -> Place:
        if self._choice.replay is not None:
            return place_of_log(self._log)
        file = self._folder / "conditions.yaml"
        with FileLock(self._folder / "locks" / "conditions.lock"):
            if not file.is_file():
                write_atomic(file, to_yaml(self._place_of_boards()))
            return load_config(file, Place)

    def _place_of_boards(self) -> Place:
        return self._patience.until_answered(lambda: place_of_boards(self._pool()))

    def _look(self, place: Place) -> None:
        """Once, before anything is measured: whether the boards are still as the study was begun (raises NoLatency)."""
        if self._looked_at:
            return
        with contextlib.suppress(NoBoard):  # the measurement itself waits for them
            found = place_of_boards(self._pool())
            if found != place:
                raise NoLatency(
                    f"device.boards: found {found.where}; accepted: what the study was begun with ({place.where}), "
                    "or a new --out"
                )
        self._looked_at = True

    def _check(self, report: LatencyReport, file: Path, precision: str, place: Place) -> None:
        """Whether the board was in the conditions that the study was begun under (raises NoLatency)."""
        (row,) = report.modules
        if row.identity != module_identity(file, precision, place.where):
            found = report.conditions
            raise NoLatency(
                f"{report.device}: found {found.module}, {found.power_mode}, TensorRT {found.tensorrt}, "
                f"{report.kind}; accepted: what the study was begun with ({place.where}), or a new --out"
            )

    def _keep_graph(self, identity: str, file: Path) -> str:
        import onnx

        name = f"graphs/{identity}.onnx"
        write_atomic(self._folder / name, strip_weights(onnx.load(file)).SerializeToString())
        return name

    def _predicted(self, variant: Variant, reason: str) -> LatencyReport:
        """What the model says of the engines alone, as measurements do not hold the steps around them either."""
        _announce(f"{reason}: PREDICTED instead, as device.unmeasured allows")
        source = LatencySource(self._device, self._choice, self._folder / "predicted", steps=False)
        return source(variant)

    def _planned(self, variant: Variant) -> Variant:
        return variant.with_precision(self._choice.precision or "")

    def _form(self, variant: Variant, place: Place) -> Form:
        return form_for(place.tensorrt, variant.precision)

    def _pool(self) -> Boards:
        if self._boards is None:
            try:
                self._boards = open_boards(self._choice.boards, self._choice.power_mode)
            except ConfigError as error:  # no trial's fault: it must not fail one after the other
                raise NoLatency(str(error)) from None
        return self._boards


def composed(reports: Sequence[LatencyReport], missing: Sequence[str]) -> LatencyReport:
    """One report from those of modules that were measured apart, under the same conditions.

    Ends of intervals are summed, as if all errors went the same way.
    """
    first, rows = reports[0], [row for report in reports for row in report.modules]
    kinds = {report.kind for report in reports}
    if len(kinds) > 1:
        raise BevliteError(f"latency: found {' and '.join(sorted(kinds))} modules; accepted: all of one kind")
    devices = dict.fromkeys(report.device for report in reports)
    notes = dict.fromkeys(note for report in reports for note in report.notes)
    return first.model_copy(
        update={
            "device": ", ".join(devices),
            "modules": tuple(rows),
            "total_ms": sum(row.latency_ms for row in rows),
            "lower_ms": sum(row.lower_ms for row in rows),
            "upper_ms": sum(row.upper_ms for row in rows),
            "notes": (*notes, f"put together from {len(rows)} modules that were measured apart"),
            "missing": tuple(missing),
        }
    )


def _steps(variant: Variant) -> list[str]:
    from bevlite.export.of_variant import steps_of  # imports torch

    return [step.name for step in steps_of(variant)]


def place_of_log(log: MeasurementLog) -> Place:
    """The conditions of a log to replay (raises NoLatency when it is empty or mixes several)."""
    places: Mapping[str, str] = {entry.where: entry.tensorrt for entry in log.entries}
    if len(places) != 1:
        found = f"measurements under {', '.join(places)}" if places else "no measurements"
        raise NoLatency(f"{log.path}: found {found}; accepted: a log of a study ({LOG}), all under the same conditions")
    return next(Place(where=where, tensorrt=tensorrt) for where, tensorrt in places.items())


def _announce(text: str) -> None:
    speaker(make_console())(text)
