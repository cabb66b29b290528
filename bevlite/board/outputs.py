"""From raw maps to what a network was asked for, task by task, as a package says (`Task.on_board`)."""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from bevlite.runtime.decoding import BoxDecoding, Boxes, decode_boxes, decode_queries

LARGEST_LOGIT = 60.0


class Detections(NamedTuple):
    """Boxes of one frame, best first: (K, 9) x, y, z, l, w, h, yaw, vx, vy in the BEV frame (m, rad, m/s), scores (K,),
    classes (K,) by number, and the names that the numbers stand for."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]


class Classes(NamedTuple):
    """The class of every voxel, (z, y, x) int32, and the names that the numbers stand for."""

    values: np.ndarray
    names: tuple[str, ...]


class Probabilities(NamedTuple):
    """The probability of each class, (classes, y, x) float32 of 0..1, and the names of the classes."""

    values: np.ndarray
    names: tuple[str, ...]


def decode(task: Mapping[str, Any], maps: Mapping[str, np.ndarray]) -> Any:
    """What a task found in the raw maps of one frame, each (1, ...)."""
    found = WAYS[task["way"]](task, [maps[name][0] for name in task["maps"]])
    return found


def _dense(task: Mapping[str, Any], maps: list[np.ndarray]) -> Detections:
    return _detections(task, decode_boxes(maps[0], maps[1], _decoding(task)))


def _queries(task: Mapping[str, Any], maps: list[np.ndarray]) -> Detections:
    return _detections(task, decode_queries(maps[0], _decoding(task)))


def _detections(task: Mapping[str, Any], found: Boxes) -> Detections:
    return Detections(found.boxes, found.scores, found.classes, tuple(task["classes"]))


def _classes(task: Mapping[str, Any], maps: list[np.ndarray]) -> Classes:
    return Classes(maps[0].astype(np.int32), tuple(task["classes"]))


def _probabilities(task: Mapping[str, Any], maps: list[np.ndarray]) -> Probabilities:
    logits = np.clip(maps[0].astype(np.float32), -LARGEST_LOGIT, LARGEST_LOGIT)
    return Probabilities(1 / (1 + np.exp(-logits)), tuple(task["classes"]))


def _decoding(task: Mapping[str, Any]) -> BoxDecoding:
    settings = dict(task["decoding"])
    return BoxDecoding(**dict(settings, groups=tuple(tuple(group) for group in settings["groups"])))


WAYS: dict[str, Callable[[Mapping[str, Any], list[np.ndarray]], Any]] = {
    "dense": _dense,
    "queries": _queries,
    "classes": _classes,
    "probabilities": _probabilities,
}
"""Every way of decoding by the name that a package calls it."""
