"""The log of a study's measurements: one JSON line each, enough to run the study again without a board."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from bevlite.config import Config, validate
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError, ConfigError
from bevlite.locks import FileLock

LOG = "measurements.jsonl"
Scope = Literal["module", "whole"]


class NoLatency(BevliteError):
    """No latency can be had now, for whatever network: the trial stays open and the search ends."""


class NoBoard(NoLatency):
    """No board answers: where the user allows it, a prediction stands in. `passes` says whether waiting may help."""

    def __init__(self, message: str, *, passes: bool = True) -> None:
        super().__init__(message)
        self.passes = passes


class Entry(Config):
    """One measurement. `identity` is that of the module (`bevlite.latency.onnx.identity`) or of the whole network.

    `where` names the conditions that two figures must share: emulated or not, module, power mode, TensorRT. `graph`
    is the ONNX file without weights, relative to the log. `began` is seconds since 1970; `report` holds the samples.
    """

    scope: Scope
    identity: str
    module: str
    where: str
    tensorrt: str
    precision: str
    variant: str
    graph: str
    worker: str
    began: float
    seconds: float
    report: LatencyReport


class MeasurementLog:
    """A log that several processes append to and read. What one of them has written, the others find."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0
        self._known: dict[tuple[Scope, str], Entry] = {}

    @property
    def entries(self) -> list[Entry]:
        """All measurements, in the order in which they were made."""
        self._refresh()
        return list(self._known.values())

    def find(self, scope: Scope, identity: str) -> Entry | None:
        """The measurement of a module or network, if there is one."""
        if (scope, identity) not in self._known:
            self._refresh()
        return self._known.get((scope, identity))

    def append(self, entry: Entry) -> None:
        """Write a measurement, so that it survives a power cut (raises OSError)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry.model_dump(mode="json"), separators=(",", ":")).encode() + b"\n"
        with FileLock(self.path.with_suffix(".lock")), self.path.open("a+b") as stream:
            if stream.tell() and not self._ends_with_newline(stream.tell()):
                line = b"\n" + line  # the one before was cut off by a kill: it does not count
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def _ends_with_newline(self, size: int) -> bool:
        with self.path.open("rb") as stream:
            stream.seek(size - 1)
            return stream.read(1) == b"\n"

    def _refresh(self) -> None:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._read_to)
                content = stream.read()
        except FileNotFoundError:
            return
        whole, newline, _ = content.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        for line in whole.splitlines():
            entry = self._entry(line)
            if entry is not None:
                self._known.setdefault((entry.scope, entry.identity), entry)

    def _entry(self, line: bytes) -> Entry | None:
        try:
            data = json.loads(line)
        except ValueError:
            return None  # cut off by a kill: what it held is measured again
        if not isinstance(data, dict):
            return None
        try:
            return validate(data, Entry, str(self.path))
        except ConfigError as error:
            raise NoLatency(f"{error} (a log of another version?)") from None
