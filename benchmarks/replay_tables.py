"""Tables that searches are replayed on: networks with their latencies, and what they are worth as they are trained."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevlite.config import read_yaml, validate
from search.model.improvement import hypervolume
from search.space.space import Params, Space

NOISE = 0.006
RUNGS = (1, 3, 6)
"""Sixths of a training."""
BEHIND = 0.05
"""What a network is behind its end after a sixth of the training."""
LIES = 0.3
SPACE = Space.model_validate(
    {
        "choices": {
            "camera": ["none", "r18", "r34", "r50"],
            "image": {"values": [1.0, 1.5, 2.0], "when": {"camera": ["r18", "r34", "r50"]}},
            "neck": {"values": [64, 128, 256], "when": {"camera": ["r18", "r34", "r50"]}},
            "view": {"values": ["lss", "pull", "bevformer", "lookup"], "when": {"camera": ["r18", "r34", "r50"]}},
            "lidar": [32, 48, 64],
            "fusion": [64, 128, 256],
            "encoder": [2, 3, 5],
            "head": [1, 2],
        }
    }
)


@dataclass(frozen=True)
class Table:
    """Networks with what is known of them: latencies in ms and accuracies without noise, at the end and at each rung
    (networks, rungs)."""

    space: Space
    params: Sequence[Params]
    latency_ms: np.ndarray
    accuracy: np.ndarray
    curves: np.ndarray
    budget_ms: float
    noise: float

    @property
    def reference(self) -> float:
        """The lowest accuracy of what fits."""
        return float(self.accuracy[self.latency_ms <= self.budget_ms].min())

    def area(self, numbers: Sequence[int]) -> float:
        """What some networks dominate, by their accuracies without noise."""
        points = [(float(self.accuracy[i]), float(self.latency_ms[i])) for i in numbers]
        return hypervolume(points, self.budget_ms, self.reference)


def simulated(seed: int = 0, lies: float = LIES) -> Table:
    """The table of the docstring; `seed` draws how much each choice is worth, and how fast each network learns."""
    rng = np.random.default_rng(seed)
    every = list(SPACE.combinations() or ())
    gain = {name: rng.uniform(0.5, 1.5) for name in SPACE.choices}
    camera = {"r18": 0.0, "r34": 0.55, "r50": 1.0}
    view = dict(zip(("lss", "pull", "bevformer", "lookup"), rng.permutation([0.3, 0.25, 1.0, 0.0]), strict=True))
    ms = {"r18": 6.0, "r34": 11.0, "r50": 16.0, "lss": 9.0, "pull": 4.0, "bevformer": 14.0, "lookup": 2.0}
    latency, accuracy = [], []
    for one in every:
        seen_ms = seen = 0.0
        if one["camera"] != "none":
            size, wide = float(one["image"]), float(one["neck"]) / 256
            seen_ms = ms[one["camera"]] * size**1.5 + ms[one["view"]] * (0.4 + 0.6 * wide) * size**0.5
            seen = (
                0.060 * gain["camera"] * camera[one["camera"]] * (1 - np.exp(-1.2 * size))
                + 0.050 * gain["image"] * (1 - np.exp(-1.5 * (size - 0.8)))
                + 0.030 * gain["view"] * view[one["view"]] * (0.5 + 0.5 * wide)
            )
        latency.append(seen_ms + 0.12 * one["lidar"] + 6 * one["fusion"] / 256 * one["encoder"] / 3 + 2 * one["head"])
        worth = (
            seen
            + 0.045 * gain["lidar"] * (1 - np.exp(-one["lidar"] / 30))
            + 0.035 * gain["fusion"] * (1 - np.exp(-one["fusion"] / 90))
            + 0.030 * gain["encoder"] * (1 - np.exp(-one["encoder"] / 2.5))
            + 0.008 * gain["head"] * one["head"]
        )
        accuracy.append(0.35 + worth)
    budget = float(np.quantile(latency, 0.25))
    ends = np.array(accuracy)
    slow = BEHIND * np.exp(lies * rng.standard_normal(len(ends)))
    left = np.log2(RUNGS[-1] / np.array(RUNGS)) / np.log2(RUNGS[-1] / RUNGS[0])
    return Table(SPACE, every, np.array(latency), ends, ends[:, None] - slow[:, None] * left, budget, NOISE)


def trained(file: Path, space: Path, fits: float) -> Table:
    """Networks that were trained (see search_table.py), by the first training of each; the budget is the latency
    that a share of them, `fits`, keeps."""
    searched = validate({"choices": read_yaml(space)["space"]}, Space, f"{space}: space")
    first = [line for line in _lines(file) if line["seed"] == "0"]
    params = [{name: json.loads(line[name]) for name in searched.choices if line[name]} for line in first]
    epochs = _epochs(first[0])
    at = [epochs[len(epochs) * sixths // RUNGS[-1] - 1] for sixths in RUNGS]
    curves = np.array([[float(line[epoch]) for epoch in at] for line in first])
    latency = np.array([float(line["latency_ms"]) for line in first])
    return Table(searched, params, latency, curves[:, -1], curves, float(np.quantile(latency, fits)), 0.0)


def apart(file: Path) -> np.ndarray:
    """What second trainings of networks gave more than the first ones, at their ends."""
    lines = _lines(file)
    last = _epochs(lines[0])[-1]
    known = [name for name in lines[0] if name != "seed" and not name.startswith("epoch ")]
    by_seed = [
        {tuple(line[name] for name in known): float(line[last]) for line in lines if line["seed"] == seed}
        for seed in ("0", "1")
    ]
    return np.array([value - by_seed[0][key] for key, value in by_seed[1].items()])


def _lines(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _epochs(line: dict[str, str]) -> list[str]:
    return [name for name in line if name.startswith("epoch ")]
