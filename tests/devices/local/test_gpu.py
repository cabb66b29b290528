"""On a real GPU: a network with a past through torch, frame after frame and with CUDA graphs. Skipped without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevlite.config import to_yaml, write_atomic
from bevlite.devices.local.cuda import CudaDevice
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.report.frame_results import SampleFrames
from bevlite.devices.report.whole_frames import Samples
from bevlite.devices.settings import CudaSettings
from bevlite.export.graph.emit import export_network
from bevlite.models.detector import Detector
from bevlite.models.modules import feeds_of, modules_of
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.stateful.conftest import known, remembering  # noqa: F401
from tests.stateful.memory_lss import NEXT, PAST
from tests.tiny import live

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
STARTS = [6]


def frames_for(network: Any, count: int = 10) -> list[dict[str, np.ndarray]]:
    """Random images, motion and points on the nominal rig."""
    rng = np.random.default_rng(0)
    images = network.variant.camera.images
    tables = network.view_transform.tables.deployed({"pixel_to_bev": nominal_pixel_to_bev(images.height, images.width)})
    found = []
    for _ in range(count):
        motion = np.eye(4, dtype=np.float32)[None].copy()
        motion[0, 0, 3] = rng.uniform(0, 3)
        shape = (1, images.cameras, 3, images.height, images.width)
        frame = {"images": rng.integers(0, 256, shape, dtype=np.uint8), "ego_motion": motion}
        found.append({**tables, **frame, "ahead": rng.random((1, 1), dtype=np.float32)})
    return found


def test_a_gpu_carries_state(tmp_path: Path, known: None) -> None:  # noqa: F811
    variant, run = remembering(), Run(tmp_path / "run")
    torch.manual_seed(0)
    network: Any = live(Detector(variant))
    with torch.no_grad():
        network.view_transform.depth_net.weight[16:] *= 3000
    write_atomic(run.path / "variant.yaml", to_yaml(variant))
    save_weights(run, network.state_dict(), variant, {})
    files = export_network(network, run.path / "onnx" / "weak")
    feeds, frames = feeds_of(modules_of(network)), frames_for(network)
    assert feeds == {PAST: NEXT}
    expected = [f["heatmap"] for f in OnnxChain(files, feeds).frames(frames, STARTS)]
    device = CudaDevice("gpu", CudaSettings(type="cuda"))
    for precision, limit in (("fp32", 1e-3), ("fp16", 8e-3)):
        found = device.infer(files, frames, ["heatmap"], precision, feeds=feeds, starts=STARTS).frames
        for ours, theirs in zip(found, expected, strict=True):
            gap = np.sqrt(np.mean((ours["heatmap"].astype(np.float32) - theirs) ** 2) / np.mean(theirs**2))
            assert gap < limit, (precision, gap)
    forgetful = [f["heatmap"] for f in OnnxChain(files, feeds).frames(frames, range(10))]
    assert np.sqrt(np.mean((forgetful[5] - expected[5]) ** 2) / np.mean(expected[5] ** 2)) > 0.015
    given = SampleFrames(tuple(frames), Samples(count=10, source="drawn", real=False), feeds, STARTS)
    timed = device.time_frames(files, given, (), "fp16")
    assert timed.one_in_flight is not None and timed.two_in_flight is not None
    assert any(f"{PAST} takes {NEXT} of the frame before" in note for note in timed.notes)
