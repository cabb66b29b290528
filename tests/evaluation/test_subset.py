"""Scores on some samples of a split: of all of them the official one, halves and draws from their scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bevlite
from bevlite.data.config import DataConfig
from bevlite.data.index import Index
from bevlite.evaluation import subset
from bevlite.evaluation.subset import DRAWS, Samples, Score, loss, spread
from bevlite.inference.torch import TorchNetwork
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe


@pytest.mark.parametrize(
    ("heads", "split", "figure"),
    [({}, "mini_train", "NDS"), ({"detection": None, "occupancy": {}}, "mini_val", "occ_miou")],
)
def test_all_samples_give_what_the_evaluation_gives(
    world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: dict[str, Any], split: str, figure: str
) -> None:
    monkeypatch.setattr(subset, "DRAWS", 20)
    run = Run(tmp_path / "run")
    variant = lidar_only(heads=heads)
    run.create(variant, world, short_recipe(), 0)
    torch.manual_seed(0)
    save_weights(run, live(Detector(variant)).state_dict(), variant, {"epoch": 2})
    network = TorchNetwork.of_weights(variant, run.weights(variant))
    official = bevlite.evaluate(run, split=split, progress=False)
    samples = Samples(run, variant, samples=100, split=split, workers=0)
    assert samples.figure == figure and len(samples.scenes) == {"mini_train": 2, "mini_val": 1}[split]
    score, again = samples.score(network), samples.score(network)  # the second time from memory
    assert score.value == again.value == pytest.approx(official[figure], abs=1e-9)
    assert len(score.draws) == 20 and (score.draws == again.draws).all()
    assert (score.halves is None) == (len(samples.scenes) == 1)
    assert len(np.unique(score.draws.round(9))) == {1: 1, 2: 3}[len(samples.scenes)]  # one twice, the other, or both
    same = loss(score, again)
    assert (same.value, same.lower, same.upper, same.error) == (0, 0, 0, 0)


def test_a_loss_is_paired() -> None:
    """Scenes that are hard for both networks do not widen the interval."""
    hard = np.random.default_rng(0).normal(0.5, 0.2, DRAWS)
    lost = loss(Score(0.5, (0.4, 0.6), hard), Score(0.4, (0.35, 0.45), hard - 0.1))
    assert lost.value == pytest.approx(0.1) and lost.lower == pytest.approx(0.1) == pytest.approx(lost.upper)
    assert lost.halves == pytest.approx((0.05, 0.15)) and lost.error == pytest.approx(0, abs=1e-12)


def test_samples_are_spread_over_the_scenes(index: Index) -> None:
    rows = np.arange(len(index))  # three scenes of three samples
    assert spread(index, rows, 100, False) is rows
    assert spread(index, rows, 3, False).tolist() == [0, 4, 8]
    assert len(set(index.scenes[spread(index, rows, 3, False)])) == 3
    whole = spread(index, rows, 5, True)  # two scenes, from their first sample to their last
    assert whole.tolist() == [0, 1, 2, 6, 7, 8]
