"""Where branches of detection heads start: a short training then spends no steps on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

BOX_BRANCHES = (("offset", 2), ("height", 1), ("size", 3), ("yaw", 2), ("velocity", 2))
"""Branches of box values: sub-cell offset (cells), z (m), log l, w, h (log m), sin and cos, vx and vy (m/s)."""
HEATMAP_BIAS = -2.19  # a prior of 0.1 for every cell
MEAN_SIZES_M = {
    "car": (4.6, 1.95, 1.7),
    "truck": (6.8, 2.6, 2.9),
    "construction_vehicle": (6.8, 2.6, 2.9),
    "bus": (11.7, 2.95, 3.6),
    "trailer": (11.7, 2.95, 3.6),
    "barrier": (0.5, 2.5, 1.0),
    "motorcycle": (1.9, 0.7, 1.4),
    "bicycle": (1.9, 0.7, 1.4),
    "pedestrian": (0.6, 0.55, 1.4),
    "traffic_cone": (0.6, 0.55, 1.4),
}
"""Typical l, w, h of the classes in nuScenes (after mmdetection3d's anchors): where the size branch of a group starts,
at the geometric mean of its classes."""


def box_priors(classes: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Biases by branch, for a group of classes: the middle of a cell, mean size, a centre at half the mean height."""
    sizes = [[math.log(value) for value in MEAN_SIZES_M[name]] for name in classes]
    log_size = [sum(values) / len(values) for values in zip(*sizes, strict=True)]
    return {"offset": (0.5, 0.5), "height": (math.exp(log_size[2]) / 2,), "size": tuple(log_size)}


def start_at(branches: Iterable[nn.Module], priors: Mapping[str, tuple[float, ...]]) -> None:
    """Set the biases of the last convolutions of branches, in the order of `BOX_BRANCHES`."""
    for (name, _), conv in zip(BOX_BRANCHES, branches, strict=True):
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        if name in priors:
            conv.bias.data.copy_(torch.tensor(priors[name]))
