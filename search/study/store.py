"""The storage of a study: opened, checked to be of the same search, and kept alive by a heartbeat."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from bevlite.config import stable_hash, write_atomic
from bevlite.errors import BevliteError, ConfigError
from search.config import ResolvedSearch, differences
from search.latency.summary import LatencySummary
from search.space.storage import hidden, without_password
from search.study.correction import corrected
from search.study.curves import trained_by
from search.study.records import TrialRecord, read_record

HEARTBEAT_S = 30
STUDY_NAME = "search"
WHOLE = "whole:"
BY_HAND = "by_hand"
"""A trial that a person queued: it is run although there are enough."""
DIRECTIONS = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's log, its notes on experimental features, and its wish to send the heartbeat itself:
    the loop is ours (ask and tell), and so is the heartbeat.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Hh]eartbeat.*")
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        yield


@quiet_optuna()
def storage_of(folder: Path, url: str | None) -> RDBStorage:
    """The database of a study: a URL, or SQLite in its folder (raises BevliteError)."""
    sqlite = {"connect_args": {"timeout": 60}}
    try:
        return RDBStorage(
            url or f"sqlite:///{folder / 'study.db'}",
            engine_kwargs=None if url else sqlite,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=4 * HEARTBEAT_S,
        )
    except Exception as error:  # SQLAlchemy and its drivers raise many kinds
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if url is None:
            raise BevliteError(f"{folder / 'study.db'}: cannot be opened as a study database ({text})") from None
        raise BevliteError(
            f"{without_password(url)}: cannot be opened as a study database ({hidden(text, url)}); a password is in no "
            "file of the study: accepted by ~/.pgpass or PGPASSWORD"
        ) from None


def study_name(folder: Path, url: str | None) -> str:
    """A shared database holds many studies, each under the name of its folder."""
    return STUDY_NAME if url is None else folder.resolve().name


@dataclass(frozen=True)
class OpenStudy:
    """A study and the database beneath it."""

    study: optuna.Study
    storage: RDBStorage

    def lost_elsewhere(self) -> set[int]:
        """Ids of running trials whose heartbeat has stopped, on whatever machine."""
        return set(self.storage._get_stale_trial_ids(self.study._study_id))


@quiet_optuna()
def open_for_run(folder: Path, search: ResolvedSearch) -> OpenStudy:
    """Open the study of a folder, or create it with its anchors queued.

    Raises:
        ConfigError: the folder holds another search; says what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = search.identity()
    url = search.config.storage
    storage = storage_of(folder, url)
    study = optuna.create_study(
        storage=storage,
        study_name=study_name(folder, url),
        directions=DIRECTIONS,
        load_if_exists=True,
    )
    known = study.user_attrs.get("identity")
    if known is not None and stable_hash(_counts(known)) != stable_hash(_counts(identity)):
        found = differences(_counts(known), _counts(identity))
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise ConfigError(
            f"{folder}: holds another search ({'; '.join(found[:3])}{more}); "
            "accepted: the same search (only trials and final may change), or a new --out"
        )
    queued = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False)]
    for anchor in search.config.anchors:  # one that is new is tried in a study of before, too
        if anchor not in queued:
            study.enqueue_trial(anchor, user_attrs={"anchor": True})
    if known is None:
        # All at once, identity last: a study without it is one whose creation was interrupted.
        study.set_metric_names(["accuracy", "latency_ms"])
        study.set_user_attr("hash", stable_hash(identity))
        study.set_user_attr("identity", identity)
    write_atomic(folder / "search.yaml", search.as_yaml())
    return OpenStudy(study, storage)


CHOSEN = ("seed", "startup_trials", "anchors", "sampler", "goal")
"""How networks were chosen, in identities of before: a search may go on with another sampler."""


def _counts(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What of an identity makes trials comparable: the number of loader processes, say, does not."""
    counts = {key: value for key, value in identity.items() if key not in CHOSEN}
    return {**counts, "recipe": trained_by(identity.get("recipe", {}))}


@quiet_optuna()
def open_for_reading(folder: Path, url: str | None) -> optuna.Study:
    """Open an existing study (raises BevliteError when there is none)."""
    if url is None and not (folder / "study.db").is_file():
        raise BevliteError(f"{folder}: no study (study.db is missing); accepted: the --out of a search run")
    try:
        return optuna.load_study(study_name=study_name(folder, url), storage=storage_of(folder, url))
    except KeyError:
        raise BevliteError(f"{folder}: its database holds no such study") from None


def records_of(study: optuna.Study, full_epochs: int) -> list[TrialRecord]:
    """All trials in order, each with the latency that counts of it."""
    prefix = len(WHOLE)
    wholes = {name[prefix:]: value for name, value in study.user_attrs.items() if name.startswith(WHOLE)}
    return corrected([read_record(trial, full_epochs, wholes) for trial in study.get_trials(deepcopy=False)])


def keep_whole(study: optuna.Study, variant_hash: str, found: LatencySummary | str) -> None:
    """Keep the latency of a network measured whole, or why it cannot be measured so.

    It is kept with the study, because a trial that has ended takes no more attributes.
    """
    value = {"problem": found} if isinstance(found, str) else {"latency": asdict(found)}
    study.set_user_attr(WHOLE + variant_hash, value)


class Heartbeat:
    """While a trial runs, tells the storage so: another machine then knows that it is not lost."""

    def __init__(self, storage: RDBStorage, trial_id: int) -> None:
        self._storage = storage
        self._trial_id = trial_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        while True:
            # A database that is away for a moment must not end the training.
            with suppress(Exception):
                self._storage.record_heartbeat(self._trial_id)
            if self._stop.wait(HEARTBEAT_S):
                return

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
