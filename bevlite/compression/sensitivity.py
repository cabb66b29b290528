"""How much each part of a network matters: channels really removed, and what is left really scored.

Nothing is trained in between, so that a loss says how much a part is missed at first, not what training on gives back.
Parts are compared by it, and by the milliseconds that their channels are predicted to save.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from bevlite.compression.choice import Limits, Removed
from bevlite.compression.costs import Predictions
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import Group
from bevlite.compression.importance import IMPORTANCES, Importance, importance
from bevlite.compression.measured import MeasuredCut, PruningSensitivity, rank_correlation
from bevlite.compression.scored import Job, Made, identity_of, require_devices, run_job, score_of, unit_of
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.subset import Loss, Samples, loss
from bevlite.evaluation.trials import Entry
from bevlite.inference.torch import TorchNetwork
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.variant import Variant

By = Literal["module", "part", "layer", "group"]
BYS: tuple[By, ...] = get_args(By)
WHOLE = "whole"
"""The trial of the network as it is."""


@dataclass(frozen=True)
class CutPlan:
    """What is tried.

    ratios: shares of channels to remove. by: what is cut at once: all groups of a `module`, of a `part` of it
    (`camera.backbone`), those of one `layer`, or one `group`. kind: which importance picks the channels.
    samples: of a split, by default that of validation. align: what is left of a group is a multiple of it.
    """

    ratios: tuple[float, ...] = (0.25, 0.5)
    by: By = "layer"
    kind: Importance = "l2"
    samples: int = 200
    align: int = 8
    split: str | None = None

    def __post_init__(self) -> None:
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            found = ", ".join(f"{ratio:g}" for ratio in self.ratios) or "none"
            raise BevliteError(f"ratios: found {found}; accepted: more than 0 and less than 1")
        if self.by not in BYS:
            raise BevliteError(f"by: found '{self.by}'; accepted: {', '.join(BYS)}")
        if self.kind not in IMPORTANCES or self.kind == "taylor":
            raise BevliteError(f"importance: found '{self.kind}'; accepted: l2, l1, bn")
        Limits(align=self.align)


@dataclass(frozen=True)
class Trial:
    """One cut: of which unit, at what ratio, and the channels that go by group.

    spent: what goes of the groups' importance, as `MeasuredCut` has it.
    """

    name: str
    unit: str
    ratio: float
    groups: tuple[str, ...]
    channels: int
    removed: Removed
    spent: float


def units(groups: Sequence[Group], by: By) -> dict[str, list[Group]]:
    """Groups that are cut together, by the name of what they are in."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(unit_of(group.name, by), []).append(group)
    return found


def trials_of(groups: Sequence[Group], shares: Mapping[str, np.ndarray], plan: CutPlan) -> list[Trial]:
    """Every cut of a plan at which something goes, each once: two ratios may round to the same channels."""
    limits = Limits(align=plan.align, most=0.99)
    found = []
    for unit, own in units(groups, plan.by).items():
        seen: set[tuple[int, ...]] = set()
        for ratio in sorted(plan.ratios):
            removed, spent = {}, 0.0
            for group in own:
                kept = limits.aligned(max(1, round(group.size * (1 - ratio))), group)
                if kept < group.size:
                    order = np.argsort(shares[group.name], kind="stable")
                    removed[group.name] = np.sort(order[: group.size - kept])
                    spent -= float(np.log(max(shares[group.name][order[group.size - kept :]].sum(), 1e-12)))
            counts = tuple(len(removed.get(group.name, ())) for group in own)
            if removed and counts not in seen:
                seen.add(counts)
                name = f"{unit} at {ratio:g}, by {plan.by}"
                names = tuple(group.name for group in own)
                found.append(Trial(name, unit, ratio, names, sum(g.size for g in own), removed, spent))
    return found


