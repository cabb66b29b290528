"""Networks of a space as rows of numbers, for a model that knows order where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.space.space import Choice, Params, Space

HALF = 0.5
"""Where a choice that was not made stands among those of its kind: in the middle, with a mark of its own."""


class Encoding:
    """Columns of a space: one for an ordered choice, one an option for others, one for each choice not always made.

    A choice whose values are numbers is ordered, and stands by rank; so does a range. The logarithm of the latency,
    which is known of every network, is a column too: it orders what names of options do not.
    """

    def __init__(self, space: Space) -> None:
        self._choices = dict(space.choices)

    def rows(self, params: Sequence[Params], latency_ms: Sequence[float] | np.ndarray) -> np.ndarray:
        """Rows (N, columns) of networks, each column about 0 to 1.

        Args:
            params: what was chosen.
            latency_ms: predicted or measured, of the same networks.
        """
        latency = np.log(np.maximum(np.asarray(latency_ms, dtype=float), 1e-6))
        return np.column_stack([self.chosen(params), latency])

    def chosen(self, params: Sequence[Params]) -> np.ndarray:
        """The same rows without the latency."""
        columns = [column for name, choice in self._choices.items() for column in _columns(name, choice, params)]
        return np.stack(columns, axis=1)


def _columns(name: str, choice: Choice, params: Sequence[Params]) -> list[np.ndarray]:
    made = np.array([name in one for one in params])
    found = [_rank(name, choice, params)] if choice.ordered else _options(name, choice, params)
    return [*found, made.astype(float)] if choice.when else found


def _rank(name: str, choice: Choice, params: Sequence[Params]) -> np.ndarray:
    """Between 0 and 1: by rank of a value, by place in a range."""
    if choice.options:
        ordered = sorted(choice.options)
        places = {value: index / max(1, len(ordered) - 1) for index, value in enumerate(ordered)}
        return np.array([places[one[name]] if name in one else HALF for one in params])
    assert choice.low is not None and choice.high is not None
    ends = np.array([choice.low, choice.high], dtype=float)
    values = np.array([one.get(name, np.nan) for one in params], dtype=float)
    if choice.log:
        ends, values = np.log(ends), np.log(values)
    return np.where(np.isnan(values), HALF, (values - ends[0]) / max(ends[1] - ends[0], 1e-12))


def _options(name: str, choice: Choice, params: Sequence[Params]) -> list[np.ndarray]:
    options = choice.options if len(choice.options) > 2 else choice.options[:1]  # of two, one says all
    return [np.array([_is(one, name, option) for one in params]) for option in options]


def _is(params: Mapping[str, Any], name: str, option: Any) -> float:
    return HALF if name not in params else float(params[name] == option)
