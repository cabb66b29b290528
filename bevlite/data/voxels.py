"""Voxels taken from elsewhere in their grid."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def gather(labels, mask, ix, iy, iz, inside, inside_z, moved, seen):  # type: ignore[no-untyped-def]
    """Labels and mask (X, Y, Z) of other voxels.

    Args:
        labels: uint8.
        mask: bool.
        ix: (X, Y), from which column along x.
        iy: (X, Y), along y.
        iz: (Z,), from which height.
        inside: (X, Y) bool, columns of which nothing is masked out.
        inside_z: (Z,) bool, heights of which nothing is masked out.
        moved: (X, Y, Z) uint8, the labels, written.
        seen: (X, Y, Z) bool, the mask, written.
    """
    for x in range(moved.shape[0]):
        for y in range(moved.shape[1]):
            column, seen_column = labels[ix[x, y], iy[x, y]], mask[ix[x, y], iy[x, y]]
            for z in range(moved.shape[2]):
                source = np.uint32(iz[z])
                moved[x, y, z] = column[source]
                seen[x, y, z] = seen_column[source] & inside[x, y] & inside_z[z]
