"""What to measure next, from files, as the command line asks."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

import bevlite
from bevlite.errors import BevliteError
from tests.latency.graphs import conv_relu, model


@pytest.fixture
def networks(tmp_path: Path) -> list[Path]:
    """Two convolutions that differ in size, and an elementwise network."""
    plain = [helper.make_node("Exp", ["x"], ["y"], name="exp")]
    models = {"one": conv_relu(64), "two": conv_relu(96), "exp": model(plain, {"x": (1, 64, 256, 256)}, ["y"])}
    for name, graph in models.items():
        onnx.save(graph, tmp_path / f"{name}.onnx")
    return [tmp_path / f"{name}.onnx" for name in models]


def test_one_of_each_kind_comes_first_and_what_is_left_is_surer(networks: list[Path]) -> None:
    found = bevlite.measure_next(networks, device="agx-orin-64gb", count=3)
    kinds = [Path(row.network).stem for row in found]
    assert set(kinds[:2]) & {"one", "two"} and "exp" in kinds[:2]
    assert found[0].uncertain > found[1].uncertain >= found[2].uncertain


def test_what_was_measured_is_not_asked_for_again_in_kind(networks: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "measured.csv"
    table.write_text("onnx,latency_ms\none.onnx,0.05\ntwo.onnx,0.07\n")
    (first,) = bevlite.measure_next(networks, device="agx-orin-64gb", count=1, reports=[table])
    assert Path(first.network).stem == "exp"


def test_a_count_out_of_range_is_refused(networks: list[Path]) -> None:
    with pytest.raises(BevliteError, match="--count: found 0; accepted: 1 to 1000"):
        bevlite.measure_next(networks, device="agx-orin-64gb", count=0)
