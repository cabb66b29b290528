"""What a package promises: figures with where they come from, and limits, as a deploy or a prediction left them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Device
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.export.of_run import request_of_run
from bevlite.export.request import Request
from bevlite.run_folder import Run

FIGURES = (("latency_p50_ms", "ms"), ("latency_p99_ms", "ms"), ("power_w", "W"), ("memory_mb", "MB"))


@dataclass(frozen=True)
class Promise:
    """Figures by name, limits, the board that they are of, and how they were found.

    kind: measured, emulated or predicted. figures: each with its unit, its value, and `lower` and `upper` where it is
    predicted. protocol: of the measurement; empty for a prediction.
    """

    kind: str
    device: str
    board: dict[str, Any]
    figures: dict[str, dict[str, Any]]
    limits: dict[str, float]
    protocol: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    predictor: str | None = None


def promise_of(run: Run, device: Device, limits: dict[str, float]) -> tuple[Promise, Request]:
    """What is promised on a device, and the modules that it is promised of.

    A board must have been deployed to: its report says what was measured. `limits` replace those of the deploy.

    Raises:
        BevliteError: no deploy to that board, one of other modules, or a device that is neither board nor predicted.
    """
    if isinstance(device, BoardDevice):
        return _deployed(run, device.name, limits)
    if isinstance(device, PredictedDevice):
        return _predicted(run, device, limits)
    raise BevliteError(
        f"--device: found '{device.name}'; accepted: a board that the run was deployed to, or a predicted board"
    )


def _deployed(run: Run, device: str, limits: dict[str, float]) -> tuple[Promise, Request]:
    file = run.path / "deploy" / device / "report.json"
    wanted = f"accepted: a run after `bevlite deploy {run.path} --device {device}`"
    report = _read(file, wanted)
    board, latency = report.get("board") or {}, report.get("latency") or {}
    found = request_of_run(run, str(board.get("tensorrt")))
    whole = (latency.get("end_to_end") or {}).get("one_in_flight")
    if whole is None:
        raise BevliteError(f"{file}: holds no whole frames, of which a package promises; {wanted}")
    if any(row.get("drops") for row in [report.get("accuracy") or {}]):
        limits = {**_known({"drop": report["budgets"].get("drop")}), **limits}
    timing, power = whole["timing"], whole.get("power") or {}
    values = (timing["p50_ms"], timing["p99_ms"], power.get("module_w"), whole.get("memory_mb"))
    figures = {
        name: {"value": value, "unit": unit, "of": "whole frames, one in flight: copies, engines, copies"}
        for (name, unit), value in zip(FIGURES, values, strict=True)
        if value is not None
    }
    kind = "emulated" if report.get("emulated") else "measured"
    own = report["budgets"]
    kept = _known({name: own.get(name) for name in ("latency_ms", "fps", "power_w", "memory_mb")})
    protocol = latency["end_to_end"].get("protocol") or {}
    return Promise(kind, device, board, figures, {**kept, **limits}, protocol), found


def _predicted(run: Run, device: PredictedDevice, limits: dict[str, float]) -> tuple[Promise, Request]:
    found = request_of_run(run, device.tensorrt)
    report = device.measure(found.files, found.steps, found.precision)
    figure = {"value": report.total_ms, "lower": report.lower_ms, "upper": report.upper_ms, "unit": "ms"}
    figures = {"latency_p50_ms": {**figure, "of": "engines and the steps around them, one after the other"}}
    board = {"sku": device.name, "tensorrt": device.tensorrt, "power_mode": report.conditions.power_mode}
    notes = ("nothing was measured: power, memory and P99 are not promised", *report.notes)
    return Promise("predicted", device.name, board, figures, limits, notes=notes, predictor=report.predictor), found


def _known(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _read(file: Path, wanted: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BevliteError(f"{file}: no such file; {wanted}") from None
    except (OSError, ValueError) as error:
        raise BevliteError(f"{file}: cannot be read ({error}); {wanted}") from None
    if not isinstance(found, dict) or not isinstance(found.get("budgets"), dict):
        raise BevliteError(f"{file}: not the report of a deploy; {wanted}")
    return found
