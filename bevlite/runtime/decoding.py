"""From raw maps to boxes: the same for torch, ONNX Runtime and engine outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOX_CHANNELS = 10  # offset 2, z 1, log size 3, sin cos 2, velocity 2
CIRCLE_NMS_RADIUS_M = (2.0, 3.5, 3.5, 3.2, 3.2, 1.0, 0.92, 0.92, 0.42, 0.42)
"""Suppression radius a class: the radii of CenterPoint's circle NMS, [4, 12, 10, 1, 0.85, 0.175], are squared
distances in m2 a task; here as distances (mmdetection3d, centerpoint_pillar02)."""


class QueryRows:
    """Rows of a query head's output: class, column and row of the cell that a query began in (whole numbers, which FP16
    holds up to 2048), heat of that cell, score, and from `BOX` on the box values with the offset from that cell.
    """

    CLASS, X, Y, HEAT, SCORE, BOX = range(6)


@dataclass(frozen=True)
class BoxDecoding:
    """Where the maps lie, and how many boxes are kept. Metres and cells of the BEV grid.

    groups: heat map channels of each group of classes, in the order of the head's box channels; none for queries.
    """

    x_min: float
    y_min: float
    cell_m: float
    groups: tuple[tuple[int, ...], ...] = ()
    max_boxes: int = 500
    score_threshold: float = 0.05


@dataclass(frozen=True)
class Boxes:
    """Detections of one sample, best first. boxes (K, 9): x, y, z, l, w, h, yaw, vx, vy in the BEV frame."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def decode_boxes(heatmap: np.ndarray, boxes: np.ndarray, decoding: BoxDecoding) -> Boxes:
    """Peaks of the heat map to boxes, then circle NMS.

    Args:
        heatmap: (10, ny, nx) logits.
        boxes: (10 groups, ny, nx) raw box maps, group after group.
        decoding: the grid and the limits.

    Returns:
        At most `max_boxes` boxes, best first.
    """
    ny, nx = heatmap.shape[1:]
    found = []
    for group, channels in enumerate(decoding.groups):
        logits = heatmap[list(channels)].reshape(len(channels), -1)
        count = min(decoding.max_boxes, logits.size)
        top = np.argpartition(-logits.ravel(), count - 1)[:count]
        scores = 1 / (1 + np.exp(-logits.ravel()[top].astype(np.float64)))
        top, scores = top[scores > decoding.score_threshold], scores[scores > decoding.score_threshold]
        cell = top % (ny * nx)
        raw = boxes[group * BOX_CHANNELS : (group + 1) * BOX_CHANNELS].reshape(BOX_CHANNELS, -1)[:, cell]
        decoded = _decode(raw.astype(np.float64), cell % nx, cell // nx, decoding)
        classes = np.array(channels)[top // (ny * nx)]
        order = np.argsort(-scores, kind="stable")
        order = order[np.isfinite(decoded[order]).all(axis=1)]
        decoded, scores, classes = decoded[order], scores[order], classes[order]
        keep = circle_nms(decoded[:, :2], classes, np.array(CIRCLE_NMS_RADIUS_M)[classes])
        found.append((decoded[keep], scores[keep], classes[keep]))
    every, scores, classes = (np.concatenate(parts) for parts in zip(*found))
    best = np.argsort(-scores, kind="stable")[: decoding.max_boxes]
    return Boxes(every[best], scores[best], classes[best])


def decode_queries(queries: np.ndarray, decoding: BoxDecoding) -> Boxes:
    """Columns of a query head to boxes. There is no NMS: each query stands for an object of its own.

    Args:
        queries: (15, K), rows as in `QueryRows`. Columns with a number that is not finite are left out.
        decoding: the grid and the limits.

    Returns:
        At most `max_boxes` boxes, best first.
    """
    rows = queries.astype(np.float64)
    score = rows[QueryRows.SCORE]
    kept = np.flatnonzero(np.isfinite(rows).all(axis=0) & (score > decoding.score_threshold))
    best = kept[np.argsort(-score[kept], kind="stable")][: decoding.max_boxes]
    rows = rows[:, best]
    boxes = _decode(rows[QueryRows.BOX :], rows[QueryRows.X], rows[QueryRows.Y], decoding)
    return Boxes(boxes, rows[QueryRows.SCORE], np.rint(rows[QueryRows.CLASS]).astype(np.int64))


def _decode(raw: np.ndarray, ix: np.ndarray, iy: np.ndarray, decoding: BoxDecoding) -> np.ndarray:
    """(10, K) raw values at cells (K,), columns and rows of the grid, to (K, 9) boxes."""
    x = decoding.x_min + (ix + raw[0]) * decoding.cell_m
    y = decoding.y_min + (iy + raw[1]) * decoding.cell_m
    size = np.exp(np.clip(raw[3:6], -5, 5))
    yaw = np.arctan2(raw[6], raw[7])
    return np.stack([x, y, raw[2], *size, yaw, raw[8], raw[9]], axis=1)


def circle_nms(centres: np.ndarray, classes: np.ndarray, radius_m: np.ndarray) -> np.ndarray:
    """Keep a box unless a better one of its class lies within the radius.

    Args:
        centres: (K, 2) m, best first.
        classes: (K,).
        radius_m: (K,) m.

    Returns:
        Indices kept, best first.
    """
    distance2 = np.square(centres[:, None] - centres[None]).sum(axis=2)
    suppresses = (distance2 <= radius_m[:, None] ** 2) & (classes[:, None] == classes[None])
    alive = np.ones(len(centres), dtype=bool)
    kept = []
    for i in range(len(centres)):
        if alive[i]:
            kept.append(i)
            alive &= ~suppresses[i]
    return np.array(kept, dtype=np.int64)
