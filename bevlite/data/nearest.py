"""The nearest of the points that fall into each patch of an image."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def nearest(linear, offset, closest, stride, out):  # type: ignore[no-untyped-def]
    """Lower the depths of an image's patches to those of the points that fall into them.

    Args:
        linear: (P, 3) float32, points in the camera's frame up to its offset: u * depth, v * depth, depth.
        offset: (3,) float32, what to add.
        closest: float32, depth in m at which a point counts no more.
        stride: float32, px a patch.
        out: (height, width) float32 m, changed.
    """
    height, width = out.shape
    half = np.float32(0.5)
    for i in range(len(linear)):
        depth = linear[i, 2] + offset[2]
        if not depth > closest:
            continue
        u = np.floor(((linear[i, 0] + offset[0]) / depth + half) / stride)
        v = np.floor(((linear[i, 1] + offset[1]) / depth + half) / stride)
        if u >= 0 and u < width and v >= 0 and v < height:
            x, y = np.int64(u), np.int64(v)
            out[y, x] = min(out[y, x], depth)
