"""Lift-splat: what is exported computes what is trained, for any calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bevlite.grid import BEVGrid
from bevlite.models.auxiliary import collected
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.pooling import frustum_cells, tree_levels

IMAGE, STRIDE = (128, 352), 16
WIDE = (12000, 3000, 1000, 300, 100, 40, 8)  # room for any calibration of these tests


def lift_splat(capacity: tuple[int, ...] | None = WIDE, cameras: int = 6, **config: Any) -> LiftSplat:
    values = {"channels": 5, "depth_range_m": (1.0, 49.0), "depth_step_m": 2.0, "capacity": capacity, **config}
    return LiftSplat(LSSConfig(**values), 4, STRIDE, IMAGE, cameras, BEVGrid(cell_m=1.6))


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return z @ y @ x


def calibration(rng: np.random.Generator, amount: float = 1.0) -> np.ndarray:
    """The nominal rig with every camera turned, moved and its intrinsics changed."""
    matrices = nominal_pixel_to_bev(*IMAGE)
    for matrix in matrices:
        intrinsics = np.eye(3)
        intrinsics[[0, 1], [0, 1]] += amount * rng.normal(0, 0.1, 2)
        intrinsics[:2, 2] = amount * rng.normal(0, 20, 2)
        matrix[:3, :3] = turned(*(amount * rng.normal(0, (0.5, 0.05, 0.05)))) @ matrix[:3, :3] @ intrinsics
        matrix[:3, 3] += amount * rng.normal(0, 0.5, 3)
    return matrices


def lifted(network: LiftSplat, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (network.frustum.height, network.frustum.width)
    depth = torch.from_numpy(rng.random((network.cameras, len(network.frustum.depths_m), *shape)))
    context = torch.from_numpy(rng.normal(size=(network.cameras, network.out_channels, *shape)))
    return depth, context


def tables_of(network: LiftSplat, matrices: np.ndarray) -> dict[str, np.ndarray]:
    return network.host.deployed({"pixel_to_bev": matrices})


def exported_sum(
    network: LiftSplat, depth: torch.Tensor, context: torch.Tensor, tables: dict[str, np.ndarray]
) -> torch.Tensor:
    given = {"depth": depth, "context": context, **{name: torch.from_numpy(t) for name, t in tables.items()}}
    return network.transform(given)


@pytest.mark.parametrize("chunk", [2, 8, 32])
def test_exported_tree_equals_training_on_random_calibrations(chunk: int) -> None:
    rng = np.random.default_rng(chunk)
    network = lift_splat(chunk=chunk, capacity=(20000, 10000, 4000, 2000, 1000, 500, 250, 120, 60))
    shapes = None
    for _ in range(8):
        matrices = calibration(rng)
        cells = network.cells(torch.from_numpy(matrices)[None])
        assert np.array_equal(cells[0].numpy(), frustum_cells(network.frustum, network.grid, matrices))
        assert 0 < (cells >= 0).float().mean() < 1
        depth, context = lifted(network, rng)
        tables = tables_of(network, matrices)
        exported = exported_sum(network, depth, context, tables)
        trained = network.pool(depth, context, cells)
        assert exported.dtype == trained.dtype == torch.float64
        torch.testing.assert_close(exported, trained, rtol=1e-10, atol=1e-10)
        # One engine serves them all: names, order and shapes of its inputs never change.
        shapes = shapes or [(k, v.shape) for k, v in tables.items()]
        assert (
            [(k, v.shape) for k, v in tables.items()]
            == shapes
            == [(spec.name, spec.shape) for spec in network.host.inputs]
        )


def test_brute_force_on_a_tiny_case() -> None:
    grid = BEVGrid(x_range_m=(-8, 8), y_range_m=(-4, 4), cell_m=2)
    config = LSSConfig(channels=2, depth_range_m=(1, 9), depth_step_m=2, z_range_m=(-1, 2), chunk=2)
    network = LiftSplat(config, 3, 16, (32, 64), 2, grid)
    rng = np.random.default_rng(0)
    matrices = np.tile(np.eye(4), (2, 1, 1))
    ray = np.array([[0, 0, 1], [-1 / 40, 0, 0.8], [0, -1 / 40, 0.4]])  # ahead, left, up of (u d, v d, d)
    for matrix, yaw in zip(matrices, (0.3, 2.8), strict=True):
        matrix[:3, :3] = turned(yaw, 0.02, -0.03) @ ray
    depth, context = lifted(network, rng)
    expected = np.zeros((2, grid.ny, grid.nx))
    count = 0
    for n in range(2):
        for d, metres in enumerate((2.0, 4.0, 6.0, 8.0)):
            for v in range(2):
                for u in range(4):
                    pixel = np.array([(u * 16 + 7.5) * metres, (v * 16 + 7.5) * metres, metres, 1])
                    x, y, z, _ = matrices[n] @ pixel
                    ix, iy = int(np.floor((x + 8) / 2)), int(np.floor((y + 4) / 2))
                    if 0 <= ix < grid.nx and 0 <= iy < grid.ny and -1 <= z < 2:
                        count += 1
                        expected[:, iy, ix] += (depth[n, d, v, u] * context[n, :, v, u]).numpy()
    assert 20 < count < 64
    pooled = network.pool(depth, context, network.cells(torch.from_numpy(matrices)[None]))[0]
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-12)
    tables = tables_of(network, matrices)
    exported = exported_sum(network, depth, context, tables)[0]
    np.testing.assert_allclose(exported.numpy(), expected, atol=1e-12)


def test_default_capacity_serves_real_cars() -> None:
    """Calibrations that differ from the nominal rig by a few degrees and centimetres fit without setting anything."""
    network = lift_splat(capacity=None)
    rng = np.random.default_rng(0)
    for _ in range(10):
        matrices = nominal_pixel_to_bev(*IMAGE)
        for matrix in matrices:
            matrix[:3, :3] = turned(*rng.normal(0, np.deg2rad(2), 3)) @ matrix[:3, :3] * rng.normal(1, 0.01)
            matrix[:3, 3] += rng.normal(0, 0.05, 3)
        tables = tables_of(network, matrices)
        kept = int((frustum_cells(network.frustum, network.grid, matrices) >= 0).sum())
        assert int((tables["depth_index"] > 0).sum()) == kept > 0  # every point has its entry, none was dropped
    with torch.device("meta"):
        single = lift_splat(capacity=None, cameras=1)
    one = calibration(rng)[:1]
    kept = int((frustum_cells(single.frustum, single.grid, one) >= 0).sum())
    assert int((tables_of(single, one)["depth_index"] > 0).sum()) == kept


def test_what_does_not_fit_is_an_error() -> None:
    network = lift_splat()
    matrices = nominal_pixel_to_bev(*IMAGE)
    needed = tree_levels(frustum_cells(network.frustum, network.grid, matrices), network.host.chunk)
    exact = lift_splat(capacity=tuple(needed))
    tables = tables_of(exact, matrices)
    rng = np.random.default_rng(0)
    depth, context = lifted(exact, rng)
    exported = exported_sum(exact, depth, context, tables)
    trained = exact.pool(depth, context, exact.cells(torch.from_numpy(matrices)[None]))
    torch.testing.assert_close(exported, trained, rtol=1e-10, atol=1e-10)
    for level in range(len(needed)):
        short = tuple(rows - (i == level) for i, rows in enumerate(needed))
        with pytest.raises(ValueError, match=f"level {level + 1} needs {needed[level]} rows.*room for {short[level]}"):
            tables_of(lift_splat(capacity=short), matrices)
    with pytest.raises(ValueError, match=f"level {len(needed)} needs"):
        tables_of(lift_splat(capacity=tuple(needed[:-1])), matrices)


def test_batch_of_different_calibrations() -> None:
    rng = np.random.default_rng(1)
    network = lift_splat().double()
    matrices = torch.from_numpy(np.stack([calibration(rng), calibration(rng)]))
    features = torch.from_numpy(rng.normal(size=(12, 4, network.frustum.height, network.frustum.width)))
    both = network(features, {"pixel_to_bev": matrices})
    for i in range(2):
        torch.testing.assert_close(
            both[i : i + 1], network(features[6 * i : 6 * i + 6], {"pixel_to_bev": matrices[i : i + 1]})
        )


def test_depth_bins_and_distribution() -> None:
    network = lift_splat()
    assert network.frustum.depths_m == tuple(np.arange(2.0, 49.0, 2.0))
    features = torch.randn(6, 4, network.frustum.height, network.frustum.width)
    with collected() as auxiliary:
        depth, context = network.prepare(features)
    torch.testing.assert_close(depth.sum(dim=1), torch.ones_like(depth[:, 0]))
    torch.testing.assert_close(depth, auxiliary["depth"].softmax(dim=1))
    assert context.shape[1] == 5
