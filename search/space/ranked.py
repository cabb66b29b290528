"""A space as Optuna's samplers take it best: values that are numbers stand in their order, by rank."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search.space.space import Choice, Params, Space

NOTED = "noted"
"""User attribute of a trial: what the sampler noted of the proposal that it stands for, such as a generation."""


class Ranked:
    """Translates between the values of a study and the ranks that a sampler sees.

    A study keeps what was chosen (`64`), among values that have no order for Optuna. To a sampler the same choice is a
    whole number from 0 to one less than there are values, the smallest value first.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._values = {name: sorted(one.options) for name, one in space.choices.items() if _has_ranks(one)}

    def suggest(self, trial: optuna.Trial) -> Params:
        """Let a trial that the sampler draws make every choice whose conditions hold; what was chosen, as values."""
        params: Params = {}
        for name, choice in self._space.choices.items():
            if not self._space.active(choice, params):
                continue
            values = self._values.get(name)
            if values is None:
                params[name] = choice.suggest(trial, name)
            else:
                params[name] = values[trial.suggest_int(name, 0, len(values) - 1)]
        return params

    def seen(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial of the study as the sampler shall see it."""
        params: dict[str, Any] = dict(trial.params)
        distributions: dict[str, BaseDistribution] = dict(trial.distributions)
        for name, values in self._values.items():
            if params.get(name) in values:
                params[name] = values.index(params[name])
                distributions[name] = IntDistribution(0, len(values) - 1)
        return FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=trial.values,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=params,
            distributions=distributions,
            user_attrs=trial.user_attrs,
            system_attrs={**trial.system_attrs, **trial.user_attrs.get(NOTED, {})},
            intermediate_values=trial.intermediate_values,
            trial_id=trial._trial_id,
        )


def _has_ranks(choice: Choice) -> bool:
    return bool(choice.options) and choice.ordered
