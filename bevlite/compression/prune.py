"""A trained run, pruned: groups found, ranked and cut. What is left is a stage of the run, as text and weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from bevlite.analysis.cost import module_costs
from bevlite.compression.blocks import (
    Remove,
    block_influences,
    blocks_of,
    check_counts,
    choose_blocks,
    without_blocks,
)
from bevlite.compression.choice import GUIDES, Costs, Guide, Limits, Removed, by_heads, by_ratio, for_budget
from bevlite.compression.costs import Predictions
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import Group
from bevlite.compression.importance import IMPORTANCES, Importance, importance
from bevlite.compression.measured import Slopes, read_sensitivity
from bevlite.data.dataset import single_thread
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.models.blocks import Block
from bevlite.models.detector import Detector
from bevlite.models.quantization.plan import in_int8
from bevlite.models.widths import BATCH_NORMS
from bevlite.run_folder import Run
from bevlite.training.loop import training_set
from bevlite.training.module import TrainingModule
from bevlite.training.recipe import load_recipe
from bevlite.variant import Variant


@dataclass(frozen=True)
class Plan:
    """How a run is to be pruned: blocks to `remove`, `heads` to be left; then channels, by `ratios` or for `budget_ms`.

    remove: blocks by pattern, or so many of those below one, the least influential.
    heads: that are left of attentions, by pattern of their paths. Attentions that are not named lose heads as other
    layers lose channels.
    ratios: share to remove, by pattern of module and layer paths (`camera.backbone: 0.25`).
    guide: with a budget, what decides.
    kind: which importance; samples: of the training split, for `taylor` and the influence of blocks.
    sensitivity: a file of measured losses that weighs importance.
    int8: the budget is that of the network once it is quantized.
    """

    ratios: Mapping[str, float] = field(default_factory=dict)
    budget_ms: float | None = None
    guide: Guide = "latency"
    kind: Importance = "l2"
    samples: int = 32
    limits: Limits = field(default_factory=Limits)
    sensitivity: Path | None = None
    int8: bool = False
    remove: Remove = field(default_factory=dict)
    heads: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ratios and self.budget_ms is not None:
            raise BevliteError("prune: found both of ratios and a budget; accepted: one of them")
        if not self.ratios and self.budget_ms is None and not self.remove and not self.heads:
            raise BevliteError(
                "prune: found neither of ratios and a budget; accepted: one of them, blocks to remove or heads to leave"
            )
        check_counts(self.remove)
        if self.budget_ms is not None and not 0 < self.budget_ms < 1e6:
            raise BevliteError(f"budget: found {self.budget_ms:g} ms; accepted: more than 0 and less than 1000000")
        if self.guide not in GUIDES:
            raise BevliteError(f"guide: found '{self.guide}'; accepted: {', '.join(GUIDES)}")
        if self.kind not in IMPORTANCES:
            raise BevliteError(f"importance: found '{self.kind}'; accepted: {', '.join(IMPORTANCES)}")
        if self.sensitivity is not None and (self.budget_ms is None or self.guide == "uniform"):
            found = "ratios" if self.budget_ms is None else "the guide uniform"
            raise BevliteError(f"sensitivity: found {found}; accepted: with a budget, and the guide latency or macs")
        if not 1 <= self.samples <= 100_000:
            raise BevliteError(f"samples: found {self.samples}; accepted: 1 to 100000")


@dataclass(frozen=True)
class Size:
    """A network in figures; `predicted_ms` on the board that was asked for."""

    parameters: int
    macs: int
    predicted_ms: float


@dataclass(frozen=True)
class Pruned:
    """What was made: the variant, sizes before and after, and the channels (or heads) of each group before and after.

    removed: blocks that went, with their influence where that decided.
    """

    variant: Variant
    before: Size
    after: Size
    groups: Mapping[str, tuple[int, int]]
    removed: Mapping[str, float | None] = field(default_factory=dict)


def prune_run(
    path: Path, plan: Plan, board: PredictedDevice, *, stage: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Pruned:  # fmt: skip
    """Prune the weights of a run into its stage `pruned`; what came after that stage is removed.

    Args:
        path: the run folder.
        plan: what to remove.
        board: whose predicted latency counts.
        stage: which weights to start from; None for those of training.
        say: told of what is done.

    Raises:
        BevliteError: not a run, no weights, a plan that cannot be followed, a budget that cannot be met.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    chosen = run.chosen(stage or "float")
    if chosen not in ("float", "pruned", "finetuned"):
        raise BevliteError(f"prune: stage: found {chosen}; accepted: float, pruned, finetuned, before quantization")
    variant = run.variant(chosen)
    weights = run.weights(variant, chosen)
    slope = None
    if plan.sensitivity is not None:
        slope = Slopes(read_sensitivity(plan.sensitivity, variant.network_hash)).of
    whole = variant
    removed_blocks = _blocks(run, variant, weights, plan, say)
    if removed_blocks:
        variant, weights = without_blocks(variant, weights, removed_blocks)
    groups = channel_groups(variant)
    say(f"{len(groups)} groups of channels, {sum(g.size for g in groups)} channels")
    network = Detector(variant).eval()
    network.load_state_dict(weights)
    gradients = _gradients(run, variant, weights, plan.samples, say) if plan.kind == "taylor" else None
    shares = importance(network, groups, plan.kind, gradients)
    predictions = Predictions(board)
    priced = in_int8(variant, {}) if plan.int8 else variant

    decided = by_heads(groups, shares, plan.heads)
    free = [group for group in groups if group.name not in decided]

    def costs(removed: Removed) -> Costs:
        return predictions.of(cut(priced, {}, groups, decided | removed)[0], plan.guide)

    if plan.budget_ms is not None:
        removed = decided | for_budget(free, shares, plan.budget_ms, costs, plan.limits, plan.guide, say, slope)
    elif plan.ratios:
        removed = decided | by_ratio(free, shares, plan.ratios, plan.limits)
    else:
        removed = decided
    pruned, left = cut(variant, weights, groups, removed)
    Detector(pruned).load_state_dict(left)  # what would not fit is found before anything is written
    sizes = _size(whole, predictions), _size(pruned, predictions)
    made = Pruned(pruned, *sizes, _counts(groups, removed), removed_blocks)
    content = save({name: value.contiguous() for name, value in left.items()})
    run.save_stage("pruned", content, pruned, _meta(made, plan, chosen, board))
    # Only now, or a kill could cost the weights that it started from: what is left of before is of another network.
    run.forget("finetuned", "calibration", "qat")
    run.forget_figures("pruned")
    return made


