"""Changes to the network of a run, tried one by one: each scored on the same samples, by one process or by several."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.subset import Samples, Score
from bevlite.evaluation.trials import Entry, Trials, helpers
from bevlite.inference.torch import TorchNetwork
from bevlite.reporting.progress import duration
from bevlite.run_folder import Run, Stage
from bevlite.variant import Variant

Made = Callable[[str], tuple[TorchNetwork, float]]
"""From the name of a trial to its network, and the milliseconds that it is predicted to take."""


@dataclass(frozen=True)
class Job(ABC):
    """All that a process needs to run trials of a run; other processes get a copy.

    stage: whose weights. names: of the trials, in the order in which they are taken. identity: what their results
    follow from. samples, split, workers: of `Samples`.
    """

    path: Path
    stage: Stage
    names: tuple[str, ...]
    identity: Mapping[str, Any]
    samples: int
    split: str | None
    workers: int

    @abstractmethod
    def maker(self, run: Run, variant: Variant, device: torch.device) -> Made:
        """How the network of a trial is made, on a device."""


def require_devices(devices: int) -> None:
    """Whether there are so many GPUs (raises BevliteError); any number of processes on a CPU."""
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise BevliteError(f"devices: found {devices}; accepted: 1 to {gpus}, the GPUs that are here")


def identity_of(run: Run, variant: Variant, stage: Stage, samples: Samples, board: PredictedDevice) -> dict[str, Any]:
    """What the results of every kind of trial follow from: weights, samples, and whose milliseconds count."""
    return {
        "network_hash": variant.network_hash, "stage": stage, "weights": weights_digest(run, stage),
        "root": samples.scored.data.root, "split": samples.split, "samples": samples.scored.tokens(),
        "device": board.name, "tensorrt": board.tensorrt, "power_mode": board.power_mode,
    }  # fmt: skip


def weights_digest(run: Run, stage: Stage) -> str:
    """Of the weights: a run that was trained on is another one."""
    return hashlib.sha256(run.weights_file(stage).read_bytes()).hexdigest()[:16]


def run_job(job: Job, samples: Samples, devices: int, say: Callable[[str], None]) -> dict[str, Entry]:
    """Run all trials of a job; one that is done already is not done again.

    Args:
        job: what is tried. Trials lie in the folder `sensitivity/` of its run.
        samples: of the job, for this process.
        devices: GPUs (or CPU processes) to share the trials.
        say: told of each trial.
    """
    with helpers(devices - 1, _help, job):
        return _run(job, samples, 0, say)


def _help(number: int, job: Job) -> None:
    """Another process of the same job, on the GPU of its number."""
    run = Run(job.path)
    variant = run.variant(job.stage)
    samples = Samples(run, variant, samples=job.samples, split=job.split, workers=job.workers)
    _run(job, samples, number, lambda _: None)


def _run(job: Job, samples: Samples, number: int, say: Callable[[str], None]) -> dict[str, Entry]:
    device = torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
    run = Run(job.path)
    make = job.maker(run, run.variant(job.stage), device)

    def work(name: str) -> Entry:
        network, ms = make(name)
        score = samples.score(network)
        draws = [round(float(value), 9) for value in score.draws]
        return {"value": score.value, "halves": score.halves, "draws": draws, "predicted_ms": ms}

    began, own = time.monotonic(), 0

    def told(name: str, done: int, of: int) -> None:
        nonlocal own
        own += 1
        left = (of - done) * (time.monotonic() - began) / own
        say(f"{done} of {of}: {name}" + (f", at most {duration(left)} to go" if done < of else ""))

    return Trials(job.path / "sensitivity", job.identity).run(job.names, work, told)


def score_of(entry: Entry) -> Score:
    """What a trial was worth."""
    halves = entry["halves"]
    return Score(entry["value"], None if halves is None else (halves[0], halves[1]), np.array(entry["draws"]))


def unit_of(name: str, by: str) -> str:
    """What a layer or a group belongs to, `by` module, part (`camera.backbone`), layer or group."""
    layer = name.partition("[")[0]
    parts = layer.split(".")
    if by == "module":
        return parts[0]
    if by == "part":
        return ".".join(parts[: 3 if parts[:2] == ["fusion_heads", "heads"] else 2])
    return layer if by == "layer" else name
