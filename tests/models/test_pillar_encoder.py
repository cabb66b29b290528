from __future__ import annotations

import numpy as np
import torch

from bevlite.grid import BEVGrid
from bevlite.models.lidar.pillars.pfn import PFNConfig
from bevlite.runtime.pillars import PillarGrid, group_pillars
from tests.tiny import live

BEV = BEVGrid(x_range_m=(-8, 8), y_range_m=(-8, 8), cell_m=0.5)
GRID = PillarGrid(-8.0, -8.0, 0.5, 32, 32, -2.0, 2.0, 200, 4, "pillar")


def cloud(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.uniform([-9, -9, -2.5, 0, 0], [9, 9, 2.5, 255, 0.5], (count, 5))
    return points.astype(np.float32)


def batch(*clouds: np.ndarray, slots: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    grouped = [group_pillars(points, GRID) for points in clouds]
    most = slots or max(1, *(p.shape[2] for p, _ in grouped))
    pillars = torch.zeros(len(grouped), 5, GRID.max_points, most)
    for target, (values, _) in zip(pillars, grouped, strict=True):
        target[..., : values.shape[2]] = torch.from_numpy(values)
    return pillars, torch.from_numpy(np.stack([index for _, index in grouped]))


def given(pillars: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"pillars": pillars, "pillar_index": index}


def test_packed_road_equals_the_exported_gather() -> None:
    network = live(PFNConfig(channels=16).build(BEV))
    pillars, index = batch(cloud(500), cloud(60, 1), slots=GRID.max_pillars)
    with torch.no_grad():
        packed = network(given(pillars, index))
        for i in range(2):
            one, where = pillars[i : i + 1], index[i : i + 1]
            exported = network._layout(network.encode(one), where)
            torch.testing.assert_close(packed[i : i + 1], exported, rtol=1e-5, atol=1e-6)


def test_against_a_loop_over_cells() -> None:
    network = live(PFNConfig(channels=3).build(BEV)).double()
    pillars, index = batch(cloud(80))
    with torch.no_grad():
        canvas = network(given(pillars.double(), index))[0]
    weight = network.conv.weight[:, :, 0, 0].detach()
    scale = network.norm.weight / torch.sqrt(network.norm.running_var + 1e-3)
    shift = network.norm.bias - network.norm.running_mean * scale
    for iy in range(GRID.ny):
        for ix in range(GRID.nx):
            slot = int(index[0, iy, ix])
            expected = torch.zeros(3, dtype=torch.float64)
            if slot:
                points = pillars[0, :, :, slot - 1].double()  # (5, M)
                hidden = (weight @ points) * scale[:, None] + shift[:, None]
                expected = hidden.clamp(min=0).max(dim=1).values.detach()
            torch.testing.assert_close(canvas[:, iy, ix], expected)


def test_nothing_seen_is_no_error() -> None:
    network = PFNConfig(channels=8).build(BEV)
    nothing = np.zeros((0, 5), dtype=np.float32)
    pillars, index = batch(nothing, nothing)
    for mode in (True, False):
        canvas = network.train(mode)(given(pillars, index))
        assert canvas.shape == (2, 8, 32, 32) and not canvas.any()
    pillars, index = batch(nothing, cloud(50))
    canvas = network.train()(given(pillars, index))
    assert not canvas[0].any() and canvas[1].any() and torch.isfinite(canvas).all()


def test_empty_slots_do_not_dilute_the_statistics() -> None:
    pillars, index = batch(cloud(100))
    padded, _ = batch(cloud(100), slots=GRID.max_pillars)
    networks = []
    for values in (pillars, padded):
        torch.manual_seed(0)
        network = PFNConfig(channels=8).build(BEV).train()
        network(given(values, index))
        networks.append(network)
    torch.testing.assert_close(networks[0].norm.running_var, networks[1].norm.running_var)
    torch.testing.assert_close(networks[0].norm.running_mean, networks[1].norm.running_mean)
