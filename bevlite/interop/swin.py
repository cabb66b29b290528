"""Swin-T of mmdetection to ours, which has timm's layers."""

from __future__ import annotations

import re

from torch import Tensor

from bevlite.interop.keymap import KeyMap
from bevlite.interop.shared import numbered

BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.w_msa.qkv": "attn.qkv",
    "attn.w_msa.proj": "attn.proj",
    "ffn.layers.0.0": "mlp.fc1",
    "ffn.layers.1": "mlp.fc2",
}
"""Layers of a block by their names there, and here."""
TABLE = "relative_position_bias_table"


def swin(plan: KeyMap, source: str, target: str) -> None:
    """Patches, blocks, the merging between stages, and the norms of the maps that are handed out.

    A merging is the end of a stage there and the beginning of the next one here. Its four positions lie channel by
    channel there (as `nn.Unfold` has them), position by position here.
    """
    plan.layer(f"{source}.patch_embed.projection", f"{target}.patch_embed.proj")
    plan.layer(f"{source}.patch_embed.norm", f"{target}.patch_embed.norm")
    for stage in range(numbered(plan.ours, f"{target}.norms.#.weight")):
        here = f"{target}.layers.{stage}"
        for block in range(numbered(plan.ours, f"{here}.blocks.#.norm1.weight")):
            there = f"{source}.stages.{stage}.blocks.{block}"
            for theirs, ours in BLOCK.items():
                plan.layer(f"{there}.{theirs}", f"{here}.blocks.{block}.{ours}")
            # Of `attn` itself our state has the table alone; the index is computed.
            plan.layer(f"{there}.attn.w_msa", f"{here}.blocks.{block}.attn")
        if stage:
            merging = f"{source}.stages.{stage - 1}.downsample"
            plan.layer(f"{merging}.norm", f"{here}.downsample.norm", weight=positions_first, bias=positions_first)
            plan.layer(f"{merging}.reduction", f"{here}.downsample.reduction", weight=positions_first)
        if f"{source}.norm{stage}.weight" in plan.given:
            plan.layer(f"{source}.norm{stage}", f"{target}.norms.{stage}")
    plan.keep(rf"{re.escape(target)}\.norms\.0\.", "the norm of the map at stride 4, which the neck does not take")
    plan.leave(rf"{re.escape(source)}\..*\.relative_position_index$", "an index, computed from the window")


def positions_first(value: Tensor) -> Tensor:
    """The last axis (C * 4) from channel, row, column to column, row, channel."""
    lead = value.shape[:-1]
    moved = value.reshape(*lead, -1, 2, 2)
    order = [*range(len(lead)), len(lead) + 2, len(lead) + 1, len(lead)]
    return moved.permute(*order).reshape(value.shape)