def _blocks(
    run: Run, variant: Variant, weights: Mapping[str, Tensor], plan: Plan, say: Callable[[str], None]
) -> dict[str, float | None]:
    """The blocks that a plan removes, with their influence where it is measured."""
    if not plan.remove:
        return {}

    def influences(blocks: Collection[Block]) -> dict[str, float]:
        say(f"influence of {len(blocks)} blocks on {plan.samples} samples")
        return block_influences(run, variant, weights, blocks, plan.samples)

    return choose_blocks(blocks_of(variant), plan.remove, influences)


def _counts(groups: list[Group], removed: Removed) -> dict[str, tuple[int, int]]:
    return {g.name: (g.size, g.size - len(removed.get(g.name, ()))) for g in groups}


def _size(variant: Variant, predictions: Predictions) -> Size:
    costs = module_costs(variant)
    return Size(sum(c.parameters for c in costs), sum(c.macs for c in costs), predictions.of(variant).total_ms)


def _meta(made: Pruned, plan: Plan, stage: str, board: PredictedDevice) -> dict[str, Any]:
    """What the weights came from, for whoever reads the run."""
    return {
        "from": stage,
        "plan": {
            "remove": dict(plan.remove), "heads": dict(plan.heads),
            "ratios": dict(plan.ratios), "budget_ms": plan.budget_ms, "guide": plan.guide, "importance": plan.kind,
            "int8": plan.int8,
            "sensitivity": str(plan.sensitivity) if plan.sensitivity is not None else None,
            "align": plan.limits.align, "most": plan.limits.most, "keep": list(plan.limits.keep),
        },
        "predicted_on": {"device": board.name, "tensorrt": board.tensorrt},
        "before": vars(made.before),
        "after": vars(made.after),
        "removed": dict(made.removed),
        "groups": {name: list(counts) for name, counts in made.groups.items()},
    }  # fmt: skip


def _gradients(
    run: Run, variant: Variant, weights: Mapping[str, Tensor], samples: int, say: Callable[[str], None]
) -> dict[str, Tensor]:
    """Gradients of the training loss by name of parameter, summed over samples without augmentation."""
    recipe = load_recipe(run.path / "recipe.yaml")
    plain = recipe.model_copy(
        update={"augmentation": recipe.augmentation.model_copy(update={"image": None, "bev": None})}
    )
    dataset = training_set(variant, run.data(), plain)
    if dataset.has_past:
        raise BevliteError("importance: found taylor for a network with a past; accepted: l2, l1, bn")
    module = TrainingModule(variant, plain, total_steps=1)
    module.start_from(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = module.network.to(device).train()
    for layer in network.modules():
        if isinstance(layer, (*BATCH_NORMS, torch.nn.Dropout)):
            layer.eval()  # as it was trained: single samples say little of statistics
    picked = range(0, len(dataset), max(1, len(dataset) // samples))[:samples]
    loader = DataLoader(
        Subset(dataset, list(picked)), batch_size=1, num_workers=2, collate_fn=dataset.collate,
        worker_init_fn=single_thread,
    )  # fmt: skip
    say(f"gradients of {len(picked)} samples")
    for batch in loader:
        batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        terms = module.losses(network(batch), batch)
        torch.stack(list(terms.values())).sum().backward()
    return {name: p.grad.cpu() for name, p in network.named_parameters() if p.grad is not None}
