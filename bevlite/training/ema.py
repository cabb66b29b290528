"""Exponential moving average of the weights: what is evaluated and exported."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class _Pairs(NamedTuple):
    """Tensors of the average beside those of the network: floating point, then whole numbers."""

    averages: list[Tensor]
    values: list[Tensor]
    counters: list[Tensor]
    counted: list[Tensor]


class WeightAverage(nn.Module):
    """Average of a network's floating-point parameters and buffers; its state is part of a checkpoint.

    The decay grows with the number of updates as (1 + n) / (10 + n) up to `decay`, so that short runs forget their
    random start (TensorFlow's ExponentialMovingAverage).
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._names = {}
        for i, (name, value) in enumerate(network.state_dict().items()):
            self._names[name] = f"average_{i}"
            self.register_buffer(f"average_{i}", value.detach().clone())
        # Looked up once, not in every step: the number of updates (which lies on the GPU), and the tensors in pairs.
        self._count: int | None = None
        self._pairs: _Pairs | None = None
        self.register_load_state_dict_post_hook(lambda module, keys: self._forget())

    def _apply(self, fn: Any, recurse: bool = True) -> WeightAverage:
        """Buffers are replaced when a module is moved."""
        self._forget()
        super()._apply(fn, recurse)
        return self

    def _forget(self) -> None:
        self._count = self._pairs = None

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights; always those of the same network, in the same memory."""
        if self._count is None or self._pairs is None:
            self._count, self._pairs = int(self.updates), self._paired(network)
        self.updates += 1
        self._count += 1
        decay = min(self.decay, (1 + self._count) / (10 + self._count))
        pairs = self._pairs
        torch._foreach_lerp_(pairs.averages, pairs.values, 1 - decay)
        if pairs.counters:
            torch._foreach_copy_(pairs.counters, pairs.counted)

    def _paired(self, network: nn.Module) -> _Pairs:
        pairs = _Pairs([], [], [], [])
        for name, value in network.state_dict().items():
            average = getattr(self, self._names[name])
            mine, theirs = (
                (pairs.averages, pairs.values) if average.is_floating_point() else (pairs.counters, pairs.counted)
            )
            mine.append(average)
            theirs.append(value)
        return pairs

    def weights(self) -> dict[str, Tensor]:
        """The average by the network's own names."""
        return {name: getattr(self, buffer) for name, buffer in self._names.items()}
