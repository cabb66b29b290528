"""ONNX files or a run's modules on a device: the report, and where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bevlite.deploy.whole_frames import SAMPLES, time_frames_of_run
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Device
from bevlite.devices.pool import BoardPool
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.export.check.operators import check_model
from bevlite.export.of_run import inputs_of_run, request_of_run
from bevlite.reporting.latency_support import refusals, support
from bevlite.run_folder import Run


def measure(
    device: Device,
    sources: Sequence[Path],
    precision: str = "",
    *,
    samples: int = SAMPLES,
    say: Callable[[str], None] = lambda text: None,
) -> LatencyReport:
    """Build and measure on a device.

    Args:
        device: what measures.
        sources: a run folder, or ONNX files.
        precision: of all engines; empty for a run's own plan, and fp16 for files.
        samples: of a run, how many samples whole frames are timed on; 0 for no whole frames.
        say: where news go.

    Raises:
        BevliteError: a run that is not exported, files of one name, a fault of the device.
    """
    if len(sources) == 1 and sources[0].is_dir():
        return _measure_run(device, Run(sources[0]), precision, samples, say)
    modules = {path.stem: path for path in sources}
    if len(modules) < len(sources):
        raise BevliteError("device run: found two files of one name; accepted: ONNX files of different names")
    report = device.measure(modules, (), precision or "fp16")
    if isinstance(device, PredictedDevice):  # nobody else would say that the board refuses them
        report = report.model_copy(update={"notes": (*_refused(modules, device), *report.notes)})
    return report


def report_file(device: Device, sources: Sequence[Path]) -> Path:
    """Where the report of a measurement is kept by default: in the run, or beside the first file."""
    first = sources[0]
    return (first / "latency" if len(sources) == 1 and first.is_dir() else first.parent) / f"{device.name}.json"


def _refused(modules: Mapping[str, Path], device: PredictedDevice) -> list[str]:
    """What the TensorRT of a predicted board does not take, or runs wrongly."""
    return [
        f"{name}: {line}"
        for name, path in modules.items()
        for line in refusals(
            support({name: check_model(path, (device.tensorrt,))}, (device.tensorrt,)).rows, device.tensorrt
        )
    ]


def _measure_run(
    device: Device, run: Run, precision: str, samples: int, say: Callable[[str], None]
) -> LatencyReport:  # fmt: skip
    version, notes = _tensorrt(device, say)
    found = request_of_run(run, version, precision)
    inputs, note = inputs_of_run(run, found.files)
    report = device.measure(found.files, found.steps, found.precision, inputs=inputs)
    report = report.model_copy(update={"notes": (*notes, note, *report.notes)})
    if not samples or report.kind == "predicted":
        return report
    return report.with_whole_frames(time_frames_of_run(device, run, found, samples))


def _tensorrt(device: Device, say: Callable[[str], None]) -> tuple[str | None, list[str]]:
    """The version that a device builds with, None without TensorRT; of different boards the oldest, and a note."""
    if not isinstance(device, BoardDevice | BoardPool):
        return getattr(device, "tensorrt", None), []
    if isinstance(device, BoardDevice):
        version = device.check().identity.get("tensorrt")
        return str(version) if version else None, []
    versions = device.tensorrt()
    oldest = next(iter(versions.values()), None)
    if len(set(versions.values())) < 2:
        return oldest, []
    found = ", ".join(f"{version} ({name})" for name, version in versions.items())
    note = f"boards of TensorRT {found}: the export for the oldest, {oldest}, on whichever is free"
    say(note)
    return oldest, [note]
