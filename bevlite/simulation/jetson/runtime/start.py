"""Turns a Python process of the emulated board into one with TensorRT, a GPU, and the board's emulated time."""

from __future__ import annotations

import atexit
import ctypes
import time
from pathlib import Path
from typing import Any

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.runtime.api import api
from bevlite.simulation.jetson.runtime.driver import Driver
from bevlite.simulation.jetson.runtime.orin import OrinGpu, PlanLoader, total_bytes
from bevlite.simulation.jetson.runtime.timeline import Timeline
from bevlite.simulation.jetson.timing.roofline import transfer_ms


def start(folder: Path) -> dict[str, Any]:
    """The names of the module `tensorrt` for the board in a folder.

    From now on `ctypes.CDLL("libcuda.so.1")` gives the stand-in, and the clocks of `time` that cannot be set show
    emulated time: what the host computes in Python or in ONNX Runtime costs none.
    """
    board = BoardFolder(folder)
    gpu = OrinGpu(board)
    timeline = Timeline(gpu.passes)
    driver = Driver(timeline, total_bytes(board), lambda size: transfer_ms(size, board.mode))
    _replace_libcuda(driver)
    _replace_clocks(timeline)
    atexit.register(gpu.end)
    return api(driver, PlanLoader(gpu), ".".join(map(str, board.release.plan_version)))


def _replace_libcuda(driver: Driver) -> None:
    real = ctypes.CDLL

    def open_library(name: Any, *arguments: Any, **options: Any) -> Any:
        return driver if name == "libcuda.so.1" else real(name, *arguments, **options)

    ctypes.CDLL = open_library  # type: ignore[assignment,misc]


def _replace_clocks(timeline: Timeline) -> None:
    began_ns = time.monotonic_ns()

    def nanoseconds() -> int:
        return began_ns + int(timeline.now * 1e6)

    def seconds() -> float:
        return nanoseconds() / 1e9

    time.monotonic_ns = time.perf_counter_ns = nanoseconds
    time.monotonic = time.perf_counter = seconds
