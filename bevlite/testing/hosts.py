"""Made-up frames for parts that take more than a map: points, calibration, ego motion, state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bevlite.data.frame import Frame
from bevlite.data.index import Index
from bevlite.models.contracts import Host
from bevlite.models.view_transforms.nominal_rig import CAMERAS, nominal_pixel_to_bev
from bevlite.testing.expect import IMAGE, expect_equal

POINTS = 3000


def made_up_frame(seed: int = 0) -> Frame:
    """A frame of six cameras and some thousand points within 12 m; of another seed, the calibration is another one.

    Its index holds one sample without files: a part whose host reads files needs a frame of real data.
    """
    source = np.random.default_rng(seed)
    low, high = (-12.0, -12.0, -2.0, 0.0, 0.0), (12.0, 12.0, 3.0, 255.0, 0.4)
    turned = nominal_pixel_to_bev(*IMAGE)
    turned[:, :3, 3] += 0.5 * seed
    motion = np.eye(4)
    motion[0, 3] = -0.5 - 0.1 * seed
    return Frame(
        Path("made-up"),
        _one_sample(),
        0,
        np.eye(4),
        points=source.uniform(low, high, (POINTS, 5)).astype(np.float32),
        pixel_to_bev=turned,
        image_size=IMAGE,
        ego_motion=motion,
        first=False,
    )


def given(host: Host, frame: Frame, batch: int = 1) -> dict[str, Tensor]:
    """What a host gives a batch of so many equal frames, with states (random, the same in each frame)."""
    values = {name: torch.from_numpy(value)[None] for name, value in host.sample(frame).items()} | states(host)
    return {name: value.repeat(batch, *[1] * (value.ndim - 1)) for name, value in values.items()}


def deployed(host: Host, frame: Frame, part: object) -> dict[str, Tensor]:
    """What a host gives the exported module, which must be what its `inputs` say, with the same states."""
    arrays: Mapping[str, np.ndarray] = host.deployed(host.sample(frame))
    wanted = {s.name: (s.shape, s.dtype) for s in host.inputs if s.source != "state"}
    expect_equal({n: (v.shape, v.dtype.name) for n, v in arrays.items()}, wanted, part, "inputs from host.deployed()")
    return {name: torch.from_numpy(value) for name, value in arrays.items()} | states(host)


def states(host: Host) -> dict[str, Tensor]:
    """A state of each input that is one, always the same."""
    source = torch.Generator().manual_seed(0)
    return {s.name: torch.randn(s.shape, generator=source) for s in host.inputs if s.source == "state"}


def without_points(frame: Frame) -> Frame:
    """The same frame of a scene where the LiDAR sees nothing."""
    return replace(frame, points=np.zeros((0, 5), np.float32))


def _one_sample() -> Index:
    cameras = len(CAMERAS)
    each, nothing = np.tile(np.eye(4), (1, cameras, 1, 1)), np.zeros(0)
    return Index(
        tokens=np.array(["made-up"]),
        scenes=np.array(["made-up"]),
        timestamps_us=np.zeros(1, np.int64),
        camera_files=np.full((1, cameras), ""),
        camera_sizes=np.tile(np.array([900, 1600], np.int32), (1, cameras, 1)),
        intrinsics=each[..., :3, :3],
        camera_to_ego=each,
        camera_to_bev=each,
        sweep_start=np.zeros(2, np.int64),
        sweep_files=nothing.astype(str),
        sweep_to_bev=np.zeros((0, 4, 4)),
        sweep_lag_s=nothing,
        box_start=np.zeros(2, np.int64),
        own_splits=np.zeros((0, 2), str),
        boxes=np.zeros((0, 9)),
        box_classes=nothing.astype(np.int8),
        box_points=nothing.astype(np.int32),
        box_visibility=nothing.astype(np.int8),
        ego_to_global=np.eye(4)[None],
        occupancy_files=np.array([""]),
        map_files=np.array([""]),
    )
