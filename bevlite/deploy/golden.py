"""The golden check of a run: real samples through its exported modules and through the engines."""

from __future__ import annotations

from pathlib import Path

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.golden.golden import GoldenCheck, check_engines
from bevlite.export.run import real_batches
from bevlite.export.run_modules import RunModules, modules_of_run
from bevlite.export.session import OnnxNetwork
from bevlite.run_folder import Run

GOLDEN_SAMPLES = 2


def check_engine_of_run(device: BoardDevice, path: Path, samples: int = GOLDEN_SAMPLES) -> GoldenCheck:
    """Compare the engines of a run's exported modules with ONNX Runtime (raises BevliteError)."""
    run = Run(path)
    return golden_check(device, run, modules_of_run(run, device.tensorrt()), samples)


def golden_check(device: BoardDevice, run: Run, found: RunModules, samples: int = GOLDEN_SAMPLES) -> GoldenCheck:
    """As `check_engine_of_run`, of modules that were found before."""
    batches, note = real_batches(run, samples)
    prepare = OnnxNetwork(run.variant(), {}).inputs
    frames = [prepare(batch, 0) for batch in batches]
    return check_engines(device, found.modules, frames, found.precision, note)
