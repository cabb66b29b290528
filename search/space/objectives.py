"""Accuracy: NDS, or a declared mix of metrics, with floors below which a network does not count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_validator

from bevlite.config import Config
from bevlite.errors import BevliteError, ConfigError

Metric = Literal["nds", "map", "occ_miou"]
KEYS: dict[str, str] = {"nds": "NDS", "map": "mAP", "occ_miou": "occ_miou"}
TASK_OF: dict[str, str] = {"nds": "detection", "map": "detection", "occ_miou": "occupancy"}


class Objectives(Config):
    """What is maximised; the latency is always minimised beside it."""

    accuracy: dict[Metric, float] = {"nds": 1.0}
    floors: dict[Metric, float] = {}

    @model_validator(mode="after")
    def _weights(self) -> Objectives:
        if any(w <= 0 for w in self.accuracy.values()) or not math.isclose(sum(self.accuracy.values()), 1.0):
            raise ValueError(f"accuracy: found weights {list(self.accuracy.values())}; accepted: > 0, sum 1")
        if any(not 0 < floor <= 1 for floor in self.floors.values()):
            raise ValueError(f"floors: found {list(self.floors.values())}; accepted: more than 0, up to 1")
        return self

    @property
    def label(self) -> str:
        """How the accuracy is called in tables: `NDS`, or the mix."""
        if len(self.accuracy) == 1:
            return KEYS[next(iter(self.accuracy))]
        return " + ".join(f"{weight:g} {KEYS[metric]}" for metric, weight in self.accuracy.items())

    def check_tasks(self, tasks: tuple[str, ...]) -> None:
        """Refuse a metric of a task that the networks do not have (raises ConfigError)."""
        for key, metrics in (("accuracy", self.accuracy), ("floors", self.floors)):
            for metric in metrics:
                if TASK_OF[metric] not in tasks:
                    raise ConfigError(
                        f"objectives.{key}.{metric}: needs the task {TASK_OF[metric]}, which the base "
                        f"variant lacks; accepted: metrics of {' and '.join(tasks)}"
                    )

    def accuracy_of(self, metrics: Mapping[str, Any]) -> float:
        """The number that is maximised (raises BevliteError when a metric is missing or not finite)."""
        return sum(weight * _value(metrics, metric) for metric, weight in self.accuracy.items())

    def floor_violations(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """For each floor how far a network is below it, relative to the floor; zero or less is within."""
        return {f"floor_{metric}": (floor - _value(metrics, metric)) / floor for metric, floor in self.floors.items()}


@dataclass(frozen=True)
class Score:
    """One evaluation as the search keeps it: the accuracy, where it comes from, and all metrics."""

    accuracy: float
    split: str
    samples: int
    metrics: dict[str, float]

    @classmethod
    def of(cls, objectives: Objectives, result: Mapping[str, Any]) -> Score:
        """From what an evaluation returned."""
        numbers = {
            key: float(value)
            for key, value in result.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "samples"
        }
        return cls(objectives.accuracy_of(result), str(result["split"]), int(result["samples"]), numbers)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "accuracy": self.accuracy,
            "split": self.split,
            "samples": self.samples,
            "metrics": self.metrics,
        }

    @property
    def where(self) -> str:
        """The split and the number of samples, as every accuracy is printed with them."""
        return f"{self.split}, {self.samples} samples"


def _value(metrics: Mapping[str, Any], metric: str) -> float:
    value = metrics.get(KEYS[metric])
    if value is None or not math.isfinite(value):
        raise BevliteError(f"evaluation: found {KEYS[metric]} = {value}; accepted: a finite number")
    return float(value)
