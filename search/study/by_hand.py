"""What a person does to a study: queue a network of its space, or take the run of a trial out of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bevlite.config import to_yaml, write_atomic
from bevlite.errors import BevliteError, ConfigError
from bevlite.locks import FileLock
from bevlite.plain_yaml import PlainYamlError, load_plain
from search.config import ResolvedSearch
from search.space.space import Choice, Params
from search.study.backend import Backend
from search.study.curves import ELSEWHERE
from search.study.records import TrialRecord
from search.study.room import REMOVED, was_removed
from search.study.sampling import params_key
from search.study.store import BY_HAND, open_for_run, quiet_optuna, records_of
from search.study.view import trial_folder


def chosen(search: ResolvedSearch, words: Iterable[str]) -> Params:
    """Parameters from texts `choice=value`.

    Raises:
        ConfigError: a text of another form, a choice that there is not or not beside the others, or a value that it
            cannot have.
    """
    params: Params = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"add: found '{word}'; accepted: choice=value, of {', '.join(search.space.choices)}")
        choice = search.space.choices.get(name)
        params[name] = _value(choice, text) if choice is not None else text
    search.space.check_params(params, "add")
    for name in params:
        for other, wanted in search.space.choices[name].when.items():
            accepted = wanted if isinstance(wanted, list) else [wanted]
            if other in params and params[other] not in accepted:
                among = ", ".join(map(str, accepted))
                raise ConfigError(f"add: {name}: found it with {other}={params[other]}; accepted: with {other} {among}")
    if not params:
        raise ConfigError(f"add: found nothing; accepted: choice=value, of {', '.join(search.space.choices)}")
    return params


def _value(choice: Choice, text: str) -> Any:
    """The option that reads like a text, or a number."""
    for option in choice.options:
        if str(option) == text:
            return option
    try:
        return load_plain(text)
    except PlainYamlError:
        return text


@quiet_optuna()
def queue(search: ResolvedSearch, folder: Path, params: Mapping[str, Any]) -> int:
    """Let a study try a network before any that it proposes itself, whatever it has spent; what is left open is drawn.

    Returns:
        The number of its trial.

    Raises:
        BevliteError: the same was asked for, or tried, before; the folder holds another search.
    """
    with FileLock(folder / ".lock"):
        study = open_for_run(folder, search).study
        for record in records_of(study, search.config.fidelity.epochs):
            if params_key(record.params) == params_key(params):
                raise BevliteError(f"add: trial {record.number} is this network ({record.state}); accepted: another")
        study.enqueue_trial(dict(params), user_attrs={"anchor": True, BY_HAND: True})
        return len(study.get_trials(deepcopy=False)) - 1


def take_out(search: ResolvedSearch, folder: Path, record: TrialRecord, out: Path, backend: Backend) -> Path:
    """A trial as a run of its own, with its variant, weights and figures, exported for the search's board.

    Raises:
        BevliteError: `out` exists, the trial has no weights here, or a module cannot be exported (the run is kept).
    """
    if out.exists():
        raise BevliteError(f"{out}: exists; accepted: a new folder")
    source = weights_of(folder, record)
    variant = search.space.build(search.base, record.params, f"trial-{record.number}")
    half = out.with_name(f".{out.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, half)
    write_atomic(half / "variant.yaml", to_yaml(variant))  # of a trial with another precision plan, perhaps
    half.rename(out)
    backend.export(out)
    return out


def weights_of(folder: Path, record: TrialRecord) -> Path:
    """The run that holds the weights of a trial: its own, or that of the trial that trained its network.

    Raises:
        BevliteError: it was not trained, or not here.
    """
    if record.trained_in == ELSEWHERE:
        raise BevliteError(
            f"trial {record.number}: was trained in another search, its weights are not here; accepted: a trial that "
            "was trained in this one"
        )
    if record.trained_in is None and not record.rungs:
        raise BevliteError(f"trial {record.number}: was not trained ({record.state}); accepted: a trial that was")
    # What was quantized lies in its own run; other networks where they were trained.
    own = record.quantized is not None or record.trained_in is None
    run = trial_folder(folder, record.number if own else int(record.trained_in or 0))
    if was_removed(run):
        raise BevliteError(
            f"trial {record.number}: {(run / REMOVED).read_text().strip()}; accepted: one that has weights"
        )
    return run
