"""Tables of view transforms that pull, against plain loops in float64."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.sampling import (
    column_coordinates,
    feature_pixels,
    hat_weights,
    lookup_table,
    project_cells,
    pull_tables,
    slice_heights,
)

GRID = CellGrid(-19.2, -12.8, 1.6, 24, 16, -3.0, 3.0)
FRUSTUM = Frustum(tuple(1.5 + k for k in range(20)), 8, 22, 16)
IMAGE = (128, 352)


def rig(seed: int) -> np.ndarray:
    """The nominal rig, moved and scaled a little."""
    source = np.random.default_rng(seed)
    matrices = nominal_pixel_to_bev(*IMAGE)
    for matrix in matrices:
        matrix[:3, 3] += source.normal(0, 0.4, 3)
        matrix[:3, :3] *= source.normal(1, 0.02)
    return matrices


def seen_by(matrix: np.ndarray, point: tuple[float, float, float]) -> tuple[float, float, float] | None:
    """u, v, depth of a BEV point in one camera, by solving for it; None behind the camera."""
    u_d, v_d, depth = np.linalg.solve(matrix[:3, :3], np.asarray(point) - matrix[:3, 3])
    return (u_d / depth, v_d / depth, depth) if depth > 0.1 else None


def cells() -> list[tuple[float, float]]:
    return [(-19.2 + 1.6 * (ix + 0.5), -12.8 + 1.6 * (iy + 0.5)) for iy in range(16) for ix in range(24)]


def pixel_of(u: float, v: float) -> tuple[int, int] | None:
    column, row = int(np.floor((u + 0.5) / 16)), int(np.floor((v + 0.5) / 16))
    return (column, row) if 0 <= column < 22 and 0 <= row < 8 else None


def test_projection_and_back() -> None:
    matrices, heights = rig(0), slice_heights((-3.0, 3.0), 3)
    assert heights == pytest.approx((-2.0, 0.0, 2.0))
    projected = project_cells(GRID, heights, matrices)
    assert projected.shape == (6, 3, 16 * 24, 3)
    for camera, matrix in enumerate(matrices):
        for cell in (0, 100, 383):
            found = projected[camera, 1, cell]
            wanted = seen_by(matrix, (*cells()[cell], heights[1]))
            if wanted is None:
                assert np.isnan(found[:2]).all()
            else:
                np.testing.assert_allclose(found, wanted, rtol=1e-9)
                u, v, depth = found
                back = matrix @ [u * depth, v * depth, depth, 1]
                np.testing.assert_allclose(back[:3], (*cells()[cell], heights[1]), atol=1e-9)


def test_pixels_outside_the_image_and_behind_the_camera_are_unseen() -> None:
    points = np.array([[0.0, 0.0, 5.0], [-1.0, 0.0, 5.0], [351.4, 127.4, 5.0], [351.6, 0.0, 5.0], [np.nan, np.nan, -1]])
    column, row, seen = feature_pixels(points, 8, 22, 16)
    assert seen.tolist() == [True, False, True, False, False]
    assert (column[2], row[2]) == (21, 7) and not column[~seen].any()


def test_lookup_is_the_last_camera_that_sees_the_voxel() -> None:
    matrices, heights = rig(1), slice_heights((-3.0, 3.0), 2)
    table = lookup_table(GRID, heights, FRUSTUM, matrices)
    assert table.shape == (2, 384) and table.dtype == np.int32
    for z, height in enumerate(heights):
        for cell, place in enumerate(cells()):
            wanted = 0
            for camera, matrix in enumerate(matrices):
                seen = seen_by(matrix, (*place, height))
                pixel = pixel_of(*seen[:2]) if seen else None
                if pixel is not None:
                    wanted = 1 + (camera * 8 + pixel[1]) * 22 + pixel[0]
            assert table[z, cell] == wanted
    assert 0.3 < (table > 0).mean() < 1


@pytest.mark.parametrize("contributions", [3, 40])
def test_pull_takes_the_nearest_distinct_contributions(contributions: int) -> None:
    matrices, heights = rig(2), slice_heights((-3.0, 3.0), 6)
    tables = pull_tables(GRID, heights, FRUSTUM, matrices, contributions)
    assert {name: table.shape for name, table in tables.items()} == dict.fromkeys(tables, (384, contributions))
    longest = 0
    for cell, place in enumerate(cells()):
        found: dict[tuple[int, int], float] = {}
        for camera, matrix in enumerate(matrices):
            for height in heights:
                seen = seen_by(matrix, (*place, height))
                pixel = pixel_of(*seen[:2]) if seen else None
                if seen is None or pixel is None:
                    continue
                depth_bin = round(seen[2] - 1.5)
                if 0 <= depth_bin < 20:
                    feature = (camera * 8 + pixel[1]) * 22 + pixel[0]
                    weight = 1 + ((camera * 20 + depth_bin) * 8 + pixel[1]) * 22 + pixel[0]
                    found[weight, feature] = min(seen[2], found.get((weight, feature), np.inf))
        kept = sorted(found, key=found.__getitem__)[:contributions]
        longest = max(longest, len(found))
        row = list(zip(tables["depth_index"][cell].tolist(), tables["feature_index"][cell].tolist(), strict=True))
        assert set(row[: len(kept)]) == set(kept)
        # What has no weight reads some row, each another one.
        assert all(weight == 0 and 0 <= feature < len(matrices) * 8 * 22 for weight, feature in row[len(kept) :])
    assert longest > 3
    idle = tables["feature_index"][tables["depth_index"] == 0]
    assert np.bincount(idle).max() < 4 + len(idle) / 100


def test_columns_lie_between_their_centres() -> None:
    matrices = rig(3)
    places = column_coordinates(GRID, 0.5, FRUSTUM, matrices)
    for cell, place in enumerate(cells()):
        for camera, matrix in enumerate(matrices):
            seen = seen_by(matrix, (*place, 0.5))
            column = (seen[0] + 0.5) / 16 - 0.5 if seen else -9.0
            depth = seen[2] - 1.5 if seen else -9.0
            if -0.5 < column < 21.5 and -0.5 < depth < 19.5:
                wanted = (np.clip(column, 0, 21), np.clip(depth, 0, 19))
                np.testing.assert_allclose(places[camera, cell], wanted, atol=1e-4)
            else:
                assert (places[camera, cell] == -2).all()


def test_hat_weights_interpolate() -> None:
    weights = hat_weights(np.array([0.0, 1.25, 3.0, -2.0]), 4)
    np.testing.assert_allclose(weights, [[1, 0, 0, 0], [0, 0.75, 0.25, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
