"""Map IoU against counting cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.data.classes import MAP_CLASSES
from bevlite.metrics.bootstrap import map_figures, resample
from bevlite.metrics.map_segmentation import THRESHOLDS, map_counts, map_miou


def test_the_best_threshold_of_each_class_counts() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((3, 6, 20, 20)) < np.array([0.5, 0.1, 0.2, 0.05, 0.3, 0.0])[:, None, None]
    probability = np.clip(0.35 * truth + rng.random(truth.shape) * 0.6, 0, 1).astype(np.float32)
    counts = sum(map_counts(p, t) for p, t in zip(probability, truth.astype(np.uint8), strict=True))
    found = map_miou(np.asarray(counts))
    for c, name in enumerate(MAP_CLASSES):
        ious = []
        for threshold in THRESHOLDS:
            positive = probability[:, c] >= np.float32(threshold)
            union = (positive | truth[:, c]).sum()
            ious.append((positive & truth[:, c]).sum() / union if union else np.nan)
        assert found["map_per_class"][name] == pytest.approx(np.nanmax(ious))
    assert found["map_miou"] == pytest.approx(np.mean(list(found["map_per_class"].values())))


def test_a_class_that_is_neither_there_nor_found_is_left_out() -> None:
    truth = np.zeros((6, 4, 4), np.uint8)
    truth[0] = 1
    perfect = map_miou(map_counts(truth.astype(np.float32), truth))
    assert perfect["map_miou"] == 1 and perfect["map_per_class"]["divider"] is None
    assert map_miou(np.zeros((6, len(THRESHOLDS), 3), np.int64))["map_miou"] == 0


def test_scenes_are_drawn_whole() -> None:
    truth = np.zeros((2, 6, 4, 4), np.uint8)
    truth[:, 0] = 1
    right, wrong = map_counts(truth[0].astype(np.float32), truth[0]), map_counts(np.zeros((6, 4, 4)), truth[1])
    figures = map_figures(np.stack([right, wrong]), np.array(["a", "b"]))
    assert figures(np.array([2, 0]))["map_miou"] == 1 and figures(np.array([1, 1]))["map_miou"] == 0.5
    assert set(resample(figures, 2, draws=40)["map_miou"]) == {0.0, 0.5, 1.0}
