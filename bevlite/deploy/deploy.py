"""One command for the winner: check, export, build, verify, measure, compare with every limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bevlite.deploy.golden import golden_check
from bevlite.deploy.limits import drops, limits_of
from bevlite.deploy.steps import KeptSteps
from bevlite.deploy.whole_frames import SAMPLES, time_frames_of_run
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Health
from bevlite.devices.golden.golden import GoldenCheck
from bevlite.devices.inference import Chain
from bevlite.devices.link.faults import WrongPrecision, fault_of
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.deploy import Accuracy, Budgets, DeployReport, EngineVerdict, LimitRow, Prediction
from bevlite.devices.report.latency import LatencyReport
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.errors import BevliteError, ConfigError
from bevlite.evaluation.run import evaluate_run
from bevlite.export.of_run import inputs_of_run, request_of_run
from bevlite.export.request import Request
from bevlite.export.run import export_run
from bevlite.latency.device import find_device
from bevlite.reporting.deploy_page import write_deploy_page
from bevlite.reporting.page import data_set
from bevlite.run_folder import Run
from bevlite.tasks.contract import TASKS
from bevlite.tensorrt import DEFAULT_VERSION, version_key, without_patch

BOARD_FACTS = (
    "model", "sku", "jetpack", "l4t", "cuda", "driver", "tensorrt", "tensorrt_build", "dla_cores", "emulated"
)  # fmt: skip
SAME_AS = {"agx-orin-devkit": "agx-orin-64gb"}
"""Modules that are predicted by the device file of another: the developer kit has the clocks of the 64 GB module."""
UNFINISHED = "unfinished"


def deploy(
    path: Path,
    device: BoardDevice,
    budgets: Budgets,
    *,
    split: str | None = None,
    samples: int = SAMPLES,
    end_to_end: bool = True,
) -> DeployReport:
    """Do all of it, and write `deploy/<device>/report.json` and `report.html` in the run.

    Steps that an interrupted deploy finished are not done again; a finished one starts anew. Engines stay in the
    board's cache.

    Args:
        path: the run folder.
        device: a board.
        budgets: the limits.
        split: what accuracy is measured on, where a drop is limited; the validation split by default.
        samples: how many samples the whole frames are taken from.
        end_to_end: whether whole frames are timed; without them the latency is that of the sum of the engines.

    Raises:
        BevliteError: not a run, or a fault of the board; an engine in the wrong precision is no error but a verdict.
    """
    run = Run(path)
    run.variant()
    health = _reachable(device)
    found, notes = _modules(run, str(health.identity["tensorrt"]))
    folder = path / "deploy" / device.name
    board = {key: health.identity.get(key) for key in BOARD_FACTS}
    kept = KeptSteps(folder / UNFINISHED, _identity(device, found, board, health, samples))
    engine, latency = _engine(device, run, found, kept)
    if latency is not None and end_to_end:
        whole = kept.once(
            "end_to_end",
            WholeFrames,
            lambda: time_frames_of_run(device, run, found, samples),
            keep=lambda timed: not timed.why_not,  # what is missing on the board may be there the next time
        )
        latency = latency.with_whole_frames(whole)
    accuracy = None
    if budgets.drop is not None and engine.accurate:  # of an engine that computes something else nothing is learnt
        accuracy = kept.once("accuracy", Accuracy, lambda: _accuracy(run, device, split))
    prediction = _prediction(found, latency, str(board["sku"])) if latency is not None else None
    if latency is not None and prediction is None:
        notes.append(f"no prediction to compare with: configs/devices holds no {board['sku']}")
    report = DeployReport(
        run=str(path),
        device=device.name,
        data=_data(run),
        emulated=health.emulated,
        board=board | {"power_mode": latency.conditions.power_mode if latency else health.conditions.get("power_mode")},
        precision=found.precision,
        budgets=budgets,
        engine=engine,
        limits=_limits(budgets, latency, engine.golden, accuracy),
        latency=latency,
        prediction=prediction,
        accuracy=accuracy,
        steps=tuple(kept.said),
        notes=(
            *notes,
            *(latency.notes if latency else ()),
            *(engine.golden.notes if engine.golden else ()),
        ),
    )
    report.write(folder)
    write_deploy_page(folder / "report.html", report)
    kept.discard()
    return report


def _reachable(device: BoardDevice) -> Health:
    """The board, which must at least say what it builds with; its conditions are for the measurement to judge."""
    health = device.check()
    if "tensorrt" not in health.identity:
        first = health.problems[0]
        raise fault_of(first.code, device.name, first.message.removeprefix(f"{device.name}: "), {})
    return health


def _identity(
    device: BoardDevice, found: Request, board: Mapping[str, Any], health: Health, samples: int
) -> dict[str, Any]:
    """What the kept steps depend on."""
    return {
        "modules": Chain(found.files).identity,
        "precision": found.precision,
        "samples": samples,
        "board": dict(board),
        "power_mode": device.power_mode or health.conditions.get("power_mode"),
        "build": device.build.model_dump(mode="json"),
        "protocol": dataclasses.asdict(device.protocol),
    }


def _modules(run: Run, tensorrt: str) -> tuple[Request, list[str]]:
    """The exported modules for a version; exported now if there are none of the last weights and plan."""
    try:
        return request_of_run(run, tensorrt), []
    except BevliteError:
        run.weights(run.variant())  # without weights nothing can be exported: that is the error to name
    export_run(run.path, version_key(tensorrt))
    return request_of_run(run, tensorrt), [f"exported for TensorRT {tensorrt}"]


def _engine(
    device: BoardDevice, run: Run, found: Request, kept: KeptSteps
) -> tuple[EngineVerdict, LatencyReport | None]:
    """Built, verified, measured. What is not the engine that was asked is not measured."""
    try:
        golden = kept.once("golden", GoldenCheck, lambda: golden_check(device, run, found))
        latency = kept.once("latency", LatencyReport, lambda: _measure(device, run, found))
    except WrongPrecision as fault:
        return EngineVerdict(refused=str(fault)), None
    engines = {row.name: row.measured.engine for row in latency.modules if row.measured is not None}
    precisions = {name: facts.precisions for name, facts in engines.items() if facts is not None}
    return EngineVerdict(golden=golden, precisions=precisions), latency


def _measure(device: BoardDevice, run: Run, found: Request) -> LatencyReport:
    inputs, note = inputs_of_run(run, found.files)
    report = device.measure(found.files, found.steps, found.precision, inputs=inputs)
    return report.model_copy(update={"notes": (note, *report.notes)})


def _data(run: Run) -> str | None:
    """The data of the run, where it names any that are there."""
    try:
        data = run.data()
    except BevliteError:
        return None
    return data_set(data.root, data.version, data.val_split)


def _limits(
    budgets: Budgets, latency: LatencyReport | None, golden: GoldenCheck | None, accuracy: Accuracy | None
) -> tuple[LimitRow, ...]:
    if latency is None:
        basis = "not measured: the engine is not what was asked"
        return (LimitRow(name="latency P99", unit="ms", at_most=budgets.latency_ms, found=None, basis=basis),)
    return limits_of(budgets, latency, golden, accuracy)


def _prediction(found: Request, latency: LatencyReport, sku: str) -> Prediction | None:
    """What the predictor says of the same engines; None for a module without a device file."""
    try:
        config = find_device(SAME_AS.get(sku, sku))
    except ConfigError:
        return None
    mode, version = latency.conditions.power_mode, latency.conditions.tensorrt or DEFAULT_VERSION
    known = mode if mode in config.power_modes.modes else None
    guess = PredictedDevice(config, tensorrt=without_patch(version), power_mode=known).measure(
        found.files, (), found.precision
    )
    where = f"{config.name}, {guess.conditions.power_mode}, TensorRT {guess.conditions.tensorrt}"
    return Prediction(
        name=where,
        latency_ms=guess.total_ms,
        lower_ms=guess.lower_ms,
        upper_ms=guess.upper_ms,
        predictor=guess.predictor or "",
        measured_ms=latency.total_ms,
    )


def _accuracy(run: Run, device: BoardDevice, split: str | None) -> Accuracy:
    """Figures of torch and of the engines over one split. Torch first: its figures are kept in the ledger."""
    split = split or str(run.data().val_split)
    torch = _of_torch(run, split) or evaluate_run(run.path, split=split, progress=True)
    engine = evaluate_run(run.path, split=split, backend="tensorrt", device=device, progress=True)
    names = [key for _, key in TASKS.scores().values()]
    return Accuracy(
        split=split,
        samples=engine["samples"],
        runner=engine["runner"],
        engine={name: engine[name] for name in names if name in engine},
        torch={name: torch[name] for name in names if name in torch},
        drops=drops(torch, engine),
    )


def _of_torch(run: Run, split: str) -> dict[str, Any] | None:
    """The ledger's entry of torch, if it is of this split and data and not older than the weights."""
    file, metrics = run.path / "ledger.json", run.path / "eval" / f"{split}-torch" / "metrics.json"
    entry: dict[str, Any] | None = json.loads(file.read_text()).get("float") if file.is_file() else None
    if entry is None or not metrics.is_file() or metrics.stat().st_mtime < run.weights_file().stat().st_mtime:
        return None
    return entry if (entry.get("split"), entry.get("root")) == (split, run.data().root) else None
