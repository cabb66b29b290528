"""The space: which keys of the base variant may change, to what, and under which conditions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field, field_validator, model_validator

from bevlite.config import Config, as_dict, merge
from bevlite.errors import ConfigError
from search.space.compression import compressed, split

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant

Params = dict[str, Any]


class Suggests(Protocol):
    """What the space asks of a trial (an Optuna trial, or one with fixed parameters)."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of `choices`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number between `low` and `high`, both included."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number between `low` and `high`."""


class Choice(Config):
    """One decision: `choices` (names that set any number of keys), `values` of one key, or `low`, `high`."""

    choices: dict[str, dict[str, Any]] | None = Field(default=None, min_length=1)
    values: tuple[Any, ...] | None = Field(default=None, min_length=1)
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = Field(default=None, gt=0)
    log: bool = False
    path: str | None = Field(default=None, description="the key to set; by default the name of the choice")
    when: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_form(self) -> Choice:
        ranged = self.low is not None or self.high is not None
        if sum((self.choices is not None, self.values is not None, ranged)) != 1:
            raise ValueError("found none or several of choices, values, low and high; accepted: one form")
        if ranged and (self.low is None or self.high is None or self.low > self.high):
            raise ValueError(f"found low {self.low} and high {self.high}; accepted: low <= high")
        if ranged and self.log and (self.step is not None or (self.low or 0) <= 0):
            raise ValueError("found log with a step or with low <= 0; accepted: log with low > 0 and no step")
        if not ranged and (self.log or self.step is not None):
            raise ValueError("found log or step without low and high; accepted: only with a range")
        if self.choices is not None and self.path is not None:
            raise ValueError("found path beside choices; accepted: each of the choices names its own keys")
        if self.values is not None and len(set(self._labels())) != len(self.values):
            raise ValueError("found a value twice; accepted: every value once")
        return self

    def _labels(self) -> list[str]:
        return [json.dumps(value) for value in self.values or ()]

    @property
    def options(self) -> tuple[Any, ...]:
        """What a parameter can be (empty for a range). Lists and mappings go by their JSON text."""
        if self.choices is not None:
            return tuple(self.choices)
        if self.values is not None:
            pairs = zip(self.values, self._labels(), strict=True)
            return tuple(v if isinstance(v, (str, int, float)) or v is None else text for v, text in pairs)
        return ()

    @property
    def ordered(self) -> bool:
        """Whether its values are numbers, of which one lies between others."""
        numbers = [value for value in self.options if isinstance(value, (int, float)) and not isinstance(value, bool)]
        return self.choices is None and len(numbers) == len(self.options)

    @property
    def whole(self) -> bool:
        """Whether a range holds whole numbers only."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    def contains(self, value: Any) -> bool:
        """Whether a parameter of this choice can have this value."""
        if self.options:
            return value in self.options
        assert self.low is not None and self.high is not None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        steps = (value - self.low) / (self.step or 1)
        on_step = (not self.whole and self.step is None) or abs(steps - round(steps)) < 1e-8
        return bool(self.low <= value <= self.high and on_step)

    def suggest(self, trial: Suggests, name: str) -> Any:
        """Let a trial choose."""
        if self.options:
            return trial.suggest_categorical(name, self.options)
        assert self.low is not None and self.high is not None
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, float(self.low), float(self.high), step=self.step, log=self.log)

    def finite(self) -> list[Any] | None:
        """Every possible parameter, or None where they cannot be listed."""
        if self.options:
            return list(self.options)
        assert self.low is not None and self.high is not None
        if self.whole and not self.log:
            return list(range(int(self.low), int(self.high) + 1, int(self.step or 1)))
        return None

    def settings(self, name: str, parameter: Any) -> dict[str, Any]:
        """Dotted keys and their values for one parameter."""
        if self.choices is not None:
            return self.choices[parameter]
        value = parameter
        if self.values is not None:
            value = self.values[self.options.index(parameter)]
        return {self.path or name: value}


