"""Checkpoints without pickle: tensors in safetensors, everything else as JSON, each file whole or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bevlite.config import write_atomic
from bevlite.errors import TrainingError
from bevlite.run_folder import FLOAT, Run, Stage
from bevlite.variant import Variant


def save_weights(
    run: Run, weights: dict[str, Tensor], variant: Variant, meta: dict[str, Any], stage: Stage = FLOAT
) -> None:
    """Write the weights of a stage and their JSON; refuses weights that are not finite (TrainingError)."""
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise TrainingError(f"{name}: holds NaN or infinity; the last good checkpoint is kept in {run.checkpoints}")
    content = save({k: v.detach().cpu().contiguous() for k, v in weights.items()})
    run.save_stage(stage, content, variant, meta)


class SafetensorsIO(CheckpointIO):
    """Lightning's training state as one safetensors file: the tensors, and the rest as JSON in its metadata.

    One file, so that a kill at any moment leaves the old state or the new one, never half of each.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the state under a temporary name, then rename."""
        tensors: dict[str, Tensor] = {}
        tree = _flatten(checkpoint, tensors)
        write_atomic(Path(path), save(tensors, metadata={"state": json.dumps(tree)}))

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: Any = None) -> dict[str, Any]:
        """Read the state back (raises TrainingError when the file is damaged or is not one)."""
        file = Path(path)
        try:
            with safe_open(file, framework="pt") as content:
                tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
                state = _restore(json.loads((content.metadata() or {})["state"]), tensors)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise TrainingError(f"{file}: the training state cannot be read ({error})") from None
        if not isinstance(state, dict):
            raise TrainingError(f"{file}: the training state is not one of BEVLite's")
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for anything a training state holds; tensors go into `tensors` and leave their number."""
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, dict):
        return {"dict": [[_flatten(k, tensors), _flatten(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_flatten(v, tensors) for v in value]}
    if isinstance(value, list):
        return [_flatten(v, tensors) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a training state cannot hold {type(value).__name__}")


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(v, tensors) for v in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "tuple" in value:
            return tuple(_restore(v, tensors) for v in value["tuple"])
        return {_restore(k, tensors): _restore(v, tensors) for k, v in value["dict"]}
    return value
