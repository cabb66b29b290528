from __future__ import annotations

import numpy as np
import pytest

from bevlite.runtime.pooling import Frustum, pooling_tables, tree_levels

ROOM = [400, 200, 100, 64, 64, 64, 64]


def pooled(tables: dict[str, np.ndarray], depth: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What the graph does with the tables, in numpy."""
    weights = np.concatenate([[0.0], depth.ravel()])
    partial = (weights[tables["depth_index"]][..., None] * rows[tables["feature_index"]]).sum(axis=1)
    table = np.concatenate([np.zeros((1, rows.shape[1])), partial])
    for name in sorted(name for name in tables if name.startswith("level")):
        table = np.concatenate([table, table[tables[name]].sum(axis=1)])
    return table[tables["cell_index"]]


@pytest.mark.parametrize("chunk", [2, 3, 8])
@pytest.mark.parametrize("kind", ["spread", "crowded", "one cell", "nowhere"])
def test_tables_sum_every_point_once(chunk: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    shape, count = (2, 3, 4, 5), 30
    cells = rng.integers(-1, count, shape)
    if kind == "crowded":
        cells = np.where(rng.random(shape) < 0.7, 7, cells)
    elif kind != "spread":
        cells[:] = 29 if kind == "one cell" else -1
    depth, rows = rng.random(shape), rng.normal(size=(2 * 4 * 5, 3))
    expected = np.zeros((count, 3))
    for (n, d, v, u), cell in np.ndenumerate(cells):
        if cell >= 0:
            expected[cell] += depth[n, d, v, u] * rows[(n * 4 + v) * 5 + u]
    tables = pooling_tables(cells, count, chunk, ROOM)
    np.testing.assert_allclose(pooled(tables, depth, rows), expected, atol=1e-12)
    # Every point that falls on the grid is used exactly once.
    used = tables["depth_index"][tables["depth_index"] > 0]
    assert sorted(used - 1) == sorted(np.flatnonzero(cells.ravel() >= 0))
    assert all(t.dtype == np.int32 for t in tables.values())


def test_tree_levels_is_what_the_tables_need() -> None:
    rng = np.random.default_rng(1)
    cells = np.where(rng.random((2, 5, 4, 6)) < 0.5, 3, rng.integers(-1, 40, (2, 5, 4, 6)))
    needed = tree_levels(cells, 4)
    assert len(needed) > 2
    pooling_tables(cells, 40, 4, needed)
    for level in range(len(needed)):
        short = [rows - (i == level) for i, rows in enumerate(needed)]
        with pytest.raises(ValueError, match=f"level {level + 1} needs {needed[level]}"):
            pooling_tables(cells, 40, 4, short)


def test_frustum_pixels_are_the_centres_of_patches() -> None:
    pixels = Frustum((2.0, 5.0), 3, 4, 8).pixels()
    assert pixels.shape == (2, 3, 4, 3)
    # Patch (1, 2) of stride 8 covers pixels 16..23 and 8..15: centres 19.5 and 11.5.
    np.testing.assert_allclose(pixels[1, 1, 2], [19.5 * 5, 11.5 * 5, 5])
