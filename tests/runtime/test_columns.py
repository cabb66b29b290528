from __future__ import annotations

import numpy as np
import pytest

from bevlite.runtime.columns import GROUP, column_levels, column_tables


def pooled(tables: dict[str, np.ndarray], depth: np.ndarray, context: np.ndarray) -> np.ndarray:
    """What the graph does with the tables, in numpy: depth (N, D, h, w), context (N, h, w, C)."""
    weights = np.concatenate([[0.0], depth.ravel()])
    columns = context.transpose(0, 2, 1, 3).reshape(-1, context.shape[1], context.shape[3])
    rows = [(weights[tables["depth_index"]] @ columns[tables["column_index"]]).reshape(-1, context.shape[3])]
    for name in sorted(name for name in tables if name.startswith("level")):
        rows.append(rows[-1][tables[name]].sum(axis=1))
    for table in rows:
        assert not table[0].any()  # row 0 is nothing
    return np.concatenate(rows)[tables["cell_index"]]


def cells_of(kind: str, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Cells (N, D, h, w), scattered over all or as cameras see them."""
    if kind == "columns":
        first = rng.integers(-1, count - 1, (shape[0], shape[1], 1, shape[3]))
        turn = rng.integers(0, shape[2] + 1, first.shape)
        return np.where(np.arange(shape[2])[:, None] < turn, first, first + 1)
    if kind == "scattered":
        return rng.integers(-1, count, shape)
    return np.full(shape, count - 1 if kind == "one cell" else -1)


@pytest.mark.parametrize("chunk", [2, 4])
@pytest.mark.parametrize("kind", ["columns", "scattered", "one cell", "nowhere"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 40, 3, 2)])
def test_tables_sum_every_point_once(chunk: int, kind: str, shape: tuple[int, int, int, int]) -> None:
    rng, count = np.random.default_rng(0), 30
    cells = cells_of(kind, rng, shape, count)
    depth, context = rng.random(shape), rng.normal(size=(shape[0], *shape[2:], 3))
    expected = np.zeros((count, 3))
    for (n, d, v, u), cell in np.ndenumerate(cells):
        if cell >= 0:
            expected[cell] += depth[n, d, v, u] * context[n, v, u]
    tables = column_tables(cells, count, chunk, [40, 200, 100, 64, 64, 64, 64, 64])
    np.testing.assert_allclose(pooled(tables, depth, context), expected, atol=1e-12)
    used = tables["depth_index"][tables["depth_index"] > 0]
    assert sorted(used - 1) == sorted(np.flatnonzero(cells.ravel() >= 0))
    assert all(t.dtype == np.int32 for t in tables.values())
    assert tables["depth_index"].shape == (40, GROUP, shape[2])


@pytest.mark.parametrize("kind", ["columns", "scattered", "one cell", "nowhere"])
def test_levels_are_what_the_tables_need(kind: str) -> None:
    cells = cells_of(kind, np.random.default_rng(1), (2, 20, 6, 4), 40)
    needed = column_levels(cells, 3)
    column_tables(cells, 40, 3, needed)
    for level, of in enumerate(["groups", *["rows"] * (len(needed) - 1)]):
        short = [rows - (i == level) for i, rows in enumerate(needed)]
        if kind != "nowhere":
            with pytest.raises(
                ValueError, match=f"level {level + 1} needs {needed[level]} {of}.*room for {short[level]}"
            ):
                column_tables(cells, 40, 3, short)
    if len(needed) > 1:
        with pytest.raises(ValueError, match=f"level {len(needed)} needs"):
            column_tables(cells, 40, 3, needed[:-1])


def test_a_level_camera_needs_a_slot_for_every_bin_at_most() -> None:
    """All rows of a column reach the cell of their bin together: what makes the form small."""
    rng = np.random.default_rng(2)
    cells = np.broadcast_to(rng.integers(0, 1000, (2, 30, 1, 5)), (2, 30, 8, 5))
    assert column_levels(cells, 4)[0] == 2 * 5  # 30 slots a column, in one group each
