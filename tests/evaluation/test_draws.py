"""Intervals of an evaluation, and of what was lost since another: against draws of the figures from its own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import bevlite
from bevlite.compression.ledger import Allowed, read_ledger
from bevlite.data.config import DataConfig
from bevlite.evaluation.draws import Draws, read_draws
from bevlite.evaluation.run import accuracy_table
from bevlite.metrics.bootstrap import DetectionBootstrap, resample
from bevlite.models.detector import Detector
from bevlite.reporting.ledger import draw_ledger, ledger_table
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe

SPLIT = "mini_train"  # two scenes


def run_of(world: DataConfig, path: Path) -> Run:
    run, variant = Run(path), lidar_only()
    run.create(variant, world, short_recipe(), 0)
    for seed, stage in enumerate(("float", "finetuned")):
        torch.manual_seed(seed)
        save_weights(run, live(Detector(variant)).state_dict(), variant, {"epoch": 2}, stage)  # type: ignore[arg-type]
    return run


def test_intervals_of_a_figure_and_of_what_was_lost(world: DataConfig, tmp_path: Path) -> None:
    run = run_of(world, tmp_path / "run")
    drawn = {}
    for stage, folder in (("float", f"{SPLIT}-torch"), ("finetuned", f"{SPLIT}-torch-finetuned")):
        summary = bevlite.evaluate(run, split=SPLIT, stage=stage, draws=20, progress=False)
        bootstrap = DetectionBootstrap(run.data(), SPLIT, run.path / "eval" / folder / "nusc_results.json")
        drawn[stage] = resample(bootstrap.figures, 2, 20)["NDS"]
        assert summary["intervals"]["NDS"] == pytest.approx(np.percentile(drawn[stage], (2.5, 97.5)), abs=1e-9)
        assert f"the {summary['scenes']} scenes: NDS" in accuracy_table(summary) and summary["scenes"] == 2
    start, line = read_ledger(run.path, Allowed())
    assert start.intervals["NDS"][0] <= start.scores["NDS"] <= start.intervals["NDS"][1]
    lost = np.percentile(1 - drawn["finetuned"] / drawn["float"], (2.5, 97.5))
    assert line.lost_range == pytest.approx(lost, abs=1e-9)
    assert f"{line.lost:.1%} [{lost[0]:.1%}, {lost[1]:.1%}]" in ledger_table([start, line])
    draw_ledger([start, line], tmp_path / "ledger.png", "run", 0.03)
    assert (tmp_path / "ledger.png").stat().st_size > 10_000


def test_what_has_no_draws_has_no_interval(world: DataConfig, tmp_path: Path) -> None:
    run = run_of(world, tmp_path / "run")
    bevlite.evaluate(run, split=SPLIT, stage="float", draws=20, progress=False)
    bevlite.evaluate(run, stage="finetuned", progress=False)  # one scene alone
    assert read_ledger(run.path, Allowed())[1].lost_range is None
    again = bevlite.evaluate(run, split=SPLIT, stage="float", draws=0, progress=False)
    assert "intervals" not in again and read_draws(run.path / "eval" / f"{SPLIT}-torch") is None


def test_only_the_same_samples_are_paired() -> None:
    ones = np.linspace(0.4, 0.6, 20)
    before = Draws("a", {"NDS": ones})
    assert Draws("a", {"NDS": ones / 2}).relative_loss(before, "NDS") == pytest.approx((0.5, 0.5))
    assert Draws("b", {"NDS": ones / 2}).relative_loss(before, "NDS") is None
    assert Draws("a", {"NDS": ones[:5]}).relative_loss(before, "NDS") is None
    assert Draws("a", {"mAP": ones}).relative_loss(before, "NDS") is None
    assert Draws("a", {"NDS": ones}).relative_loss(Draws("a", {"NDS": ones * 0}), "NDS") is None
