"""How much each part of a network matters: channels really removed, and what is left really scored.

Nothing is trained in between, so that a loss says how much a part is missed at first, not what training on gives back.
Parts are compared by it, and by the milliseconds that their channels are predicted to save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bevlite.compression.choice import Limits, Removed
from bevlite.compression.costs import Predictions
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import Group
from bevlite.compression.importance import IMPORTANCES, Importance, importance
from bevlite.compression.measured import MeasuredCut, PruningSensitivity, rank_correlation
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.subset import Loss, Samples, Score, loss
from bevlite.evaluation.trials import Entry, Trials, helpers
from bevlite.inference.torch import TorchNetwork
from bevlite.models.detector import Detector
from bevlite.run_folder import Run, Stage
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
        found.setdefault(_unit(group.name, by), []).append(group)
    return found


def _unit(name: str, by: By) -> str:
    layer = name.partition("[")[0]
    parts = layer.split(".")
    if by == "module":
        return parts[0]
    if by == "part":
        return ".".join(parts[: 3 if parts[:2] == ["fusion_heads", "heads"] else 2])
    return layer if by == "layer" else name


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
class _Job:
    """All that a process needs to run trials of a run."""

    path: Path
    stage: Stage
    plan: CutPlan
    board: PredictedDevice
    groups: tuple[Group, ...]
    trials: tuple[Trial, ...]
    identity: Mapping[str, Any]
    workers: int


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
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise BevliteError(f"devices: found {devices}; accepted: 1 to {gpus}, the GPUs that are here")
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
    identity = {
        "kind": "prune", "network_hash": variant.network_hash, "stage": chosen, "weights": _digest(run, chosen),
        "root": samples.scored.data.root, "split": samples.split, "samples": samples.scored.tokens(),
        "importance": plan.kind, "align": plan.align, "device": board.name, "tensorrt": board.tensorrt,
        "power_mode": board.power_mode,
    }  # fmt: skip
    job = _Job(path, chosen, plan, board, tuple(groups), tuple(trials), identity, workers)
    with helpers(devices - 1, _help, job):
        entries = _run(job, samples, variant, weights, 0, say)
    return _result(job, samples, entries)


def _help(number: int, job: _Job) -> None:
    """Another process of the same job, on the GPU of its number."""
    run = Run(job.path)
    variant = run.variant(job.stage)
    samples = Samples(run, variant, samples=job.plan.samples, split=job.plan.split, workers=job.workers)
    _run(job, samples, variant, run.weights(variant, job.stage), number, lambda _: None)


def _run(
    job: _Job,
    samples: Samples,
    variant: Variant,
    weights: Mapping[str, Tensor],
    number: int,
    say: Callable[[str], None],
) -> dict[str, Entry]:
    device = torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
    predictions = Predictions(job.board)
    by_name = {trial.name: trial for trial in job.trials}

    def work(name: str) -> Entry:
        removed = by_name[name].removed if name in by_name else {}
        smaller, left = cut(variant, weights, list(job.groups), removed)
        score = samples.score(TorchNetwork.of_weights(smaller, left, device))
        return {
            "value": score.value, "halves": score.halves, "draws": [round(float(v), 9) for v in score.draws],
            "predicted_ms": predictions.of(smaller).total_ms,
        }  # fmt: skip

    def told(name: str, done: int, of: int) -> None:
        say(f"{done} of {of}: {name}")

    return Trials(job.path / "sensitivity", job.identity).run([WHOLE, *by_name], work, told)


def _result(job: _Job, samples: Samples, entries: Mapping[str, Entry]) -> PruningSensitivity:
    whole = entries[WHOLE]
    cuts = []
    for trial in job.trials:
        entry = entries[trial.name]
        lost = loss(_score(whole), _score(entry))
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
        by=job.plan.by,
        importance=job.plan.kind,
        align=job.plan.align,
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


def _score(entry: Entry) -> Score:
    halves = entry["halves"]
    return Score(entry["value"], None if halves is None else (halves[0], halves[1]), np.array(entry["draws"]))


def _digest(run: Run, stage: Stage) -> str:
    """Of the weights: a run that was trained on is another one."""
    return hashlib.sha256(run.weights_file(stage).read_bytes()).hexdigest()[:16]
