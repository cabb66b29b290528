"""Samplers by name: Optuna's own, and any other class that is one."""

from __future__ import annotations

import inspect
from typing import Any

from search.space.entry import entry

MODEL = "model"
"""Ours, which is no sampler of single trials: it knows the latencies of all networks, and pauses trials."""
OF_OPTUNA = {"tpe": "TPESampler", "nsga2": "NSGAIISampler", "gp": "GPSampler", "random": "RandomSampler"}
TOGETHER: dict[str, Any] = {"tpe": {"multivariate": True, "group": True}}
"""What Optuna's own are made with: TPE draws the choices of a network together, those of each condition as a group."""


def sampler_class(name: str) -> Any:
    """A sampler of Optuna by its short name, or any class by `package.module:Class`.

    Raises:
        ValueError: there is no such sampler, or it cannot be made with a seed alone: a search that is gone on with has
            to propose what it would have proposed.
    """
    import optuna

    accepted = f"accepted: {MODEL}, {', '.join(OF_OPTUNA)}, or package.module:Class"
    if name in OF_OPTUNA:
        return getattr(optuna.samplers, OF_OPTUNA[name])
    found = entry(name, accepted.removeprefix("accepted: "))
    if not (inspect.isclass(found) and issubclass(found, optuna.samplers.BaseSampler)):
        raise ValueError(f"found '{name}', which is no sampler of Optuna; {accepted}")
    needed = inspect.signature(found).parameters
    others = [one.name for one in needed.values() if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    if "seed" not in needed or others:
        what = f"needs {others[0]}" if others else "takes no seed"
        raise ValueError(f"found '{name}', which {what}; {accepted}")
    return found


def make_sampler(name: str, seed: int, startup_trials: int) -> Any:
    """A sampler with a seed, and with as many trials at random before it as it can be told.

    One with generations has a first one of that size, of two at least.
    """
    kind = sampler_class(name)
    takes = inspect.signature(kind).parameters
    start = {"n_startup_trials": startup_trials, "population_size": max(2, startup_trials)}
    return kind(seed=seed, **{key: value for key, value in start.items() if key in takes}, **TOGETHER.get(name, {}))
