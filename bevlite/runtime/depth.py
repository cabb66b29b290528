"""The nearest LiDAR depth in every patch of the images: the numpy reference of the kernel on the board."""

from __future__ import annotations

import numpy as np

CLOSEST_M = 0.5
"""Closer than this to a camera's plane a point gives no depth."""


def depth_images(points: np.ndarray, bev_to_pixel: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """As `bevlite.data.lidar.depth_map`, with sums rounded to float32 one by one in a fixed order.

    Args:
        points: (P, 3 or more) float32 BEV metres.
        bev_to_pixel: (N, 3 or 4, 4), BEV metres to u * depth, v * depth, depth.
        size: (height, width) px of the network's image.
        stride: px a patch.

    Returns:
        (N, height / stride, width / stride) float32 in m, 0 where no point falls.
    """
    height, width = size[0] // stride, size[1] // stride
    maps = np.full((len(bev_to_pixel), height * width), np.inf, np.float32)
    x, y, z = np.ascontiguousarray(points[:, :3].T, np.float32)
    half, step = np.float32(0.5), np.float32(stride)
    for nearest, matrix in zip(maps, bev_to_pixel.astype(np.float32)):
        u, v, depth = (x * row[0] + y * row[1] + z * row[2] + row[3] for row in matrix[:3])
        ahead = (depth > CLOSEST_M) & (depth < np.inf)
        u, v, depth = u[ahead], v[ahead], depth[ahead]
        column, row = np.floor((u / depth + half) / step), np.floor((v / depth + half) / step)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = row[inside].astype(np.int64) * width + column[inside].astype(np.int64)
        np.minimum.at(nearest, place, depth[inside])
    maps[np.isinf(maps)] = 0
    return maps.reshape(-1, height, width)
