"""The tensors of a checkpoint file by name. Nothing in it is run: `weights_only`, or safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bevlite.errors import BevliteError

STATE = "state_dict"
"""Under which name mmcv, mmengine and Lightning keep the weights in a checkpoint."""
WRAPPED = "module."
"""What DistributedDataParallel puts in front of every name."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights of a file by name, in float32.

    Args:
        path: `.safetensors`, or what `torch.save` wrote: a state dict, or a mapping that holds one as `state_dict`
            beside others (`meta`, `optimizer`), which are left.

    Raises:
        BevliteError: the file is missing, truncated, holds objects other than tensors, numbers and text, holds no
            weights, or weights that are not finite.
    """
    if not path.is_file():
        raise BevliteError(f"{path}: no such file; accepted: a checkpoint (.pth, .safetensors)")
    found = _weights_in(_content(path), path)
    if all(key.startswith(WRAPPED) for key in found):
        found = {key.removeprefix(WRAPPED): value for key, value in found.items()}
    for key, value in found.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise BevliteError(f"{path}: {key} holds NaN or infinity; accepted: weights that are finite")
    return {key: value.float() if value.is_floating_point() else value for key, value in found.items()}


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a broken file raises becomes one line
        text = " ".join(str(error).split()) or type(error).__name__
        if "weights_only" in text.lower() or "unsupported" in text.lower():
            raise BevliteError(
                f"{path}: holds objects beside tensors, which are not run here; accepted: the weights alone, written "
                f"where the file comes from: torch.save(torch.load(FILE, weights_only=False)['{STATE}'], 'weights.pth')"
            ) from None
        raise BevliteError(
            f"{path}: cannot be read ({text[:160]}); accepted: a whole .pth or .safetensors file"
        ) from None


def _weights_in(content: Any, path: Path) -> dict[str, Tensor]:
    inner = content.get(STATE, content) if isinstance(content, Mapping) else content
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise BevliteError(f"{path}: found no tensors by name; accepted: a state dict, or a mapping with '{STATE}'")
    return {str(key): value for key, value in inner.items()}
