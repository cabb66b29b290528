"""Depth images against training's, and point by point."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.data.lidar import depth_map
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.depth import depth_images

SIZE = (64, 176)


@pytest.mark.parametrize("stride", [1, 8])
def test_as_in_training(stride: int) -> None:
    """But for points at the very border of a pixel, where BLAS rounds otherwise."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, [20, 20, 2], (4000, 3)).astype(np.float32)
    matrices = np.linalg.inv(nominal_pixel_to_bev(*SIZE))
    found, trained = depth_images(points, matrices, SIZE, stride), depth_map(points, matrices, SIZE, stride)
    assert found.shape == trained.shape and (found > 0).sum() > 300
    assert (np.abs(found - trained) > 1e-4).mean() < 1e-4


def test_the_nearest_counts_and_what_is_behind_does_not() -> None:
    ahead = np.array([[[0, -100, 0, 0], [0, 0, -100, 0], [1, 0, 0, 0]]]) + 0.0  # along x, 100 px a unit
    points = np.array([[9, -0.2, -0.1], [4, -0.09, -0.05], [-4, 0.1, 0.05], [0.4, 0, 0], [np.inf, 0, 0]], np.float32)
    with np.errstate(invalid="ignore"):
        (found,) = depth_images(points, ahead, (8, 16), 1)
    assert np.argwhere(found).tolist() == [[1, 2]] and found[1, 2] == 4
