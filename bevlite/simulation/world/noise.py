"""Noise that belongs to a place: the same there in every sweep."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """A pseudo-random number in [0, 1) of three integers."""
    h = np.uint32(a) * np.uint32(374761393) + np.uint32(b) * np.uint32(668265263) + np.uint32(c) * np.uint32(2246822519)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = h ^ (h >> np.uint32(16))
    return float(h & np.uint32(0xFFFFFF)) / 16777216.0


@njit(cache=True, nogil=True)
def patches(x, y):  # type: ignore[no-untyped-def]
    """A value in [-1, 1) for the ground at (x, y) in metres: patches of 3 m and, on them, spots of 0.7 m."""
    large = _hash(int(np.floor(x / 3.0)), int(np.floor(y / 3.0)), 101)
    small = _hash(int(np.floor(x / 0.7)), int(np.floor(y / 0.7)), 102)
    return large + small - 1.0
