"""Accuracy: NDS, or a declared mix of metrics, with floors below which a network does not count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, model_validator

from bevlite.config import Config
from bevlite.errors import BevliteError, ConfigError
from bevlite.tasks.contract import TASKS

Goal = Literal["best", "front"]
"""What a search looks for: one network for the budget, or a front."""


@dataclass(frozen=True)
class Accuracy:
    """A figure that a search can maximise: its key in the result of an evaluation, and the task that it scores."""

    key: str
    task: str


def accuracies() -> dict[str, Accuracy]:
    """Every accuracy by the name that a search file gives it: the scores of the registered tasks."""
    return {name: Accuracy(key, task) for name, (task, key) in TASKS.scores().items()}


def _known(name: str) -> str:
    if name not in accuracies():
        raise ValueError(f"found '{name}'; accepted: {', '.join(accuracies())}")
    return name


AccuracyName = Annotated[str, AfterValidator(_known)]


class Objectives(Config):
    """What is maximised; the latency is always minimised beside it."""

    accuracy: dict[AccuracyName, float] = {"nds": 1.0}
    floors: dict[AccuracyName, float] = {}

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
            return accuracies()[next(iter(self.accuracy))].key
        return " + ".join(f"{weight:g} {accuracies()[name].key}" for name, weight in self.accuracy.items())

    def check_tasks(self, tasks: tuple[str, ...]) -> None:
        """Refuse a metric of a task that the networks do not have (raises ConfigError)."""
        for key, names in (("accuracy", self.accuracy), ("floors", self.floors)):
            for name in names:
                if (task := accuracies()[name].task) not in tasks:
                    raise ConfigError(
                        f"objectives.{key}.{name}: needs the task {task}, which the base "
                        f"variant lacks; accepted: metrics of {' and '.join(tasks)}"
                    )

    def accuracy_of(self, metrics: Mapping[str, Any]) -> float:
        """The number that is maximised (raises BevliteError when a metric is missing or not finite)."""
        return sum(weight * _value(metrics, name) for name, weight in self.accuracy.items())

    def floor_violations(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """For each floor how far a network is below it, relative to the floor; zero or less is within."""
        return {f"floor_{name}": (floor - _value(metrics, name)) / floor for name, floor in self.floors.items()}


@dataclass(frozen=True)
class Score:
    """One evaluation as the search keeps it: the accuracy, where it comes from, and all metrics.

    draws: figures by name in draws of other scenes, the same draws for all that were scored on `samples`, an identity;
    empty where nothing was drawn. drawn: the accuracy in them.
    """

    accuracy: float
    split: str
    samples: int
    metrics: dict[str, float]
    draws: dict[str, Any] = field(default_factory=dict)
    drawn: tuple[float, ...] = ()

    @classmethod
    def of(cls, objectives: Objectives, result: Mapping[str, Any]) -> Score:
        """From what an evaluation returned."""
        numbers = {
            key: float(value)
            for key, value in result.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "samples"
        }
        accuracy, where = objectives.accuracy_of(result), (str(result["split"]), int(result["samples"]))
        draws = result.get("draws", {})
        keys = {accuracies()[name].key: weight for name, weight in objectives.accuracy.items()}
        if not keys.keys() <= draws.keys():
            return cls(accuracy, *where, numbers)
        mixed = np.sum([weight * np.asarray(draws[key], dtype=float) for key, weight in keys.items()], axis=0)
        kept = {key: values if key == "samples" else np.round(values, 6).tolist() for key, values in draws.items()}
        return cls(accuracy, *where, numbers, kept, tuple(np.round(mixed, 6).tolist()))

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "accuracy": self.accuracy,
            "split": self.split,
            "samples": self.samples,
            "metrics": self.metrics,
        } | ({"draws": self.draws, "drawn": list(self.drawn)} if self.drawn else {})

    @property
    def where(self) -> str:
        """The split and the number of samples, as every accuracy is printed with them."""
        return f"{self.split}, {self.samples} samples"


def _value(metrics: Mapping[str, Any], name: str) -> float:
    key = accuracies()[name].key
    value = metrics.get(key)
    if value is None or not math.isfinite(value):
        raise BevliteError(f"evaluation: found {key} = {value}; accepted: a finite number")
    return float(value)
