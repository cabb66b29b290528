"""A board decodes as the tasks do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from bevlite.board.outputs import WAYS, Classes, Detections, Probabilities, decode
from bevlite.tasks.contract import Task
from bevlite.tasks.detection.task import Detection
from tests.tiny import tiny

SEED = np.random.default_rng(0)


def _maps(task: Task) -> dict[str, np.ndarray]:
    return {
        raw.name: SEED.integers(0, 18, raw.shape).astype(np.int32)
        if raw.kind == "classes"
        else SEED.standard_normal(raw.shape).astype(np.float32)
        for raw in task.maps
    }


def _described(task: Task) -> dict[str, Any]:
    """As it comes out of a manifest."""
    found: dict[str, Any] = json.loads(json.dumps(task.on_board()))
    return found


def _task(name: str, **heads: Any) -> Task:
    variant = tiny(heads=heads) if heads else tiny()
    return next(task for task in variant.heads.tasks(variant.bev) if task.name == name)


@pytest.mark.parametrize("head", [{}, {"detection": {"type": "transfusion"}}], ids=["dense", "queries"])
def test_boxes(head: dict[str, Any]) -> None:
    task = _task("detection", **head)
    assert isinstance(task, Detection)
    maps = _maps(task)
    found, expected = decode(_described(task), maps), task.result(maps, {}, 0)
    assert isinstance(found, Detections) and len(found.boxes) and found.names[0] == "car"
    assert np.array_equal(found.boxes, expected["boxes"]) and np.array_equal(found.scores, expected["scores"])
    assert np.array_equal(found.classes, expected["classes"])


def test_voxels_and_maps() -> None:
    task = _task("occupancy")
    maps = _maps(task)
    found = decode(_described(task), maps)
    assert isinstance(found, Classes) and np.array_equal(found.values, next(iter(maps.values()))[0])
    assert len(found.names) == 18
    task = _task("map_segmentation", map_segmentation={"type": "bevfusion"})
    maps = {name: values * 100 for name, values in _maps(task).items()}
    found = decode(_described(task), maps)
    expected = expit(np.clip(next(iter(maps.values()))[0].astype(np.float64), -60, 60))
    assert isinstance(found, Probabilities) and np.allclose(found.values, expected, atol=1e-6)
    assert len(found.names) == len(found.values) == 6


def test_every_way_is_some_tasks() -> None:
    tasks = [
        _task("detection"),
        _task("detection", detection={"type": "transfusion"}),
        _task("occupancy"),
        _task("map_segmentation", map_segmentation={"type": "bevfusion"}),
    ]
    assert {task.on_board()["way"] for task in tasks} == set(WAYS)
