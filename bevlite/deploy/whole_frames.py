"""Whole frames of a run on a device: real samples, what is known of them, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bevlite.devices.contract import Device
from bevlite.devices.inference import Chain
from bevlite.devices.report.frame_results import FramesDevice, SampleFrames, not_measured
from bevlite.devices.report.whole_frames import Distribution, Samples, WholeFrames
from bevlite.export.real import real_batches
from bevlite.export.request import Request
from bevlite.inference.onnx import OnnxNetwork
from bevlite.run_folder import Run

SAMPLES = 8


def time_frames_of_run(device: Device, run: Run, found: Request, count: int = SAMPLES) -> WholeFrames:
    """Time frames of a run's data through its modules; made-up frames where there is no data (raises BevliteError).

    A device that times no whole frames is no error: the answer says so.
    """
    if not isinstance(device, FramesDevice):
        return not_measured(f"{device.name} times no whole frames", found.files, found.steps)
    return device.time_frames(found.files, frames_of_run(run, found, count), found.steps, found.precision)


def frames_of_run(run: Run, found: Request, count: int = SAMPLES) -> SampleFrames:
    """Samples of the validation split (or else the training split) as a network takes them."""
    batches, note = real_batches(run, count)
    if not batches:
        source = f"made-up values ({note.removeprefix('parity not checked: ')})"
        return SampleFrames((Chain(found.files).made_up(),), Samples(count=1, source=source, real=False), found.feeds)
    prepare = OnnxNetwork(run.variant(), {}).inputs
    frames = tuple(prepare(batch, 0) for batch in batches)
    samples = Samples(count=len(frames), source=note, real=True, **_pillars(frames))
    return SampleFrames(frames, samples, found.feeds)


def _pillars(frames: Sequence[Mapping[str, Any]]) -> dict[str, Distribution]:
    """How many points lie in pillars, and how many pillars have any: what the LiDAR module has to work on."""
    tensors = [frame["pillars"] for frame in frames if "pillars" in frame]
    if not tensors:
        return {}
    taken = [np.any(tensor[0] != 0, axis=0) for tensor in tensors]  # an unused place is zero in all five features
    return {
        "points": Distribution.of([float(places.sum()) for places in taken]),
        "pillars": Distribution.of([float(places.any(axis=0).sum()) for places in taken]),
    }
