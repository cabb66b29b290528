"""One trial, from parameters to accuracy: every step is recorded when it is done, so none is done twice."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from bevlite.errors import BevliteError, ConfigError, DataError, NothingFound
from search.config import ResolvedSearch
from search.latency.check import Verdict
from search.latency.log import NoLatency
from search.latency.summary import Basis, LatencySummary
from search.model.rungs import TRUST, trusted
from search.space.compression import runs_in_int8
from search.space.fidelity import RungPoint, stop_reason
from search.space.objectives import ObjectiveError, Score
from search.space.samplers import MODEL
from search.study.backend import Backend, Parent
from search.study.curves import ELSEWHERE, Curves
from search.study.records import State, TrialRecord
from search.study.room import REMOVED, was_removed
from search.study.store import records_of
from search.study.view import trial_folder
from search.terminal import Say

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant

OPTUNA_STATES: dict[str, TrialState] = {
    "completed": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "rejected": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class TrialRunner:
    """Runs one trial of a study, or goes on with one that was interrupted."""

    def __init__(
        self,
        search: ResolvedSearch,
        study: optuna.Study,
        trial: optuna.Trial,
        folder: Path,
        backend: Backend,
        say: Say,
        curves: Curves | None = None,
    ) -> None:
        self.search, self.study, self.trial, self.folder, self.backend = search, study, trial, folder, backend
        self._curves = curves
        self._say = say
        self._began = time.monotonic()
        self._checked: Verdict | None = None
        self._spent_before = float(trial.user_attrs.get("seconds", 0.0))

    @property
    def record(self) -> TrialRecord:
        """What the storage knows of it now."""
        return records_of(self.study, self.search.config.fidelity.epochs)[self.trial.number]

    def run(self) -> TrialRecord:
        """Bring the trial to its end, or to a rung at which it is paused.

        Raises:
            DataError, NoLatency, ObjectiveError, OSError: nothing that is the trial's fault; it stays open and is gone
                on with later.
        """
        params = self.search.space.sample(self.trial)
        try:
            variant = self.search.space.build(self.search.base, params, f"trial-{self.trial.number}")
        except ConfigError as error:
            self._constrain({"valid": 1.0})
            return self._finish("rejected", f"invalid combination: {error}")
        self.trial.set_user_attr("variant_hash", variant.hash)
        self.trial.set_user_attr("network_hash", variant.network_hash)
        original = self._same_network(variant)
        if original is not None:
            return self._reuse(original)
        try:
            rejection = self._measure(variant) if not self.record.rungs else None
            return self._finish("rejected", rejection) if rejection else self._train(variant)
        except NothingFound as error:
            return self._finish("failed", str(error))
        except (DataError, NoLatency, ObjectiveError):
            raise
        except BevliteError as error:
            return self._finish("failed", str(error))

    def fail(self, reason: str) -> TrialRecord:
        """End the trial as failed, by what nobody expected: other trials of the same network are not taken to fail."""
        self.trial.set_user_attr("unexpected", True)
        return self._finish("failed", reason)

    def _same_network(self, variant: Variant) -> TrialRecord | None:
        for record in records_of(self.study, self.search.config.fidelity.epochs):
            finished = record.state in OPTUNA_STATES and not record.unexpected
            if finished and record.variant_hash == variant.hash and record.duplicate_of is None:
                return record
        return None

    def _reuse(self, original: TrialRecord) -> TrialRecord:
        self.trial.set_user_attr("duplicate_of", original.number)
        if original.engines is not None:
            self.trial.set_user_attr("latency", asdict(original.engines))
        self.trial.set_user_attr("parameters", original.parameters)
        self.trial.set_user_attr("rungs", {str(epoch): score for epoch, score in original.rungs.items()})
        for name in ("quantized", "inherited", "trained_in"):
            if (known := getattr(original, name)) is not None:
                self.trial.set_user_attr(name, known)
        self._constrain(original.violations)
        reason = f"same network as trial {original.number}"
        return self._finish(original.state, f"{reason}: {original.reason}" if original.reason else reason)

    def _measure(self, variant: Variant) -> str | None:
        """Latency, size and whether it can be built, before any training; the reason for which it is rejected.

        A board is not asked to build what NVIDIA's compiler refuses; a prediction is quicker than the compiler.
        """
        on_boards = self.search.config.device.measures
        if on_boards and (refusal := self._refusal(variant)) is not None:
            return refusal
        report = self.backend.latency(variant)
        parameters = self.backend.parameters(variant)
        basis: Basis = "" if report.kind == "predicted" else "engines"
        self.trial.set_user_attr("latency", asdict(LatencySummary.of(report, basis)))
        self.trial.set_user_attr("parameters", parameters)
        limits = self.search.config.constraints
        summary = self.record.latency
        assert summary is not None
        self._constrain(limits.violations(summary, parameters))
        reason = limits.reason(summary, parameters)
        if reason is None and not on_boards:
            reason = self._refusal(variant)
        if reason is None:
            size = f"{parameters / 1e6:.2f} M parameters"
            checked = f", {self._checked.words}" if self._checked is not None else ""
            self._event("starts", f"{summary.text}, {size}{checked}  {self.record.params_text}")
        return reason

    def _refusal(self, variant: Variant) -> str | None:
        """Why NVIDIA's compiler refuses a network; None where it takes it, has no word on it, or is not asked."""
        self._checked = self.backend.check(variant)
        if self._checked is None:
            return None
        for line in self._checked.unsaid:
            self._event("unchecked", line)
        if not self._checked.refusals:
            return None
        self._constrain({"buildable": 1.0})
        first, *others = self._checked.refusals
        more = f" (and {len(others)} more)" if others else ""
        return f"{self._checked.words}: {first}{more}"

    def _train(self, variant: Variant) -> TrialRecord:
        rule = self.search.config.fidelity
        passed = list(self.trial.user_attrs.get("passed", []))
        self._find_parent()
        for epoch in rule.rungs:
            if epoch in passed:
                continue
            if epoch not in self.record.rungs and not self._take_over(variant, epoch):
                self._train_to(variant, epoch)
            by_model = self.search.config.sampler == MODEL
            reason = None if by_model or epoch == rule.epochs else self._compare(epoch)
            if reason is not None:
                return self._finish("stopped", f"at epoch {epoch}: {reason}")
            passed.append(epoch)
            self.trial.set_user_attr("passed", passed)
            if by_model and epoch != rule.epochs and self._pauses(epoch):
                return self.record
        if runs_in_int8(variant):
            self._quantize(variant)
        score = self.record.score
        assert score is not None
        floors = self.search.config.objectives.floor_violations(score["metrics"])
        self._constrain(floors)
        below = ", ".join(name.removeprefix("floor_") for name, value in floors.items() if value > 0)
        return self._finish("completed", f"below the floor of {below}" if below else "")

    def _take_over(self, variant: Variant, epoch: int) -> bool:
        """The score of a rung from another trial of the same network: training does not see the precision plan."""
        for record in records_of(self.study, self.search.config.fidelity.epochs):
            same = record.network_hash == variant.network_hash and record.number != self.trial.number
            source = record.number if record.trained_in is None else record.trained_in
            # What runs in INT8 needs the weights.
            gone = runs_in_int8(variant) and source != ELSEWHERE and was_removed(self._folder_of(source))
            if same and epoch in record.rungs and record.inherited == self.record.inherited and not gone:
                rungs = {**self.trial.user_attrs.get("rungs", {}), str(epoch): record.rungs[epoch]}
                self.trial.set_user_attr("rungs", rungs)
                self.trial.set_user_attr(
                    "trained_in", record.number if record.trained_in is None else record.trained_in
                )
                known = float(record.rungs[epoch]["accuracy"])
                label = self.search.config.objectives.label
                self._event("epoch", f"{epoch}: {label} {known:.4f} (trained as trial {record.number})")
                return True
        return self._take_from_elsewhere(variant, epoch)

    def _take_from_elsewhere(self, variant: Variant, epoch: int) -> bool:
        """The score of a rung from another study, where that knows the end too: its weights are not here.

        What runs in INT8 needs weights, and what inherits is another training.
        """
        if self._curves is None or self.record.inherited is not None or runs_in_int8(variant):
            return False
        curve = self._curves.of(variant.network_hash)
        if epoch not in curve or self.search.config.fidelity.epochs not in curve:
            return False
        known = curve[epoch]
        where = {"split": known["split"], "samples": known["samples"]}
        where |= {"draws": known["draws"]} if "draws" in known else {}
        score = Score.of(self.search.config.objectives, {**known["metrics"], **where})
        rungs = {**self.trial.user_attrs.get("rungs", {}), str(epoch): score.as_json()}
        self.trial.set_user_attr("rungs", rungs)
        self.trial.set_user_attr("trained_in", ELSEWHERE)
        label = self.search.config.objectives.label
        self._event("epoch", f"{epoch}: {label} {score.accuracy:.4f} (known from another search)")
        return True

    def _train_to(self, variant: Variant, epoch: int) -> None:
        self.trial.set_user_attr("trained_in", self.trial.number)
        self.backend.train(variant, self.search.recipe, self.folder, epoch, self._parent())
        (self.folder / REMOVED).unlink(missing_ok=True)  # of an earlier training, which a kill cut short
        score = self._score(variant, draws=epoch == self.search.config.fidelity.epochs)
        rungs = {**self.trial.user_attrs.get("rungs", {}), str(epoch): score.as_json()}
        self.trial.set_user_attr("rungs", rungs)
        self.trial.set_user_attr("seconds", self._seconds())
        if self._curves is not None and self.record.inherited is None:
            self._curves.keep(variant.network_hash, epoch, score.as_json(), str(self.folder))
        label = self.search.config.objectives.label
        self._event("epoch", f"{epoch}: {label} {score.accuracy:.4f} ({score.where})")

    def _score(self, variant: Variant, draws: bool) -> Score:
        """What its run is worth now."""
        found = self.backend.evaluate(self.folder, draws=draws)
        return Score.of(self.search.config.objectives, found, self.record.candidate(variant))

    def _parent(self) -> Parent | None:
        """The run whose weights it starts from, where the search lets trials inherit and one was trained."""
        if self.record.inherited is None:
            return None
        _, ratios = self.search.space.uncut(self.search.base, self.record.params, "parent")
        return Parent(self._folder_of(self.record.inherited), ratios)

    def _folder_of(self, number: int) -> Path:
        """The run folder of another trial."""
        return trial_folder(self.folder.parent.parent, number)

    def _find_parent(self) -> None:
        """Remember a completed trial of the network with all its channels; none where it has them itself."""
        whole, ratios = self.search.space.uncut(self.search.base, self.record.params, "parent")
        if not self.search.config.inherit or not ratios or self.record.inherited is not None or self.record.rungs:
            return
        for record in records_of(self.study, self.search.config.fidelity.epochs):
            trained = record.state == "completed" and record.inherited is None
            here = record.trained_in == record.number and not was_removed(self._folder_of(record.number))
            if trained and here and record.network_hash == whole.network_hash:
                self.trial.set_user_attr("inherited", record.number)
                self._event("inherits", f"starts from what is left of trial {record.number}")
                return

    def _quantize(self, variant: Variant) -> None:
        """Its accuracy in INT8."""
        if self.record.quantized is not None:
            return
        trained = self.record.trained_in
        assert trained is not None
        self.backend.quantize(variant, self._folder_of(trained), self.folder)
        score = self._score(variant, draws=True)
        self.trial.set_user_attr("quantized", score.as_json())
        self.trial.set_user_attr("seconds", self._seconds())
        label = self.search.config.objectives.label
        self._event("int8", f"{label} {score.accuracy:.4f} ({score.where})")

    def _pauses(self, epoch: int) -> bool:
        """Whether it gives way here: the first ones are trained to the end, and so is every one where a rung lies."""
        config = self.search.config
        first = self.trial.number < self.search.startup_trials or self.trial.user_attrs.get("anchor")
        if first or self.record.trained_in == ELSEWHERE:  # what costs nothing gives way to nothing
            return False
        curves = [
            {rung: float(score["accuracy"]) for rung, score in record.rungs.items()}
            for record in records_of(self.study, config.fidelity.epochs)
            if record.state == "completed" and record.duplicate_of is None
        ]
        if self._curves is not None:
            here = {record.network_hash for record in records_of(self.study, config.fidelity.epochs)}
            curves += [
                {rung: config.objectives.accuracy_of(score["metrics"]) for rung, score in curve.items()}
                for name, curve in self._curves.all().items()
                if name not in here
            ]
        known = trusted(curves, config.fidelity.rungs)[epoch]
        if known <= TRUST:
            return False
        self.trial.set_user_attr("paused", True)
        self._event("paused", f"at epoch {epoch}; ranks there are those of the end (correlation above {known:.2f})")
        return True

    def _compare(self, epoch: int) -> str | None:
        points = []
        for record in records_of(self.study, self.search.config.fidelity.epochs):
            if epoch in record.rungs and record.latency is not None and record.duplicate_of is None:
                accuracy = float(record.rungs[epoch]["accuracy"])
                points.append(RungPoint(record.number, accuracy, record.latency.total_ms))
        own = next(point for point in points if point.number == self.trial.number)
        return stop_reason(own, [point for point in points if point is not own], self.search.config.fidelity)

    def _constrain(self, values: dict[str, float]) -> None:
        known = self.record.violations  # Optuna keeps the first value of a constraint
        for name, value in values.items():
            if name not in known:
                self.trial.set_constraint(name, value)

    def _finish(self, state: State, reason: str) -> TrialRecord:
        self.trial.set_user_attr("reason", reason)
        self.trial.set_user_attr("seconds", self._seconds())
        self.trial.set_user_attr("state", state)
        record = replace(self.record, state=state)
        values = None
        if state == "completed":
            assert record.accuracy is not None and record.latency_ms is not None
            values = [record.accuracy, record.latency_ms]
        self.study.tell(self.trial, values, state=OPTUNA_STATES[state])
        self._event(state, self._summary(record))
        return record

    def _summary(self, record: TrialRecord) -> str:
        words = [record.reason] if record.reason else []
        if record.state == "completed" and record.score is not None and record.latency is not None:
            where = f"{record.score['split']}, {record.score['samples']} samples"
            label = self.search.config.objectives.label
            words.insert(0, f"{label} {record.accuracy:.4f} ({where}), {record.latency.text}")
        if record.state in ("rejected", "failed") or record.duplicate_of is not None:
            words.append(record.params_text)
        return "  ".join(words)

    def _seconds(self) -> float:
        return round(self._spent_before + time.monotonic() - self._began, 2)

    def _event(self, word: str, text: str) -> None:
        elapsed: Any = self._seconds()
        self._say(f"trial {self.trial.number:<3d} {word:<9s} {text}  ({elapsed:.1f} s)")
