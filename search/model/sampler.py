"""The model as a sampler of Optuna: for a study and an objective of your own, over a pool of what may fit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.model.proposal import Pool, Result, first, propose
from search.space.objectives import Goal
from search.space.space import Params, Space

CHOSEN = "model:params"
"""System attribute of a trial: what was chosen for it, before its objective asks."""


class ModelSampler(BaseSampler):
    """Proposes networks of a pool, none of them twice; the objective asks for them by `Space.sample(trial)`.

    The first objective of the study is what is maximised; further ones, such as the latency, are recorded and not
    learnt from: the pool knows the latencies. Trials under way count with what is expected of them, so a study may run
    in several threads; of several processes two may propose one network at the same moment. A search of its own
    (`bevlite search run`) does more: it pauses trials and learns from their rungs.

    Args:
        space: whose choices the networks are.
        pool: networks that may fit, with their latencies.
        budget_ms: what is slower does not count.
        goal: one network for the budget, or a front.
        seed: of all draws.
        startup_trials: results before the model proposes.
    """

    def __init__(
        self, space: Space, pool: Pool, *, budget_ms: float, goal: Goal = "best", seed: int = 0,
        startup_trials: int = 10,
    ) -> None:  # fmt: skip
        self.space, self.pool = space, pool
        self._budget_ms, self._goal, self._seed, self._startup = budget_ms, goal, seed, max(2, startup_trials)
        self._one_by_one = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """For another process: with a lock of its own."""
        return {key: value for key, value in self.__dict__.items() if key != "_one_by_one"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """From another process."""
        self.__dict__ |= state | {"_one_by_one": threading.Lock()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: a network is chosen as a whole, before its objective asks."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, see above."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose a network.

        Raises:
            ValueError: every network of the pool was tried.
        """
        with self._one_by_one:
            params = dict(self.pool.params[self._next(study, trial.number)])
            queued = trial.system_attrs.get("fixed_params", {})  # what a person asked for, by enqueue_trial
            study._storage.set_trial_system_attr(trial._trial_id, CHOSEN, {**params, **queued})

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What was chosen.

        Raises:
            ValueError: an objective that asks for what the network does not choose.
        """
        chosen: Params = study._storage.get_trial(trial._trial_id).system_attrs[CHOSEN]
        if param_name not in chosen:
            raise ValueError(f"found '{param_name}'; accepted: {', '.join(chosen)} (ask by Space.sample(trial))")
        return chosen[param_name]

    def _next(self, study: Study, number: int) -> int:
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number != number]
        place = {_key(params): index for index, params in enumerate(self.pool.params)}
        known = {place[key]: trial for trial in trials if (key := _key(_params(trial))) in place}
        if len(known) >= len(self.pool.params):
            raise ValueError("every network of the pool was tried")
        results = [
            Result(dict(_params(trial)), float(latency_ms), 1.0, float(trial.values[0]), float(fits))
            for index, trial in known.items()
            for latency_ms, fits in [(self.pool.latency_ms[index], self.pool.fits[index])]
            if trial.state == TrialState.COMPLETE
        ]
        seed = (self._seed * 1_000_003 + number * 101) % 2**32
        if (len(results) < self._startup and len(trials) < self._startup) or len(results) < 2:
            return first(self.pool, sorted(known), seed)
        running = [index for index, trial in known.items() if trial.state == TrialState.RUNNING]
        tried = dict.fromkeys(known, True)
        return propose(
            self.space, self.pool, results, running, tried, budget_ms=self._budget_ms, goal=self._goal, seed=seed
        ).number


def _params(trial: FrozenTrial) -> Mapping[str, Any]:
    """What was chosen for a trial; of one that was queued by hand, what it asked for."""
    chosen: Mapping[str, Any] = trial.system_attrs.get(CHOSEN, trial.params)
    return trial.params if trial.state.is_finished() else chosen


def _key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))
