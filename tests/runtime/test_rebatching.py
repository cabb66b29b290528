"""Queries packed by camera, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.pooling import CellGrid
from bevlite.runtime.rebatching import NOWHERE, camera_slots, needed_slots
from bevlite.runtime.sampling import project_cells

GRID = CellGrid(-25.6, -25.6, 3.2, 16, 16, -3.0, 3.0)
IMAGE, HEIGHTS = (128, 352), (-1.5, 1.5)


@pytest.mark.parametrize("overlap", [1, 2])
def test_tables_against_a_loop(overlap: int) -> None:
    matrices = nominal_pixel_to_bev(*IMAGE)
    projected = project_cells(GRID, HEIGHTS, matrices)
    tables = camera_slots(GRID, HEIGHTS, matrices, IMAGE, 200, overlap)
    assert {name: table.shape for name, table in tables.items()} == {
        "slot_query": (6, 200),
        "slot_reference": (6, 200, 2, 2),
        "query_slot": (256, overlap),
        "query_share": (256, 1),
    }
    crowded = 0
    for query in range(256):
        seen = {}
        for camera in range(6):
            inside = [
                bool(-0.5 < u < IMAGE[1] - 0.5 and -0.5 < v < IMAGE[0] - 0.5) for u, v, _ in projected[camera, :, query]
            ]
            if any(inside):
                seen[camera] = inside
        crowded += len(seen) > overlap
        kept = sorted(seen, key=lambda camera: (-sum(seen[camera]), camera))[:overlap]
        slots = [divmod(int(entry) - 1, 200) for entry in tables["query_slot"][query] if entry]
        assert sorted(camera for camera, _ in slots) == sorted(kept)
        assert tables["query_share"][query, 0] == pytest.approx(1 / len(kept) if kept else 0)
        for camera, slot in slots:
            assert tables["slot_query"][camera, slot] == 1 + query
            for point, inside in enumerate(seen[camera]):
                u, v, _ = projected[camera, point, query]
                wanted = (2 * (u + 0.5) / IMAGE[1] - 1, 2 * (v + 0.5) / IMAGE[0] - 1) if inside else (NOWHERE, NOWHERE)
                np.testing.assert_allclose(tables["slot_reference"][camera, slot, point], wanted, rtol=1e-5)
    assert (tables["slot_query"] > 0).sum() == (tables["query_slot"] > 0).sum() > 100
    assert overlap == 2 or crowded > 0


def test_too_few_slots_are_an_error_and_no_query_is_dropped() -> None:
    matrices = nominal_pixel_to_bev(*IMAGE)
    needed = needed_slots(GRID, HEIGHTS, matrices, IMAGE, 2)
    tables = camera_slots(GRID, HEIGHTS, matrices, IMAGE, needed, 2)
    assert (tables["slot_query"] > 0).sum(axis=1).max() == needed
    with pytest.raises(ValueError, match=f"slots: found {needed - 1} .* sees {needed} queries"):
        camera_slots(GRID, HEIGHTS, matrices, IMAGE, needed - 1, 2)
