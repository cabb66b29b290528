"""Which parameters are tried next by a sampler of Optuna: seeded, without proposing what is known already."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from bevlite.errors import ConfigError
from search.config import ResolvedSearch
from search.space.samplers import MODEL, make_sampler
from search.space.space import Params
from search.study.store import DIRECTIONS

SAMPLER_ATTEMPTS = 10
RANDOM_ATTEMPTS = 50


def sampler_for(search: ResolvedSearch, trial_number: int, attempt: int = 0) -> BaseSampler:
    """The sampler of one trial. Its seed depends on the trial alone, so a search that was stopped and started
    again proposes what it would have proposed without the stop.
    """
    seed = _seed(search, trial_number, attempt)
    name = "tpe" if search.config.sampler == MODEL else search.config.sampler  # of the model's own, nothing is drawn
    sampler: BaseSampler = make_sampler(name, seed, search.config.startup_trials)
    return sampler


def _seed(search: ResolvedSearch, trial_number: int, attempt: int) -> int:
    return (search.config.seed * 1_000_003 + trial_number * 101 + attempt) % 2**32


def params_key(params: Mapping[str, Any]) -> str:
    """Parameters as a text that can be compared."""
    return json.dumps(dict(params), sort_keys=True)


def draw(search: ResolvedSearch, trials: Iterable[FrozenTrial]) -> Params:
    """Parameters for the next trial.

    They are drawn in a scratch copy of the study, because Optuna cannot take back a proposal: one that gives
    a network already tried is drawn again. When a sampler insists on what is known, chance decides.
    """
    known = [trial for trial in trials if trial.state != TrialState.WAITING]
    seen_params = {params_key(trial.params) for trial in known}
    seen_hashes = {trial.user_attrs.get("variant_hash") for trial in known} - {None}
    scratch = optuna.create_study(directions=DIRECTIONS)
    scratch.add_trials(known)
    params: Params = {}
    for attempt in range(SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS):
        scratch.sampler = (
            sampler_for(search, len(known), attempt)
            if attempt < SAMPLER_ATTEMPTS
            else RandomSampler(seed=_seed(search, len(known), attempt))
        )
        trial = scratch.ask()
        params = search.space.sample(trial)
        scratch.tell(trial, state=TrialState.FAIL)  # so that it does not count as one that is running
        if params_key(params) in seen_params:
            continue
        try:
            variant_hash = search.space.build(search.base, params, "draw").hash
        except ConfigError:
            return params  # recorded as rejected: a sampler may learn from it
        if variant_hash not in seen_hashes:
            return params
    return params


def tried_all(search: ResolvedSearch, trials: Iterable[FrozenTrial]) -> bool:
    """Whether every parameter set of a finite space has been tried."""
    size = search.space.size()
    return size is not None and len({params_key(t.params) for t in trials if t.state.is_finished()}) >= size
