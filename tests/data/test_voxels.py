"""Voxels that are gathered against numpy's indexing."""

import numpy as np

from bevlite.data.voxels import gather


def test_gather() -> None:
    rng = np.random.default_rng(0)
    shape = (7, 5, 4)
    labels, mask = rng.integers(0, 256, shape, dtype=np.uint8), rng.random(shape) < 0.7
    ix, iy, iz = rng.integers(0, 7, shape[:2]), rng.integers(0, 5, shape[:2]), rng.integers(0, 4, 4)
    inside, inside_z = rng.random(shape[:2]) < 0.7, np.array([True, False, True, True])
    moved, seen = np.empty(shape, np.uint8), np.empty(shape, np.bool_)
    gather(labels, mask, ix, iy, iz, inside, inside_z, moved, seen)
    place = (ix[..., None], iy[..., None], iz)
    np.testing.assert_array_equal(moved, labels[place])
    np.testing.assert_array_equal(seen, mask[place] & inside[..., None] & inside_z)
