"""View transforms that pull: every BEV cell is projected into the cameras, and takes what it sees there.

Tables of indices are made here, once a calibration (or every frame, where the ego motion is corrected). Numpy alone:
this runs on the board.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.runtime.pooling import CellGrid, Frustum

NEAREST_M = 0.1
"""Closer than this along the optical axis nothing is seen."""


def slice_heights(z_range_m: tuple[float, float], slices: int) -> tuple[float, ...]:
    """Centres of so many equal slices of a height range, in m."""
    low, high = z_range_m
    return tuple(low + (high - low) * (k + 0.5) / slices for k in range(slices))


def project_cells(grid: CellGrid, heights_m: Sequence[float], pixel_to_bev: np.ndarray) -> np.ndarray:
    """Where the cameras see the centres of the BEV cells.

    Args:
        grid: the BEV grid.
        heights_m: (Z,) heights over the cell centres, m.
        pixel_to_bev: (N, 4, 4), takes (u * depth, v * depth, depth, 1) to BEV metres.

    Returns:
        (N, Z, P, 3) float64: u px, v px, depth m along the optical axis, for the P = ny * nx cells row by row. Behind
        the camera u and v are NaN.
    """
    x = grid.x_min + (np.arange(grid.nx) + 0.5) * grid.cell_m
    y = grid.y_min + (np.arange(grid.ny) + 0.5) * grid.cell_m
    cells = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    heights = np.asarray(heights_m, dtype=np.float64)
    points = np.concatenate(
        [
            np.broadcast_to(cells, (len(heights), *cells.shape)),
            np.broadcast_to(heights[:, None, None], (len(heights), len(cells), 1)),
        ],
        axis=-1,
    )
    inverse = np.linalg.inv(pixel_to_bev)
    seen: np.ndarray = points[None] @ np.swapaxes(inverse[:, None, :3, :3], -1, -2)
    seen += inverse[:, None, None, :3, 3]
    depth = seen[..., 2]
    hidden = ~(depth > NEAREST_M)
    for axis in (0, 1):
        pixels = seen[..., axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels /= depth
        pixels[hidden] = np.nan
    return seen


def feature_pixels(projected: np.ndarray, height: int, width: int, stride: int) -> tuple[np.ndarray, ...]:
    """The feature pixel that a projected point falls into.

    Args:
        projected: (..., 3) from `project_cells`.
        height: of the feature map.
        width: of the feature map.
        stride: px a feature step.

    Returns:
        Column, row (int64, 0 where unseen), and whether it is in the image (bool), all (...).
    """
    with np.errstate(invalid="ignore"):
        column = np.floor((projected[..., 0] + 0.5) / stride)
        row = np.floor((projected[..., 1] + 0.5) / stride)
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(seen, column, 0).astype(np.int64), np.where(seen, row, 0).astype(np.int64), seen


def lookup_table(grid: CellGrid, heights_m: Sequence[float], frustum: Frustum, pixel_to_bev: np.ndarray) -> np.ndarray:
    """One feature pixel for every voxel (Fast-BEV): where two cameras see it, the later one counts.

    Args:
        grid: the BEV grid.
        heights_m: (Z,) heights of the voxels, m.
        frustum: size and stride of the feature map (its depths do not count).
        pixel_to_bev: (N, 4, 4).

    Returns:
        (Z, P) int32: 1 + index into the feature rows (N, h, w); 0 where no camera sees the voxel.
    """
    projected = project_cells(grid, heights_m, pixel_to_bev)
    column, row, seen = feature_pixels(projected, frustum.height, frustum.width, frustum.stride)
    table = np.zeros(projected.shape[1:3], dtype=np.int32)
    for camera in range(len(pixel_to_bev)):
        index = 1 + (camera * frustum.height + row[camera]) * frustum.width + column[camera]
        table = np.where(seen[camera], index, table).astype(np.int32)
    return table


def pull_tables(
    grid: CellGrid, heights_m: Sequence[float], frustum: Frustum, pixel_to_bev: np.ndarray, contributions: int
) -> dict[str, np.ndarray]:
    """The nearest contributions of every BEV cell: which depth weight goes with which feature row.

    A cell is looked at in every slice and camera; each look is a feature pixel and the depth bin next to its depth. A
    pixel and bin that come again count once; of more than `contributions`, those nearest to their camera are kept.

    Args:
        grid: the BEV grid.
        heights_m: (Z,) heights of the slices, m.
        frustum: feature map and depth bins, equally spaced.
        pixel_to_bev: (N, 4, 4).
        contributions: K, the most that a cell takes.

    Returns:
        depth_index (P, K) int32: 1 + index into the depth weights (N, D, h, w); 0 is the zero weight.
        feature_index (P, K) int32: index into the feature rows (N, h, w); any where the weight is zero.
    """
    projected = project_cells(grid, heights_m, pixel_to_bev)
    column, row, seen = feature_pixels(projected, frustum.height, frustum.width, frustum.stride)
    depths = np.asarray(frustum.depths_m)
    step = depths[1] - depths[0] if len(depths) > 1 else 1.0
    bins = np.round((projected[..., 2] - depths[0]) / step).astype(np.int64)
    seen = seen & (bins >= 0) & (bins < len(depths))
    cameras, slices, cells = seen.shape
    # Most cameras do not see a cell: from here on only looks that see something, in the order of cameras and slices.
    flat = np.flatnonzero(seen)
    look, cell = flat // cells, flat % cells
    camera, area = look // slices, frustum.height * frustum.width
    pixel = row.reshape(-1)[flat] * frustum.width + column.reshape(-1)[flat]
    weight = 1 + (camera * len(depths) + bins.reshape(-1)[flat]) * area + pixel
    _, first = np.unique(cell * (1 + cameras * len(depths) * area) + weight, return_index=True)
    nearest = first[np.lexsort((look[first], projected[..., 2].reshape(-1)[flat[first]], cell[first]))]
    entry = np.arange(len(nearest)) - np.searchsorted(cell[nearest], cell[nearest])
    kept, entry = nearest[entry < contributions], entry[entry < contributions]
    depth_index = np.zeros((cells, contributions), dtype=np.int32)
    depth_index[cell[kept], entry] = weight[kept]
    # What has no weight reads any row; all of them the same one would make its gradient wait for every other.
    feature_index = np.arange(cells * contributions, dtype=np.int32).reshape(cells, -1) % np.int32(cameras * area)
    feature_index[cell[kept], entry] = camera[kept] * area + pixel[kept]
    return {"depth_index": depth_index, "feature_index": feature_index}


def column_coordinates(grid: CellGrid, height_m: float, frustum: Frustum, pixel_to_bev: np.ndarray) -> np.ndarray:
    """Where every BEV cell lies in the columns of the feature maps and their depth bins.

    Args:
        grid: the BEV grid.
        height_m: at which cells are looked at; of a camera that is not pitched it does not count.
        frustum: feature map and depth bins, equally spaced.
        pixel_to_bev: (N, 4, 4).

    Returns:
        (N, P, 2) float32: column and depth bin as positions between their centres; -2 where the cell is not seen.
    """
    projected = project_cells(grid, (height_m,), pixel_to_bev)[:, 0]
    depths = np.asarray(frustum.depths_m)
    step = depths[1] - depths[0] if len(depths) > 1 else 1.0
    column = (projected[..., 0] + 0.5) / frustum.stride - 0.5
    place = (projected[..., 2] - depths[0]) / step
    with np.errstate(invalid="ignore"):
        seen = (column > -0.5) & (column < frustum.width - 0.5) & (place > -0.5) & (place < len(depths) - 0.5)
    found = np.stack([np.clip(column, 0, frustum.width - 1), np.clip(place, 0, len(depths) - 1)], axis=-1)
    return np.where(seen[..., None], found, -2.0).astype(np.float32)


def hat_weights(position: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation as a matrix: (...,) positions between `count` places to (..., count) float32 weights.

    Weights of a position add up to 1; of one at -1 or below they are 0.
    """
    places = np.arange(count, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(position[..., None].astype(np.float32) - places))