class Space(Config):
    """All choices, in the order in which they are made and applied."""

    choices: dict[str, Choice] = Field(min_length=1)

    @field_validator("choices", mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        """A list instead of a mapping is short for `values`."""
        if not isinstance(given, Mapping):
            return given
        return {name: {"values": body} if isinstance(body, list) else body for name, body in given.items()}

    @model_validator(mode="after")
    def _conditions_exist(self) -> Space:
        before: dict[str, Choice] = {}
        for name, choice in self.choices.items():
            for other, wanted in choice.when.items():
                if other not in before:
                    known = ", ".join(before) or "none before this one"
                    raise ValueError(f"{name}.when: found '{other}'; accepted: an earlier choice ({known})")
                options = before[other].options
                for value in _as_list(wanted):
                    if options and value not in options:
                        accepted = ", ".join(map(str, options))
                        raise ValueError(f"{name}.when.{other}: found {value!r}; accepted: {accepted}")
            before[name] = choice
        return self

    def active(self, choice: Choice, params: Mapping[str, Any]) -> bool:
        """Whether the conditions of a choice hold among the parameters chosen so far."""
        return all(other in params and params[other] in _as_list(v) for other, v in choice.when.items())

    def sample(self, trial: Suggests) -> Params:
        """Let a trial make every choice whose conditions hold."""
        params: Params = {}
        for name, choice in self.choices.items():
            if self.active(choice, params):
                params[name] = choice.suggest(trial, name)
        return params

    def combinations(self) -> Iterator[Params] | None:
        """All parameter sets, or None where a range is continuous."""
        if any(choice.finite() is None for choice in self.choices.values()):
            return None
        return self._expand({}, list(self.choices.items()))

    def _expand(self, params: Params, rest: list[tuple[str, Choice]]) -> Iterator[Params]:
        if not rest:
            yield dict(params)
            return
        (name, choice), *later = rest
        if not self.active(choice, params):
            yield from self._expand(params, later)
            return
        for parameter in choice.finite() or ():
            yield from self._expand({**params, name: parameter}, later)

    def size(self, limit: int = 20_000) -> int | None:
        """How many parameter sets there are; None for more than `limit` or a continuous range."""
        every = self.combinations()
        if every is None:
            return None
        count = sum(1 for _ in islice(every, limit + 1))
        return count if count <= limit else None

    def settings(self, params: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Dotted keys and values in the order of their choices; a later one wins."""
        pairs: list[tuple[str, Any]] = []
        for name, choice in self.choices.items():
            if name in params:
                pairs.extend(choice.settings(name, params[name]).items())
        return pairs

    def apply(self, base: Variant, params: Mapping[str, Any]) -> dict[str, Any]:
        """The base variant's mapping with the settings of `params`."""
        data = as_dict(base)
        for path, value in self.settings(params):
            data = merge(data, _nest(path, value))
        return data

    def build(self, base: Variant, params: Mapping[str, Any], name: str) -> Variant:
        """The variant of one trial.

        Raises:
            ConfigError: the parameters do not fit together, or change the tasks.
        """
        variant, ratios = self.uncut(base, params, name)
        return compressed(variant, ratios)

    def uncut(self, base: Variant, params: Mapping[str, Any], name: str) -> tuple[Variant, dict[str, float]]:
        """The network of one trial with all its channels, and the shares of them that go, by part (see `build`)."""
        from bevlite.variant import variant_from

        data, ratios = split(self.apply(base, params) | {"name": name})
        variant = variant_from(data, "this combination")
        if variant.tasks != base.tasks:
            raise ConfigError(_tasks_error("space", variant.tasks, base.tasks))
        return variant, ratios

    def check_tasks(self, base: Variant) -> None:
        """Refuse a space in which some choice changes the tasks, or says a share of channels that cannot be.

        Raises:
            ConfigError: naming the choice.
        """
        for name, choice in self.choices.items():
            for option in choice.options or (choice.low, choice.high):
                data = self.apply(base, {name: option})
                split(data)  # a share of channels that cannot be
                tasks = tasks_of(data)
                if tasks != base.tasks:
                    raise ConfigError(_tasks_error(f"space.{name}: {option}", tasks, base.tasks))

    def check_precision(self, base: Variant, fixed: str | None) -> None:
        """Refuse a choice of INT8 beside a precision that is fixed for all latencies: they would be of another network.

        Raises:
            ConfigError: naming the choice.
        """
        for name, choice in self.choices.items() if fixed else ():
            for option in choice.options:
                words = self.apply(base, {name: option})["compression"]["precision"]
                if "int8" in ([words] if isinstance(words, str) else words.values()):
                    raise ConfigError(
                        f"space.{name}: {option}: found int8 with device.precision {fixed}; accepted: device.precision "
                        "null, with which each network has its own"
                    )

    def check_params(self, params: Mapping[str, Any], source: str) -> None:
        """Refuse an anchor that names unknown choices or options (raises ConfigError)."""
        for name, value in params.items():
            if name not in self.choices:
                raise ConfigError(f"{source}: {name}: unknown choice; accepted: {', '.join(self.choices)}")
            choice = self.choices[name]
            if choice.options and value not in choice.options:
                accepted = ", ".join(map(str, choice.options))
                raise ConfigError(f"{source}: {name}: found {value!r}; accepted: {accepted}")
            if not choice.options and not choice.contains(value):
                accepted = f"{choice.low} to {choice.high}" + (f" by {choice.step}" if choice.step else "")
                raise ConfigError(f"{source}: {name}: found {value!r}; accepted: {accepted}")


def tasks_of(variant: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks of a variant that is given as a mapping: each that has a head."""
    heads = variant.get("heads")
    return tuple(task for task, head in heads.items() if head is not None) if isinstance(heads, Mapping) else ()


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _nest(path: str, value: Any) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(path.split(".")):
        nested = {part: nested}
    return dict(nested)


def _tasks_error(where: str, found: tuple[str, ...], fixed: tuple[str, ...]) -> str:
    return (
        f"{where}: changes the tasks to {' and '.join(found) or 'none'}; accepted: a space in which every "
        f"network solves {' and '.join(fixed)}, as the base does (dropping a head would always win)"
    )
