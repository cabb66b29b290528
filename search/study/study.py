"""The study: takes up what was interrupted, asks for new trials, and runs them until there are enough."""

from __future__ import annotations

import errno
import platform
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from bevlite.config import write_atomic
from bevlite.errors import BevliteError
from bevlite.locks import FileLock
from search.config import ResolvedSearch, data_fingerprint
from search.latency.log import NoLatency
from search.latency.summary import LatencySummary
from search.space.ranked import NOTED
from search.space.samplers import MODEL
from search.space.space import Params
from search.space.storage import hidden
from search.study.backend import Backend
from search.study.curves import Curves
from search.study.outcome import Outcome
from search.study.pool import pool_of, widened
from search.study.proposals import Next, chances_to_win, drawn_job, next_job
from search.study.records import TrialRecord, spent
from search.study.room import GB, NEVER, clear
from search.study.sampling import params_key, sampler_for
from search.study.store import BY_HAND, Heartbeat, OpenStudy, keep_whole, open_for_run, quiet_optuna, records_of
from search.study.trial import TrialRunner
from search.study.view import trial_folder, trial_lock
from search.terminal import Say

MAX_SURPRISES = 3
FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


@dataclass(frozen=True)
class Job:
    """A trial that this process owns, as long as it holds the lock. `said`: why it is worked on again."""

    trial: optuna.Trial
    lock: FileLock
    said: str = ""


