"""The frame before, aligned: against a loop in float64, over a sequence, and through the whole export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bevlite import testing
from bevlite.grid import BEVGrid
from bevlite.models.streams import build_view_transform
from bevlite.models.view_transforms.cft import CFTConfig
from bevlite.models.view_transforms.lookup import LookupConfig
from bevlite.models.view_transforms.lss import LSSConfig
from bevlite.models.view_transforms.temporal import NEXT, PAST, Aligned, Warp
from bevlite.variant import ImageConfig

BEV = BEVGrid(x_range_m=(-16, 16), y_range_m=(-8, 8), cell_m=1.0)
IMAGES = ImageConfig(height=64, width=192)


def motion(yaw: float, x: float, y: float, mirrored: bool = False) -> np.ndarray:
    """Frame before to this one; where augmentation mirrors both, a turn the other way."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    matrix = np.eye(4)
    matrix[:2, :2] = [[cos, -sin], [sin, cos]]
    matrix[:2, 3] = x, y
    flip = np.diag([1.0, -1, 1, 1]) if mirrored else np.eye(4)
    return flip @ matrix @ flip


@pytest.mark.parametrize("mirrored", [False, True])
def test_warp_takes_every_cell_from_where_it_was(mirrored: bool) -> None:
    past = torch.randn(1, 3, BEV.ny, BEV.nx, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = motion(0.3, -1.7, 0.6, mirrored)
    found = Warp(BEV).double()(past, torch.from_numpy(moved)[None])[0]
    back = np.linalg.inv(moved)
    padded = np.pad(past[0].numpy(), ((0, 0), (1, 1), (1, 1)))  # zero where the past does not reach
    for iy in range(BEV.ny):
        for ix in range(BEV.nx):
            x, y, _, _ = back @ [-15.5 + ix, -7.5 + iy, 0, 1]
            column, row = x + 15.5, y + 7.5
            wanted = np.zeros(3)
            if -1 < column < BEV.nx and -1 < row < BEV.ny:
                left, top = int(np.floor(column)), int(np.floor(row))
                for dy in (0, 1):
                    for dx in (0, 1):
                        share = (1 - abs(column - left - dx)) * (1 - abs(row - top - dy))
                        wanted += share * padded[:, top + dy + 1, left + dx + 1]
            np.testing.assert_allclose(found[:, iy, ix], wanted, atol=1e-6)


def test_standing_still_is_the_map_itself() -> None:
    past = torch.randn(2, 3, BEV.ny, BEV.nx)
    torch.testing.assert_close(Warp(BEV)(past, torch.eye(4).repeat(2, 1, 1)), past, atol=1e-5, rtol=1e-4)


def test_half_precision_does_not_move_the_map() -> None:
    """Under autocast maps are bfloat16: as far off as rounding the map, not as placing its cells in 8 bits."""
    past = torch.linspace(-1, 1, 32).expand(1, 1, 16, 32)
    moved = torch.from_numpy(motion(0.02, -3.3, 0.1)).float()[None]
    found = Warp(BEV)(past.bfloat16(), moved)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), Warp(BEV)(past, moved), atol=5e-3, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(
            Warp(BEV).places(moved).double(), Warp(BEV).places(moved.double()), atol=1e-6, rtol=0
        )


def test_what_is_kept_is_the_map_before_it_was_joined() -> None:
    torch.manual_seed(0)
    network = build_view_transform(CFTConfig(channels=8, embed=32, heads=4, feed_forward=32, temporal=True), 6, 16,
                                   IMAGES, BEV)  # fmt: skip
    assert isinstance(network, Aligned) and network.eval().out_channels == 8
    features = torch.randn(6, 6, 4, 12)
    inputs = {"ego_motion": torch.from_numpy(motion(0.1, -1, 0)).float()[None], PAST: torch.zeros(1, 8, 16, 32)}
    first, kept = network(features, inputs)
    torch.testing.assert_close(kept[NEXT], network.inner(features, inputs))
    second, again = network(features, {**inputs, PAST: kept[NEXT]})
    torch.testing.assert_close(again[NEXT], kept[NEXT])  # no recurrence: it forgets the frame before the last
    assert (second - first).abs().max() > 1e-3
    assert [spec.source for spec in network.host.inputs] == ["ego motion", "state"]
    assert network.auxiliaries == () and len(network.inner.auxiliaries) == 2  # a network asks every module once


def test_without_it_nothing_is_wrapped() -> None:
    assert not isinstance(build_view_transform(LookupConfig(channels=4), 6, 16, IMAGES, BEV), Aligned)


@pytest.mark.slow
@pytest.mark.parametrize("config", [LSSConfig(channels=8, temporal=True), LookupConfig(channels=8, temporal=True)],
                         ids=lambda config: config.type)  # fmt: skip
def test_a_sequence_through_the_whole_export(config: LSSConfig) -> None:
    """Three frames with another calibration and motion each: torch, ONNX Runtime, both forms, NVIDIA's compiler."""
    testing.check_in_network(config)
