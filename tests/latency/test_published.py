"""Golden numbers: every published row whose network can be rebuilt is predicted as it was, to the last digit.

A change on purpose is written by `python benchmarks/golden_rows.py --write`, and explained row by row.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import onnx
import pytest

from benchmarks.published_rows import Row, predict_rows, read_rows
from bevlite.latency.onnx.graph import Graph, read_graph

FOLDER = Path(__file__).parent / "published"
SAME = 1e-12
"""Relative: another processor may round a power in its last bit."""
MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    with tarfile.open(FOLDER / "graphs.tar.xz") as tar:
        content = {entry.name: tar.extractfile(entry) for entry in tar.getmembers()}
        return {name: read_graph(onnx.load_from_string(file.read())) for name, file in content.items() if file}


@pytest.fixture(scope="module")
def kept() -> dict[str, float]:
    found: dict[str, float] = json.loads((FOLDER / "predictions.json").read_text(encoding="utf-8"))
    return found


def rows_of(graphs: dict[str, Graph]) -> list[Row]:
    return [row for row in read_rows() if row.file in graphs]


def test_every_row_whose_graph_is_there_has_a_golden_number(graphs: dict[str, Graph], kept: dict[str, float]) -> None:
    rows = rows_of(graphs)
    assert {row.id for row in rows} == set(kept)
    assert len(rows) > 100 and {row.file for row in rows} == set(graphs)
    assert {row.lineage for row in rows} >= {"YOLO", "ResNet", "mobile CNN", "plain ViT", "EfficientViT"}


def test_published_rows_are_predicted_as_they_were(graphs: dict[str, Graph], kept: dict[str, float]) -> None:
    rows = rows_of(graphs)
    predicted = predict_rows(rows, lambda row: graphs[row.file])
    moved = [
        f"{row.id} {row.network} on {row.device}: {kept[row.id]!r} -> {predicted[row.id]!r} ms"
        for row in rows
        if abs(predicted[row.id] - kept[row.id]) > SAME * kept[row.id]
    ]
    assert not moved, "rows moved:\n" + "\n".join(moved)


def test_a_row_that_moves_is_seen(graphs: dict[str, Graph], kept: dict[str, float]) -> None:
    row = rows_of(graphs)[0]
    other = next(g for name, g in graphs.items() if name != row.file)
    assert predict_rows([row], lambda _: other)[row.id] != pytest.approx(kept[row.id], rel=SAME, abs=0)


def test_the_files_stay_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MOST_BYTES
