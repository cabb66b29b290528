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
from search.latency.summary import LatencySummary
from search.space.entry import entry

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


@dataclass(frozen=True)
class Candidate:
    """A network that a function is to value: its variant as a mapping, and its latency."""

    variant: Mapping[str, Any]
    latency: LatencySummary


BY_DEFAULT = {"nds": 1.0}


class ObjectiveError(BevliteError):
    """A function of the user's that values networks has failed, and would fail for the next one as well."""


class Objectives(Config):
    """What is maximised; the latency is always minimised beside it.

    function: `package.module:name`, in place of `accuracy`. It is called with `metrics` (the figures of the evaluation
    by name), `variant` (a mapping) and `latency` (total_ms, lower_ms, upper_ms, kind, modules), and returns a number.
    """

    accuracy: dict[AccuracyName, float] = BY_DEFAULT
    function: str | None = None
    floors: dict[AccuracyName, float] = {}

    @model_validator(mode="after")
    def _weights(self) -> Objectives:
        if any(w <= 0 for w in self.accuracy.values()) or not math.isclose(sum(self.accuracy.values()), 1.0):
            raise ValueError(f"accuracy: found weights {list(self.accuracy.values())}; accepted: > 0, sum 1")
        if self.function is not None:
            if self.accuracy != BY_DEFAULT:
                raise ValueError(f"found accuracy beside function '{self.function}'; accepted: one of them")
            if not callable(entry(self.function, "a function, by package.module:name")):
                raise ValueError(f"function: found '{self.function}', which is none; accepted: package.module:name")
        if any(not 0 < floor <= 1 for floor in self.floors.values()):
            raise ValueError(f"floors: found {list(self.floors.values())}; accepted: more than 0, up to 1")
        return self

    @property
    def label(self) -> str:
        """How the accuracy is called in tables: `NDS`, the mix, or the name of the function."""
        if self.function is not None:
            return self.function.partition(":")[2]
        if len(self.accuracy) == 1:
            return accuracies()[next(iter(self.accuracy))].key
        return " + ".join(f"{weight:g} {accuracies()[name].key}" for name, weight in self.accuracy.items())

    def check_tasks(self, tasks: tuple[str, ...]) -> None:
        """Refuse a metric of a task that the networks do not have (raises ConfigError)."""
        asked = (("accuracy", {} if self.function is not None else self.accuracy), ("floors", self.floors))
        for key, names in asked:
            for name in names:
                if (task := accuracies()[name].task) not in tasks:
                    raise ConfigError(
                        f"objectives.{key}.{name}: needs the task {task}, which the base "
                        f"variant lacks; accepted: metrics of {' and '.join(tasks)}"
                    )

    def accuracy_of(self, metrics: Mapping[str, Any], candidate: Candidate | None = None) -> float:
        """The number that is maximised.

        Raises:
            BevliteError: a metric is missing or not finite.
            ObjectiveError: the function raised, or returned something else than a finite number.
        """
        if self.function is not None:
            return self._by_function(metrics, candidate)
        return sum(weight * _value(metrics, name) for name, weight in self.accuracy.items())

    def _by_function(self, metrics: Mapping[str, Any], candidate: Candidate | None) -> float:
        assert self.function is not None
        name = f"objectives.function {self.function}"
        if candidate is None:
            raise ObjectiveError(f"{name}: found no network to value; accepted: a search without `known`")
        try:
            value = entry(self.function, "a function")(
                metrics=_numbers(metrics), variant=candidate.variant, latency=candidate.latency
            )
        except Exception as error:  # of a function that is not ours anything may come
            raise ObjectiveError(f"{name}: raised {type(error).__name__}: {error}") from None
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
            raise ObjectiveError(f"{name}: returned {value!r}; accepted: a finite number")
        return float(value)

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
    def of(cls, objectives: Objectives, result: Mapping[str, Any], candidate: Candidate | None = None) -> Score:
        """From what an evaluation of a network returned."""
        numbers = _numbers(result)
        accuracy, where = objectives.accuracy_of(result, candidate), (str(result["split"]), int(result["samples"]))
        draws = result.get("draws", {})
        keys = {accuracies()[name].key: weight for name, weight in objectives.accuracy.items()}
        if objectives.function is not None or not keys.keys() <= draws.keys():
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


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    """Figures of an evaluation."""
    return {
        key: float(value)
        for key, value in result.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "samples"
    }


def _value(metrics: Mapping[str, Any], name: str) -> float:
    key = accuracies()[name].key
    value = metrics.get(key)
    if value is None or not math.isfinite(value):
        raise BevliteError(f"evaluation: found {key} = {value}; accepted: a finite number")
    return float(value)