class Study:
    """A study folder at work. Several processes may work on one: each owns the trial whose lock it holds."""

    def __init__(
        self, search: ResolvedSearch, folder: Path, backend: Backend, say: Say, until: float | None = None
    ) -> None:
        """Open or create it; after `until` (a time of `time.time`) no work is begun."""
        self.search, self.folder, self.backend, self._say = search, folder, backend, say
        self.until = until
        folder.mkdir(parents=True, exist_ok=True)
        self._curves = curves_of(search)
        if self._curves is not None:
            self._curves.all()  # a file that cannot be read is said before anything is trained
        self._ask_lock = FileLock(folder / ".lock")
        with self._ask_lock:
            self._open: OpenStudy = open_for_run(folder, search)
        self.study = self._open.study
        self._surprises = 0
        self._said_over = self._said_full = False
        self._too_large: set[str] = set()

    @property
    def records(self) -> list[TrialRecord]:
        """All trials."""
        return records_of(self.study, self.search.config.fidelity.epochs)

    @property
    def outcome(self) -> Outcome:
        """What all trials so far amount to."""
        return Outcome(tuple(self.records), self.search.config.constraints.most_ms)

    @property
    def busy_elsewhere(self) -> bool:
        """Whether another process still runs a trial."""
        return any(record.state == "running" for record in self.records)

    @property
    def unfinished(self) -> bool:
        """Whether a trial is open, or there is more to be done."""
        return any(record.state == "running" for record in self.records) or not (self._enough() or self.timed_out)

    @property
    def timed_out(self) -> bool:
        """Whether the time that it was given is over."""
        return self.until is not None and time.time() >= self.until

    def _enough(self) -> bool:
        """Whether as many trials have begun as there shall be; of the model, whether as much was spent.

        Something has to be trained to the end before it is enough, and nothing may wait that a person queued.
        """
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if any(trial.user_attrs.get(BY_HAND) for trial in waiting):
            return False
        records, config = self.records, self.search.config
        if config.sampler != MODEL:
            return sum(record.state != "waiting" for record in records) >= config.trials
        rungs = config.fidelity.rungs
        if not any(record.state in ("completed", "paused") for record in records):
            return sum(record.state not in ("waiting", "running") for record in records) >= config.trials
        ended = any(record.state in ("completed", "running") for record in records)
        return ended and spent(records, rungs) >= config.trials * rungs[-1]

    def trial_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return trial_folder(self.folder, number)

    def run(self) -> None:
        """Run trials until there are enough, or nothing is left to try.

        Raises:
            BevliteError: what no other trial would escape (unusable data, the same unexpected error thrice).
        """
        while (job := self._next()) is not None:
            try:
                if job.said:
                    self._say(f"trial {job.trial.number:<3d} {job.said}")
                with Heartbeat(self._open.storage, job.trial._trial_id):
                    self._run(job)
            finally:
                job.lock.release()
            self._make_room()
            self.measure_winner()

    @quiet_optuna()
    def _make_room(self) -> None:
        """Keep within the limit of the disk; a paused trial whose weights went has ended."""
        most_gb, config = self.search.config.disk_gb, self.search.config
        if most_gb is None:
            return
        with self._ask_lock:
            records, outcome = self.records, self.outcome
            would_win = outcome.contenders(max(1, config.race.networks)) + (
                outcome.pareto if config.goal == "front" else []
            )
            keep = {n for one in would_win for n in (one.number, one.trained_in, one.inherited) if n is not None}
            keep |= {record.inherited for record in records if record.inherited is not None}
            cleared = clear(
                self.folder, records, most_gb, keep, lambda: chances_to_win(self.search, records), self.give_up
            )
        if cleared.removed:
            self._say(f"disk_gb   weights of trials {', '.join(map(str, cleared.removed))} went: they can hardly win")
        if cleared.left > most_gb * GB and not self._said_full:
            self._said_full = True
            self._say(f"disk_gb   {cleared.left / GB:.2f} GB of {most_gb:g} are taken, and all of it may still win")

    @quiet_optuna()
    def give_up(self, number: int) -> None:
        """End a paused trial whose weights go."""
        trial = optuna.Trial(self.study, self.study.get_trials(deepcopy=False)[number]._trial_id)
        trial.set_user_attr("reason", f"its chance to win is below {NEVER:.0%}, and disk_gb is reached")
        trial.set_user_attr("state", "stopped")
        self.study.tell(trial, state=TrialState.PRUNED)

    def measure_winner(self, wait: bool = False) -> None:
        """Measure the winner so far as a whole network; when another one wins by that, this one too.

        Without `wait`, it is left to another worker that is at it; with it, at the end, all that race are measured.

        Raises:
            NoLatency: no board answers, and the search may not do without.
        """
        lock = FileLock(self.folder / ".whole.lock")
        if self.search.config.device.measures and lock.acquire(wait=wait):
            try:
                self._measure_winner(self.search.config.race.networks if wait else 1)
            finally:
                lock.release()

    def _measure_winner(self, most: int) -> None:
        while (record := self._unmeasured(most)) is not None:
            assert record.variant_hash is not None
            variant = self.search.space.build(self.search.base, record.params, f"trial-{record.number}")
            try:
                report = self.backend.whole(variant)
            except NoLatency:
                raise
            except BevliteError as error:
                keep_whole(self.study, record.variant_hash, str(error))
                self._say(f"trial {record.number:<3d} whole     cannot be measured as a whole: {error}")
                continue
            if report is None:
                return
            summary = LatencySummary.of(report, "whole")
            missing = record.latency.missing if record.latency is not None else ()
            keep_whole(self.study, record.variant_hash, replace(summary, missing=missing))
            self._say(f"trial {record.number:<3d} whole     {summary.text}; before: {_before(record)}")

    def _unmeasured(self, most: int) -> TrialRecord | None:
        """The best of so many trials that nobody has measured as a whole; the first of them is the winner."""
        return next((one for one in self.outcome.contenders(most) if one.whole is None and not one.whole_problem), None)

    def _run(self, job: Job) -> None:
        folder = self.trial_folder(job.trial.number)
        runner = TrialRunner(self.search, self.study, job.trial, folder, self.backend, self._say, self._curves)
        try:
            runner.run()
            self._surprises = 0
        except BevliteError:
            raise  # not the fault of this trial: it stays open
        except StorageInternalError as error:
            said = hidden(str(error), self.search.config.storage or "")
            raise BevliteError(f"{self.folder}: the database failed ({said}); start again to go on") from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL_OR_FORBIDDEN:
                raise
            # Of a network that nobody has built before anything may come (out of memory, an operator that is
            # missing): the study goes on, unless it happens again and again.
            write_atomic(folder / "error.txt", traceback.format_exc())
            text = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {text[0][:200] if text else ''}"
            if may_pass(error) and not job.trial.user_attrs.get("tried_again"):
                job.trial.set_user_attr("tried_again", reason)
                self._say(
                    f"trial {job.trial.number:<3d} again     {reason}; it may have passed, so it is tried once more"
                )
                return  # it stays open, and is taken up as one that was interrupted
            runner.fail(reason)
            self._surprises += 1
            if self._surprises >= MAX_SURPRISES:
                raise BevliteError(
                    f"{MAX_SURPRISES} trials in a row failed unexpectedly, the last with {reason} "
                    f"(see {folder / 'error.txt'})"
                ) from None

    @quiet_optuna()
    def _next(self) -> Job | None:
        """The next trial to work on; None when there are enough or no more are possible.

        What is new is thought about while others may ask as well. Where one of them has begun something meanwhile it is
        thought about again, the last time while nobody else may ask.
        """
        if self.timed_out:
            self._say("the time is over; the same command goes on")
            return None
        for last in (False, False, True):
            with self._ask_lock:
                trials = self.study.get_trials(deepcopy=False)
                if (job := self._waiting(trials)) is not None:
                    return job
                if self._enough():
                    return None
                if last:
                    return self._begin(self._propose(trials), trials)
            found = self._propose(trials)
            with self._ask_lock:
                now = self.study.get_trials(deepcopy=False)
                if not _begun(now) - _begun(trials) and not self._enough():
                    return self._begin(found, now)
        raise AssertionError("the last one returns")

    def _waiting(self, trials: list[FrozenTrial]) -> Job | None:
        """A trial whose process is gone, or one that is queued."""
        for trial in trials:
            if trial.state == TrialState.RUNNING and (lock := self._adopt(trial)) is not None:
                self.study.sampler = sampler_for(self.search, trial.number)
                said = "resumed   it was interrupted; nothing is lost"
                return Job(optuna.Trial(self.study, trial._trial_id), lock, said)
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        return self._ask(trials) if queued and not self._enough() else None

    def _ask(self, trials: list[FrozenTrial]) -> Job:
        self.study.sampler = sampler_for(self.search, sum(trial.state != TrialState.WAITING for trial in trials))
        asked = self.study.ask()
        lock = FileLock(trial_lock(self.folder, asked.number))
        lock.acquire()
        self.search.space.sample(asked)  # whoever asks next has to see what is chosen here
        asked.set_user_attr("host", platform.node())
        if "proposed" in asked.user_attrs:
            self._say(f"trial {asked.number:<3d} proposed  {asked.user_attrs['proposed']}")
        return Job(asked, lock)

    def _propose(self, trials: list[FrozenTrial]) -> Next | None:
        """What is tried next, new or paused; None where nothing is left."""
        records = self.records
        pool = pool_of(self.search, self.folder, self.backend, self._say, records)
        curves = self._curves.all() if self._curves is not None else None
        while True:
            if self.search.config.sampler == MODEL:
                found = next_job(self.search, pool, records, curves, self._too_large)
            else:
                found = drawn_job(self.search, pool, trials, self._too_large)
            if found is None and (wider := widened(self.search, self.folder, self.backend, self._say, records)):
                pool = wider
                continue
            if found is None:
                self._say(f"all {len(pool.rows)} networks that may fit have been tried" if pool.rows else "none fits")
            if found is None or found.trial is not None or not self._is_too_large(found.params):
                return found

    def _begin(self, found: Next | None, trials: list[FrozenTrial]) -> Job | None:
        """Take what was found; nobody else may ask meanwhile."""
        if found is None:
            return None
        if found.over and not self._said_over:
            self._said_over = True
            self._say(f"it may end here: {found.over}")
        if found.trial is not None:
            return self._go_on(trials[found.trial], found)
        said = {"proposed": found.words, "gain": found.gain} if found.words else {NOTED: dict(found.noted)}
        self.study.enqueue_trial(found.params, user_attrs=said)
        return self._ask(trials)

    def _is_too_large(self, params: Params) -> bool:
        """Whether a network has more parameters than it may; it is remembered, and no trial."""
        limit = self.search.config.constraints.max_params_m
        if limit is None:
            return False
        variant = self.search.space.build(self.search.base, params, "size")
        if self.backend.parameters(variant) <= limit * 1e6:
            return False
        if not self._too_large:
            self._say(f"networks of more than {limit:g} M parameters are left out as they come up")
        self._too_large.add(params_key(params))
        return True

    def _go_on(self, trial: FrozenTrial, found: Next) -> Job:
        """Take a paused trial; nobody else can, who would have to hold the lock of asking."""
        lock = FileLock(trial_lock(self.folder, trial.number))
        lock.acquire()
        going = optuna.Trial(self.study, trial._trial_id)
        going.set_user_attr("host", platform.node())
        going.set_user_attr("paused", False)
        going.set_user_attr("gain", found.gain)
        return Job(going, lock, f"goes on   {found.words}")

    def _adopt(self, trial: FrozenTrial) -> FileLock | None:
        """The lock of a running trial whose process is gone; None while it lives.

        On this machine the lock says so at once; for another machine its heartbeat must have stopped as well. One that
        is paused has none.
        """
        if trial.user_attrs.get("paused"):
            return None
        lock = FileLock(trial_lock(self.folder, trial.number))
        if not lock.acquire(wait=False):
            return None
        host = trial.user_attrs.get("host", platform.node())
        if host != platform.node() and trial._trial_id not in self._open.lost_elsewhere():
            lock.release()
            return None
        return lock


def _begun(trials: list[FrozenTrial]) -> set[tuple[int, bool]]:
    """Trials, and whether each waits at a rung: what is new, goes on or has ended while it waited changes it."""
    return {(t.number, bool(t.user_attrs.get("paused")) and not t.state.is_finished()) for t in trials}


def may_pass(error: Exception) -> bool:
    """Whether a fault may be gone when the same is tried again: memory that others took, a connection that was lost."""
    return isinstance(error, (ConnectionError, TimeoutError, MemoryError)) or "out of memory" in str(error).lower()


def curves_of(search: ResolvedSearch) -> Curves | None:
    """What is known of its data and recipe, where the search names a folder."""
    if search.config.known is None:
        return None
    return Curves(Path(search.config.known), search.data, data_fingerprint(search.data), search.recipe)


def _before(record: TrialRecord) -> str:
    """The plain sum of the engines, or the prediction that stood for it."""
    return f"{record.engines.kind} {record.engines.total_ms:.2f} ms" if record.engines is not None else "unknown"
