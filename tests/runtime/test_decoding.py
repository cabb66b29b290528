from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.grid import BEVGrid
from bevlite.losses.targets import box_targets
from bevlite.models.heads.detection import centerpoint
from bevlite.runtime.decoding import (
    BOX_CHANNELS,
    CIRCLE_NMS_RADIUS_M,
    BoxDecoding,
    QueryRows,
    circle_nms,
    decode_boxes,
    decode_queries,
)
from bevlite.tasks.detection import GROUPS

GRID = BEVGrid(x_range_m=(-40.0, 40.0), y_range_m=(-24.0, 24.0), cell_m=0.8)
TASKS = GROUPS["six"].channels
DECODING = BoxDecoding(-40.0, -24.0, 0.8, TASKS)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of all classes, one every 5 m at most."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(-37, 38, 6), np.arange(-21, 22, 6)), axis=-1).reshape(-1, 2)
    places = rng.permutation(places)[:30] + rng.uniform(-0.5, 0.5, (30, 2))
    boxes = np.zeros((30, 9), dtype=np.float32)
    boxes[:, :2], boxes[:, 2] = places, rng.uniform(-1, 2, 30)
    boxes[:, 3:6] = rng.uniform(0.3, 12, (30, 3))
    boxes[:, 6], boxes[:, 7:] = rng.uniform(-math.pi, math.pi, 30), rng.normal(0, 5, (30, 2))
    return boxes, np.arange(30) % 10


@pytest.mark.parametrize("seed", range(3))
def test_decoding_inverts_the_training_targets(seed: int) -> None:
    boxes, labels = scene(seed)
    targets = box_targets(torch.from_numpy(boxes)[None], torch.from_numpy(labels)[None], GRID).compact()
    heatmap = np.full((10, GRID.ny, GRID.nx), -9.0)
    maps = np.random.default_rng(seed).normal(size=(60, GRID.ny * GRID.nx))
    for i, (label, cell) in enumerate(zip(targets.classes.tolist(), targets.cell.tolist(), strict=True)):
        task = next(t for t, channels in enumerate(TASKS) if label in channels)
        heatmap[label].flat[cell] = 5 - 0.1 * i
        maps[task * BOX_CHANNELS : (task + 1) * BOX_CHANNELS, cell] = targets.values[i].numpy()
    found = decode_boxes(heatmap, maps.reshape(60, GRID.ny, GRID.nx), DECODING)
    assert np.array_equal(found.classes, labels)  # best first is the order in which they were written
    assert np.all(np.diff(found.scores) <= 0)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-(5 - 0.1 * np.arange(30)))))
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-4)


def test_tasks_and_classes_agree_everywhere() -> None:
    assert tuple(name for group in GROUPS["six"].groups for name in group) == DETECTION_CLASSES
    assert all(sorted(c for group in form.channels for c in group) == list(range(10)) for form in GROUPS.values())
    assert sum(width for _, width in centerpoint.BOX_BRANCHES) == BOX_CHANNELS
    published = [math.sqrt(v) for v in (4, 12, 10, 1, 0.85, 0.175)]  # squared metres a task
    by_class = [published[t] for t, task in enumerate(TASKS) for _ in task]
    np.testing.assert_allclose(CIRCLE_NMS_RADIUS_M, by_class, atol=0.05)


def test_limits() -> None:
    rng = np.random.default_rng(0)
    heatmap, maps = rng.normal(0, 2, (10, 32, 32)), rng.normal(size=(60, 32, 32))
    few = decode_boxes(heatmap, maps, BoxDecoding(0, 0, 8.0, TASKS, max_boxes=20))
    assert len(few.boxes) == 20
    strict = decode_boxes(heatmap, maps, BoxDecoding(0, 0, 8.0, TASKS, score_threshold=0.9))
    assert len(strict.boxes) > 0 and strict.scores.min() > 0.9
    assert len(decode_boxes(np.full((10, 4, 4), -50.0), np.zeros((60, 4, 4)), DECODING).boxes) == 0
    maps[0] = np.nan  # the first task's x offset
    survivors = decode_boxes(heatmap, maps, BoxDecoding(0, 0, 8.0, TASKS))
    assert len(survivors.boxes) and np.isfinite(survivors.boxes).all() and not (survivors.classes == 0).any()
    maps[:] = 1e4  # a size that would overflow
    assert np.isfinite(decode_boxes(heatmap, maps, DECODING).boxes).all()


@pytest.mark.parametrize("seed", range(5))
def test_circle_nms_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres, classes = rng.uniform(0, 8, (60, 2)), rng.integers(0, 4, 60)
    radius = np.array([0.5, 1.0, 2.0, 4.0])[classes]
    expected: list[int] = []
    for i in range(60):
        if all(classes[i] != classes[j] or math.dist(centres[i], centres[j]) > radius[j] for j in expected):
            expected.append(i)
    assert circle_nms(centres, classes, radius).tolist() == expected
    assert 4 < len(expected) < 60


def test_circle_nms_of_nothing() -> None:
    assert circle_nms(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0)).tolist() == []


def queries(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A column a box, from a cell up to two cells away, the best first."""
    columns = np.zeros((15, len(boxes)))
    x, y = (boxes[:, 0] + 40.0) / 0.8, (boxes[:, 1] + 24.0) / 0.8
    columns[QueryRows.CLASS], columns[QueryRows.SCORE] = labels, np.linspace(0.9, 0.2, len(boxes))
    columns[QueryRows.X], columns[QueryRows.Y] = np.floor(x) + 2, np.floor(y) - 1
    columns[QueryRows.BOX :] = [x - columns[1], y - columns[2], boxes[:, 2], *np.log(boxes[:, 3:6].T),
                                np.sin(boxes[:, 6]), np.cos(boxes[:, 6]), *boxes[:, 7:].T]  # fmt: skip
    return columns


def test_queries_become_boxes_in_any_order() -> None:
    boxes, labels = scene(0)
    columns = queries(boxes, labels)
    order = np.random.default_rng(0).permutation(len(boxes))
    found = decode_queries(columns[:, order].astype(np.float32), DECODING)
    assert np.array_equal(found.classes, labels) and np.all(np.diff(found.scores) < 0)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-4)


def test_limits_of_queries() -> None:
    boxes, labels = scene(1)
    columns = queries(boxes, labels)
    columns[QueryRows.SCORE, :3] = 0.05, 0.0, -1.0  # not over the threshold
    columns[12, 3], columns[QueryRows.SCORE, 4], columns[QueryRows.X, 5] = np.nan, np.inf, -np.inf
    found = decode_queries(columns, DECODING)
    np.testing.assert_allclose(found.boxes, boxes[6:], atol=1e-4)
    assert len(decode_queries(columns, BoxDecoding(0, 0, 1.0, max_boxes=7)).boxes) == 7
    many = np.repeat(queries(boxes, labels), 30, axis=1)
    assert len(decode_queries(many, DECODING).boxes) == 500  # no NMS: all stand at one place
    assert decode_queries(columns[:, :3], DECODING).boxes.shape == (0, 9)
    columns[QueryRows.BOX + 3] = 1e4  # a size that would overflow
    assert np.isfinite(decode_queries(columns, DECODING).boxes).all()
