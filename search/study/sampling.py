"""Which network of the pool is tried next by a sampler of Optuna: seeded, never one that was tried."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.config import ResolvedSearch
from search.model.encoding import Encoding
from search.space.ranked import Ranked
from search.space.samplers import MODEL, make_sampler
from search.space.space import Params, Space
from search.study.store import DIRECTIONS


def sampler_for(search: ResolvedSearch, trial_number: int) -> BaseSampler:
    """The sampler of one trial. Its seed depends on the trial alone, so a search that was stopped and started
    again proposes what it would have proposed without the stop.
    """
    name = "tpe" if search.config.sampler == MODEL else search.config.sampler  # of the model's own, nothing is drawn
    sampler: BaseSampler = make_sampler(name, seed_of(search, trial_number), search.startup_trials)
    return sampler


def seed_of(search: ResolvedSearch, trial_number: int) -> int:
    """Of whatever is drawn for a trial."""
    return (search.config.seed * 1_000_003 + trial_number * 101) % 2**32


def params_key(params: Mapping[str, Any]) -> str:
    """Parameters as a text that can be compared."""
    return json.dumps(dict(params), sort_keys=True)


@dataclass(frozen=True)
class Drawn:
    """A network that stands for a proposal, and what the sampler noted of that."""

    params: Params
    noted: dict[str, Any]


def draw(
    search: ResolvedSearch, trials: Iterable[FrozenTrial], pool: Sequence[Params], without: Collection[str] = ()
) -> Drawn | None:
    """The network of the pool that is nearest to what the sampler proposes; None where all were tried.

    What it proposes may be over the budget, no network at all, or one that was tried: the nearest one that may fit and
    was not tried stands for it, by what was chosen (numbers by rank). Proposals are drawn in a scratch copy of the
    study, because Optuna cannot take one back.

    Args:
        search: the search.
        trials: all trials of the study.
        pool: networks that may fit.
        without: parameters (`params_key`) of networks that break another limit.
    """
    known = [trial for trial in trials if trial.state != TrialState.WAITING]
    taken = {params_key(trial.params) for trial in known} | set(without)
    free = [params for params in pool if params_key(params) not in taken]
    if not free:
        return None
    ranked = Ranked(search.space)
    scratch = optuna.create_study(directions=DIRECTIONS, sampler=sampler_for(search, len(known)))
    scratch.add_trials([ranked.seen(trial) for trial in known])
    asked = scratch.ask()
    place = nearest(search.space, free, ranked.suggest(asked), seed_of(search, len(known)))
    return Drawn(free[place], notes_of(asked))


def notes_of(asked: optuna.Trial) -> dict[str, Any]:
    """What a sampler noted of its proposal, for the trial that stands for it."""
    return dict(asked.storage.get_trial(asked._trial_id).system_attrs)


def nearest(space: Space, free: Sequence[Params], proposed: Params, seed: int) -> int:
    """Which of some networks is nearest to a proposal, by what was chosen (numbers by rank); chance where several are.

    Args:
        space: whose choices the parameters are.
        free: the networks; at least one.
        proposed: what a sampler proposes.
        seed: of chance.
    """
    encoding = Encoding(space)
    apart = np.abs(encoding.chosen(free) - encoding.chosen([proposed])).sum(axis=1)
    return int(np.random.default_rng(seed).choice(np.flatnonzero(apart <= apart.min() + 1e-9)))
