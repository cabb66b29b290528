"""Exponential moving average of the weights: what is evaluated and exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        self.updates += 1
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        averages, values = [], []
        for name, value in network.state_dict().items():
            average = getattr(self, self._names[name])
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """The average by the network's own names."""
        return {name: getattr(self, buffer) for name, buffer in self._names.items()}
