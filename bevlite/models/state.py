"""What a network remembers from frame to frame, in torch: zeros where a frame has no past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bevlite.models.contracts import TensorSpec


class Memory:
    """States of a batch of sequences, carried from one step to the next."""

    def __init__(self, states: Sequence[TensorSpec]) -> None:
        self._states = tuple(states)
        self._kept: dict[str, Tensor] = {}

    def inputs(self, first: Tensor, device: torch.device | str) -> dict[str, Tensor]:
        """The state inputs (B, ...) of a step; `first` (B,) bool says which sequences begin with it.

        Raises:
            ValueError: a sequence goes on that was never begun.
        """
        begins = first.to(device)
        values = {}
        for spec in self._states:
            kept = self._kept.get(spec.name)
            shape = (len(first), *spec.shape[1:])
            if kept is None or kept.shape != shape:
                if not bool(first.all()):
                    raise ValueError(f"state {spec.name}: a sequence goes on that was not begun; samples must come "
                                     "scene by scene")  # fmt: skip
                kept = torch.zeros(shape, dtype=getattr(torch, spec.dtype), device=device)
            mask = begins.view(-1, *[1] * (len(shape) - 1))
            values[spec.name] = torch.where(mask, torch.zeros_like(kept), kept)
        return values

    def keep(self, outputs: Mapping[str, Tensor]) -> None:
        """Remember what the next step takes; no gradient goes back through time."""
        self._kept = {spec.name: outputs[spec.fed_by].detach() for spec in self._states}