@dataclass(frozen=True)
class _Cuts(Job):
    """Cuts of a run's network."""

    board: PredictedDevice
    groups: tuple[Group, ...]
    trials: tuple[Trial, ...]

    def maker(self, run: Run, variant: Variant, device: torch.device) -> Made:
        """What is left of the network after a cut."""
        weights = run.weights(variant, self.stage)
        predictions = Predictions(self.board)
        by_name = {trial.name: trial for trial in self.trials}

        def make(name: str) -> tuple[TorchNetwork, float]:
            removed = by_name[name].removed if name in by_name else {}
            smaller, left = cut(variant, weights, list(self.groups), removed)
            return TorchNetwork.of_weights(smaller, left, device), predictions.of(smaller).total_ms

        return make


def prune_sensitivity(
    path: Path,
    plan: CutPlan,
    board: PredictedDevice,
    *,
    stage: str | None = None,
    devices: int = 1,
    workers: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> PruningSensitivity:
    """Cut and score every unit of a run's network; a trial that is done already is not done again.

    Args:
        path: the run folder. Trials lie in its `sensitivity/`.
        plan: what is tried.
        board: whose predicted latency counts.
        stage: which weights; None for those of training.
        devices: GPUs (or CPU processes) to share the trials.
        workers: loader processes of each.
        say: told of each trial.

    Raises:
        BevliteError: not a run, no weights, unusable data, a plan that cannot be followed.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    chosen = run.chosen(stage or "float")
    if chosen not in ("float", "pruned", "finetuned"):
        raise BevliteError(f"sensitivity: stage: found {chosen}; accepted: float, pruned, finetuned")
    require_devices(devices)
    variant = run.variant(chosen)
    weights = run.weights(variant, chosen)
    samples = Samples(run, variant, samples=plan.samples, split=plan.split, workers=workers)
    groups = channel_groups(variant)
    network = Detector(variant).eval()
    network.load_state_dict(weights)
    trials = trials_of(groups, importance(network, groups, plan.kind), plan)
    if not trials:
        raise BevliteError(
            f"sensitivity: found no channel that may go of {len(groups)} groups at these ratios; accepted: larger "
            f"ratios, or align less than {plan.align}"
        )
    say(f"{len(groups)} groups of channels, {len(trials)} cuts to try on {len(samples.scored.rows)} samples of "
        f"{len(samples.scenes)} scenes")  # fmt: skip
    identity = identity_of(run, variant, chosen, samples, board) | {
        "kind": "prune", "importance": plan.kind, "align": plan.align
    }  # fmt: skip
    names = (WHOLE, *(trial.name for trial in trials))
    job = _Cuts(path, chosen, names, identity, plan.samples, plan.split, workers, board, tuple(groups), tuple(trials))
    return _result(job, plan, samples, run_job(job, samples, devices, say))


def _result(job: _Cuts, plan: CutPlan, samples: Samples, entries: Mapping[str, Entry]) -> PruningSensitivity:
    whole = entries[WHOLE]
    cuts = []
    for trial in job.trials:
        entry = entries[trial.name]
        lost = loss(score_of(whole), score_of(entry))
        cuts.append(_row(trial, lost, entry["predicted_ms"], whole["predicted_ms"]))
    return PruningSensitivity(
        network_hash=str(job.identity["network_hash"]),
        stage=job.stage,
        figure=samples.figure,
        whole=whole["value"],
        whole_ms=whole["predicted_ms"],
        split=samples.split,
        samples=len(samples.scored.rows),
        scenes=len(samples.scenes),
        by=plan.by,
        importance=plan.kind,
        align=plan.align,
        device=job.board.name,
        tensorrt=job.board.tensorrt,
        rank_correlation=rank_correlation(cuts),
        cuts=tuple(cuts),
    )


def _row(trial: Trial, lost: Loss, ms: float, whole_ms: float) -> MeasuredCut:
    return MeasuredCut(
        unit=trial.unit,
        groups=trial.groups,
        ratio=trial.ratio,
        channels=trial.channels,
        removed=sum(len(numbers) for numbers in trial.removed.values()),
        spent=trial.spent,
        loss=lost.value,
        lower=lost.lower,
        upper=lost.upper,
        error=lost.error,
        halves=lost.halves,
        predicted_ms=ms,
        saved_ms=whole_ms - ms,
    )
