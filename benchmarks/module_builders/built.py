"""What a builder gives, and the pieces that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Built = tuple[nn.Module, tuple[Tensor, ...]]
"""A module in eval mode and its example inputs on the CPU: float32, uint8 or int32."""


class Function(nn.Module):
    """A function of tensors as a module without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        """Whatever the function gives."""
        return self.function(*inputs)
