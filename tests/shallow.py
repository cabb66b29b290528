"""Networks with every kind of layer that a variant has, and few of each: what takes minutes for whole ones."""

from __future__ import annotations

from typing import Any

import torch

from bevlite.config import as_dict, merge
from bevlite.models.blocks import removable_blocks
from bevlite.models.detector import Detector
from bevlite.variant import Variant


def shallow(variant: Variant) -> Variant:
    """Without the blocks that repeat: the first of a row stays, of windowed attention the shifted one as well."""
    with torch.device("meta"):
        blocks = removable_blocks(Detector(variant).eval())
    kept = 2 if variant.camera is not None and variant.camera.backbone.type == "swin" else 1
    removed: list[str] = []
    for path, block in blocks.items():
        if path in block.siblings[kept:] and not any(path.startswith(f"{above}.") for above in removed):
            removed.append(path)
    changes: dict[str, Any] = {"compression": {"removed": removed}}
    return Variant.model_validate(merge(as_dict(variant), changes))
