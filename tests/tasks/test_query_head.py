"""A network with queries in place of dense maps, all the way: trained, exported, scored, drawn and predicted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bevlite.data.config import DataConfig
from bevlite.evaluation.picture import draw_sample
from bevlite.evaluation.run import evaluate_run
from bevlite.export.run import export_run
from bevlite.tasks.detection import QUERIES
from bevlite.training.loop import train
from tests.tiny import lidar_only, short_recipe

HEAD = {"type": "transfusion", "channels": 32, "proposals": 50, "heads": 4, "feed_forward": 48, "branch_channels": 16}


@pytest.mark.slow
def test_the_whole_road(world: DataConfig, tmp_path: Path) -> None:
    variant = lidar_only(heads={"detection": HEAD})
    # Long enough that its heat map has made up its mind: before, FP16 swaps queries that are as good as each other.
    recipe = short_recipe(epochs=24, learning_rate=3e-3, losses={"query": 0.5}, precision="bf16")
    run = train(variant, world, recipe, tmp_path / "run", progress=False)
    lines = [json.loads(line)["loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"heatmap", "query", "box"}] * 24
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    assert sum(lines[-1].values()) < 0.8 * sum(lines[0].values())
    for version in ("8.6", "10.3"):
        (report,) = export_run(run.path, version, samples=2)
        assert report.problems == []
        (row,) = report.parity
        assert (row.name, row.kind) == (QUERIES, "set")
        assert report.emission == "strong" or (row.relative < 1e-4 and row.agreement == 1)
    figures = {backend: evaluate_run(run.path, backend=backend, workers=0) for backend in ("torch", "onnx")}
    assert figures["onnx"]["NDS"] == pytest.approx(figures["torch"]["NDS"], abs=1e-3)
    draw_sample(run.path, 0, tmp_path / "sample.png")
    assert (tmp_path / "sample.png").stat().st_size > 10_000
