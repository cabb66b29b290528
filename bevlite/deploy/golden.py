"""The golden check of a run: real samples through its exported modules and through the engines."""

from __future__ import annotations

from pathlib import Path

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.golden.golden import GoldenCheck, check_engines
from bevlite.export.of_run import request_of_run
from bevlite.export.real import real_batches
from bevlite.export.request import Request
from bevlite.inference.onnx import OnnxNetwork
from bevlite.run_folder import Run

GOLDEN_SAMPLES = 2


def check_engine_of_run(device: BoardDevice, path: Path, samples: int = GOLDEN_SAMPLES) -> GoldenCheck:
    """Compare the engines of a run's exported modules with ONNX Runtime (raises BevliteError)."""
    run = Run(path)
    return golden_check(device, run, request_of_run(run, device.tensorrt()), samples)


def golden_check(device: BoardDevice, run: Run, found: Request, samples: int = GOLDEN_SAMPLES) -> GoldenCheck:
    """As `check_engine_of_run`, of modules that were found before."""
    batches, note = real_batches(run, samples)
    prepare = OnnxNetwork(run.variant(), {}).inputs
    frames = [prepare(batch, 0) for batch in batches]
    variant = run.variant()
    maps = [raw for task in variant.heads.tasks(variant.bev) for raw in task.maps]
    sets = [raw.name for raw in maps if raw.kind == "set"]
    return check_engines(device, found.files, frames, found.precision, note, feeds=found.feeds, sets=sets)
