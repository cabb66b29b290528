"""A training on several GPUs (or CPU processes) as a program of its own.

Lightning starts the other ranks by running the program again that it finds itself in. That must not be a search (whose
rank 1 would begin a trial of its own), a chain of stages or a notebook: it is `bevlite.training.rank`, which does
nothing but train.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bevlite.errors
from bevlite.config import as_dict, write_atomic
from bevlite.data.config import DataConfig
from bevlite.errors import TrainingError
from bevlite.run_folder import Run
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant

if TYPE_CHECKING:
    import torch

INSIDE = "BEVLITE_RANKS"
"""In the environment of all ranks, with the process that asked: they train, and start no further program."""
JOB, WEIGHTS, FAULT = "job.json", "weights.safetensors", "fault.json"


def inside() -> bool:
    """Whether this is one of the ranks."""
    return INSIDE in os.environ


def train_in_ranks(
    variant: Variant,
    data: DataConfig,
    recipe: Recipe,
    out: Path,
    *,
    devices: int,
    init: Mapping[str, Path] | None,
    weights: Mapping[str, torch.Tensor] | None,
    scales: Mapping[str, float] | None,
    resume: bool,
    stop_after_epoch: int | None,
    progress: bool,
) -> Run:
    """As `train`, in processes of their own.

    Raises:
        BevliteError: what a rank raised, or that one ended without a word.
        RuntimeError: what a rank did not expect, in its words.
    """
    job: dict[str, Any] = {
        "variant": as_dict(variant), "data": as_dict(data), "recipe": as_dict(recipe), "out": str(out.resolve()),
        "devices": devices, "init": {name: str(path) for name, path in (init or {}).items()},
        "scales": None if scales is None else dict(scales), "resume": resume, "stop_after_epoch": stop_after_epoch,
        "progress": progress,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bevlite-ranks-") as name:
        folder = Path(name)
        if weights is not None:
            from safetensors.torch import save_file

            save_file({key: value.contiguous() for key, value in weights.items()}, folder / WEIGHTS)
        write_atomic(folder / JOB, json.dumps(job))
        process = subprocess.Popen(
            [sys.executable, "-m", "bevlite.training.rank", str(folder)],
            env={
                **os.environ,
                INSIDE: str(os.getpid()),
                "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
            },
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if code != 0:
            raise fault_of(folder / FAULT, code, devices)
    return Run(out)


def fault_of(file: Path, code: int, devices: int) -> Exception:
    """What a rank raised, from the file in which it left it; that it ended without a word where there is none."""
    try:
        said = json.loads(file.read_text())
        kind, text = str(said["kind"]), str(said["text"])
    except (OSError, ValueError, KeyError):
        return TrainingError(f"training on {devices} devices: a process ended with {code}; accepted: the same command "
                             "again goes on")  # fmt: skip
    found: Exception = getattr(bevlite.errors, kind, RuntimeError)(text) if kind else RuntimeError(text)
    return found
