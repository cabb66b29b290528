"""Sweeps and depth maps against plainer code."""

from pathlib import Path

import numpy as np
import pytest

from bevlite.data.lidar import accumulate_sweeps, depth_map
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev


def slowly(points: np.ndarray, bev_to_pixel: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The same by numpy's unbuffered minimum."""
    height, width = size[0] // stride, size[1] // stride
    maps = np.full((len(bev_to_pixel), height * width), np.inf, dtype=np.float32)
    for camera, matrix in enumerate(bev_to_pixel.astype(np.float32)):
        projected = points @ matrix[:3, :3].T + matrix[:3, 3]
        projected = projected[projected[:, 2] > 0.5]
        u = np.floor((projected[:, 0] / projected[:, 2] + 0.5) / stride).astype(np.int64)
        v = np.floor((projected[:, 1] / projected[:, 2] + 0.5) / stride).astype(np.int64)
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        np.minimum.at(maps[camera], v[inside] * width + u[inside], projected[inside, 2])
    maps[np.isinf(maps)] = 0
    return maps.reshape(-1, height, width)


@pytest.mark.parametrize("stride", [1, 8, 16])
@pytest.mark.parametrize("count", [0, 1, 30000])
def test_depth_map(stride: int, count: int) -> None:
    rng = np.random.default_rng(count)
    cloud = (rng.normal(size=(count, 5)) * [20, 20, 2, 50, 1]).astype(np.float32)
    bev_to_pixel = np.linalg.inv(nominal_pixel_to_bev(128, 352))
    for points in (cloud[:, :3], np.ascontiguousarray(cloud[:, :3])):
        found = depth_map(points, bev_to_pixel, (128, 352), stride)
        assert found.dtype == np.float32 and (count < 2 or (found > 0).mean() > 0.01)
        np.testing.assert_array_equal(found, slowly(points, bev_to_pixel, (128, 352), stride))


def test_sweeps_are_moved_and_accumulated(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    files, expected = [], []
    to_bev = rng.normal(size=(3, 4, 4))
    lag_s = np.array([0.0, 0.05, 0.1])
    for n, count in enumerate((300, 1, 200)):
        sweep = (rng.normal(size=(count, 5)) * [2, 2, 1, 50, 9]).astype(np.float32)
        files.append(tmp_path / f"{n}.bin")
        sweep.tofile(files[-1])
        own = (np.abs(sweep[:, 0]) < 1) & (np.abs(sweep[:, 1]) < 1)
        place = sweep[~own, :3].astype(np.float64) @ to_bev[n, :3, :3].T + to_bev[n, :3, 3]
        lag = np.full((len(place), 1), lag_s[n], np.float32)
        expected.append(np.concatenate([place, sweep[~own, 3:4], lag], axis=1))
    found = accumulate_sweeps(files, to_bev, lag_s)
    assert found.dtype == np.float32 and 100 < len(found) < 501
    # Sums of three products in float32, whose order is that of whatever library adds them up.
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-6, atol=2e-6)
