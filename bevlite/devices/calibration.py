"""Latency reports of devices, and the measurement log of a search, as measurements for a calibration.

A report does not hold the graphs that were measured. They are found by their identity: beside the report, in the
`onnx` folder of its run, in the folders that are given, or where a log says. Weights do not count in an identity, so
a graph without weights serves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bevlite.config import validate
from bevlite.devices.report.from_agent import place_of
from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.errors import BevliteError
from bevlite.latency.calibration.fitting import Measurement
from bevlite.latency.calibration.measured import measurement_of, read_reports
from bevlite.latency.device import DeviceConfig
from bevlite.latency.onnx.identity import module_identity
from bevlite.latency.predictor import PRECISIONS

LOG_SUFFIX = ".jsonl"
MODE_PREFIX = "MODE_"
"""What nvpmodel writes before the watts of a mode; the device files here leave it out."""


@dataclass(frozen=True)
class Evidence:
    """Measurements for a calibration; `emulated` when an emulated board answered them."""

    measurements: list[Measurement]
    emulated: bool = False


def read_evidence(paths: Sequence[Path], device: DeviceConfig, graphs: Sequence[Path] = ()) -> Evidence:
    """Measurements of CSV files, latency reports (JSON) and measurement logs (JSON lines).

    Args:
        paths: the files, told apart by their suffix.
        device: the board that they are for.
        graphs: ONNX files, or folders of them, to find the measured modules in.

    Raises:
        BevliteError: a file or graph is missing, a report is predicted, or emulated and measured ones are mixed.
    """
    tables = [path for path in paths if path.suffix not in (".json", LOG_SUFFIX)]
    found = read_reports(tables, device) if tables else []
    kinds: dict[str, Path] = {"measured": tables[0]} if tables else {}
    for path in paths:
        if path not in tables:
            for report, graph in _reports(path):
                kinds.setdefault(report.kind, path)
                places = [graph] if graph is not None else [*graphs, path.parent, path.parent.parent / "onnx"]
                found += _measurements(report, path, list(_files(places)), device)
    if "predicted" in kinds:
        raise BevliteError(f"{kinds['predicted']}: found a predicted report; accepted: measured ones")
    if len(kinds) > 1:
        raise BevliteError(f"{kinds['emulated']}: found emulated beside measured latencies; accepted: one kind alone")
    if not found:
        raise BevliteError(f"{', '.join(map(str, paths))}: found no measurement; accepted: at least one")
    return Evidence(found, "emulated" in kinds)


def _reports(path: Path) -> Iterator[tuple[LatencyReport, Path | None]]:
    """Reports of a file, each with its graph where the file says which."""
    if path.suffix != LOG_SUFFIX:
        yield LatencyReport.read(path), None
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BevliteError(f"{path}: cannot be read ({error}); accepted: a measurement log of a search") from None
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if row is None:
            continue  # cut off when its writer was killed
        if not isinstance(row.get("report"), dict) or not isinstance(row.get("graph"), str):
            raise BevliteError(f"{path}: line {number}: found no report and graph; accepted: a log of a search")
        yield validate(row["report"], LatencyReport, f"{path}: line {number}"), path.parent / row["graph"]


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(place.rglob("*.onnx"))
        elif place.is_file():
            yield place


def _measurements(
    report: LatencyReport, path: Path, files: Sequence[Path], device: DeviceConfig
) -> Iterator[Measurement]:
    conditions = report.conditions
    mode = (conditions.power_mode or "").removeprefix(MODE_PREFIX) or None
    for row in report.modules:
        file, precision = _graph(row, report, files, path)
        yield measurement_of(
            file,
            device,
            f"{path}: {row.name}",
            latency_ms=row.latency_ms,
            precision=precision,
            tensorrt=conditions.tensorrt or "",
            cuda_graph=conditions.cuda_graph is not False,
            power_mode=mode,
            family=row.name,
            network=row.identity,
        )


def _graph(row: ModuleRow, report: LatencyReport, files: Sequence[Path], path: Path) -> tuple[Path, str]:
    """The file that was measured, and the precision that its identity holds."""
    place = place_of(report.device, report.conditions)
    words = PRECISIONS if report.precision == "mixed" else (report.precision,)
    for file in files:
        for precision in words:
            if module_identity(file, precision, place) == row.identity:
                return file, precision
    raise BevliteError(
        f"{path}: {row.name}: found its graph ({row.identity}) in none of {len(files)} ONNX files; accepted: the file "
        "beside the report, in the run, or by --graphs"
    )
