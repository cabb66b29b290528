"""How much each block of a network matters: really removed, alone, and what is left really scored.

Beside it stands the influence of the block, which costs a pass over a few samples: whether it tells what scores tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from scipy.stats import spearmanr

from bevlite.compression.blocks import block_influences, blocks_of, without_blocks
from bevlite.compression.costs import Predictions
from bevlite.compression.measured import Sensitivity, rank_correlation
from bevlite.compression.scored import Job, Made, identity_of, require_devices, run_job, score_of
from bevlite.config import Config
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.subset import Samples, loss
from bevlite.inference.torch import TorchNetwork
from bevlite.run_folder import Run
from bevlite.variant import Variant

WHOLE = "whole"
"""The trial of the network as it is."""
LOOKED_AT = 32
"""Training samples for influences."""


class MeasuredBlock(Config):
    """One block, removed alone.

    influence: 1 - the cosine between what it takes and gives (`block_influences`). loss: of the figure, absolute;
    lower, upper: 95 % of draws of scenes, error: their standard deviation; halves: by every other scene.
    """

    block: str
    row: str
    influence: Annotated[float, Field(ge=-1e-6, le=2.000001)]
    loss: float
    lower: float
    upper: float
    error: Annotated[float, Field(ge=0)]
    halves: tuple[float, float] | None
    predicted_ms: Annotated[float, Field(ge=0)]
    saved_ms: float


class BlockSensitivity(Sensitivity):
    """What blocks of a network are worth and cost; by_influence: Spearman's, of losses and influences."""

    by_influence: Annotated[float, Field(ge=-1, le=1)] | None
    blocks: tuple[MeasuredBlock, ...]


@dataclass(frozen=True)
class _Removals(Job):
    """Blocks of a run's network, each removed alone; trials have their paths as names."""

    board: PredictedDevice

    def maker(self, run: Run, variant: Variant, device: torch.device) -> Made:
        """What is left of the network without a block."""
        weights = run.weights(variant, self.stage)
        predictions = Predictions(self.board)

        def make(name: str) -> tuple[TorchNetwork, float]:
            smaller, left = without_blocks(variant, weights, [] if name == WHOLE else [name])
            return TorchNetwork.of_weights(smaller, left, device), predictions.of(smaller).total_ms

        return make


def block_sensitivity(
    path: Path,
    board: PredictedDevice,
    *,
    samples: int = 200,
    split: str | None = None,
    stage: str | None = None,
    devices: int = 1,
    workers: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> BlockSensitivity:
    """Remove and score every block of a run's network that can go; a trial that is done already is not done again.

    Args:
        path: the run folder. Trials lie in its `sensitivity/`.
        board: whose predicted latency counts.
        samples: how many are scored, spread over the scenes of the split.
        split: an official split; None for the validation split of the data.
        stage: which weights; None for those of training.
        devices: GPUs (or CPU processes) to share the trials.
        workers: loader processes of each.
        say: told of each trial.

    Raises:
        BevliteError: not a run, no weights, unusable data, a network without a block that can go.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    chosen = run.chosen(stage or "float")
    if chosen not in ("float", "pruned", "finetuned"):
        raise BevliteError(f"sensitivity: stage: found {chosen}; accepted: float, pruned, finetuned")
    require_devices(devices)
    variant = run.variant(chosen)
    blocks = blocks_of(variant)
    if not blocks:
        raise BevliteError("sensitivity: found no block that can go; accepted: a network with rows of blocks")
    scored = Samples(run, variant, samples=samples, split=split, workers=workers)
    say(f"influence of {len(blocks)} blocks on {LOOKED_AT} training samples")
    influences = block_influences(run, variant, run.weights(variant, chosen), list(blocks.values()), LOOKED_AT)
    say(f"{len(blocks)} blocks to try on {len(scored.scored.rows)} samples of {len(scored.scenes)} scenes")
    identity = identity_of(run, variant, chosen, scored, board) | {"kind": "blocks"}
    entries = run_job(
        _Removals(path, chosen, (WHOLE, *blocks), identity, samples, split, workers, board), scored, devices, say
    )
    whole = entries[WHOLE]
    rows = []
    for name, block in blocks.items():
        lost, ms = loss(score_of(whole), score_of(entries[name])), entries[name]["predicted_ms"]
        rows.append(
            MeasuredBlock(
                block=name, row=block.row, influence=influences[name], loss=lost.value, lower=lost.lower,
                upper=lost.upper, error=lost.error, halves=lost.halves, predicted_ms=ms,
                saved_ms=whole["predicted_ms"] - ms,
            )
        )  # fmt: skip
    return BlockSensitivity(
        network_hash=variant.network_hash, stage=chosen, figure=scored.figure, whole=whole["value"],
        whole_ms=whole["predicted_ms"], split=scored.split, samples=len(scored.scored.rows), scenes=len(scored.scenes),
        device=board.name, tensorrt=board.tensorrt,
        by="block", rank_correlation=rank_correlation(rows),
        by_influence=_spearman([row.influence for row in rows], [row.loss for row in rows]), blocks=tuple(rows),
    )  # fmt: skip


def _spearman(first: list[float], second: list[float]) -> float | None:
    """Of two orders; None where one has less than two different values."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)
