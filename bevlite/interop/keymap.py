"""Which tensor of a checkpoint goes where in our network: written layer by layer, checked against both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

Make = Callable[..., Tensor]
Part = tuple[int, int]
"""From where to where along an axis."""
COUNTER = "num_batches_tracked"
"""How many batches a batch norm has seen: old files lack it, and nothing depends on it here."""


def as_it_is(value: Tensor) -> Tensor:
    """The same."""
    return value


@dataclass(frozen=True)
class Move:
    """A tensor of ours, or a part of it, made from tensors of the checkpoint.

    rows, columns: the part of our tensor along its first and its second axis; all of it by default.
    """

    target: str
    sources: tuple[str, ...]
    make: Make = as_it_is
    rows: Part | None = None
    columns: Part | None = None

    def region(self, value: Tensor) -> Tensor:
        """The part of our tensor that it fills."""
        if self.rows is not None:
            value = value[slice(*self.rows)]
        return value[:, slice(*self.columns)] if self.columns is not None else value


@dataclass(frozen=True)
class Because:
    """Names that a pattern matches from the start on, and why they stay where they are."""

    pattern: str
    reason: str

    def matches(self, name: str) -> bool:
        """Whether it speaks of a name."""
        return re.match(self.pattern, name) is not None


@dataclass
class KeyMap:
    """The plan of an import.

    given: tensors of the checkpoint by name; ours: those of our network (shapes alone will do).
    left: names of the checkpoint that are not taken. kept: names of ours that keep what they start with.
    """

    given: Mapping[str, Tensor]
    ours: Mapping[str, Tensor]
    moves: list[Move] = field(default_factory=list)
    left: list[Because] = field(default_factory=list)
    kept: list[Because] = field(default_factory=list)

    def layer(
        self, source: str, target: str, *, weight: Make = as_it_is, bias: Make = as_it_is,
        rows: Part | None = None, columns: Part | None = None,
    ) -> None:  # fmt: skip
        """All tensors of a layer, by the names that ours has.

        Args:
            source, target: names of the layers.
            weight: makes our weight of theirs; bias: likewise.
            rows: the output channels of ours that theirs are; columns: the input channels, of the weight alone.
        """
        for name in self._tensors_of(target):
            make = {"weight": weight, "bias": bias}.get(name, as_it_is)
            of_weight = columns if name == "weight" else None
            whole = name == COUNTER
            self.moves.append(Move(f"{target}.{name}", (f"{source}.{name}",), make, None if whole else rows, of_weight))

    def conv_norm(
        self, conv: str, norm: str, target: str, *, weight: Make = as_it_is, rows: Part | None = None,
        columns: Part | None = None,
    ) -> None:  # fmt: skip
        """A convolution and its batch norm, to a sequence of ours that begins with both.

        Ours has no bias before a batch norm: one of theirs is taken off the running mean, which is the same.
        """
        self.layer(conv, f"{target}.0", weight=weight, rows=rows, columns=columns)
        self.layer(norm, f"{target}.1", rows=rows)
        if f"{conv}.bias" in self.given and f"{target}.0.bias" not in self.ours:
            self.replace(Move(f"{target}.1.running_mean", (f"{norm}.running_mean", f"{conv}.bias"), _less, rows))

    def replace(self, move: Move) -> None:
        """A move in place of the one for the same part of the same tensor."""
        self.moves = [m for m in self.moves if (m.target, m.rows) != (move.target, move.rows)] + [move]

    def leave(self, pattern: str, reason: str) -> None:
        """Names of the checkpoint that are not taken."""
        self.left.append(Because(pattern, reason))

    def keep(self, pattern: str, reason: str) -> None:
        """Names of ours that keep what they start with."""
        self.kept.append(Because(pattern, reason))

    def _tensors_of(self, layer: str) -> list[str]:
        """Names of the tensors of a layer of ours."""
        return [name[len(layer) + 1 :] for name in self.ours if name.rpartition(".")[0] == layer]


def _less(value: Tensor, bias: Tensor) -> Tensor:
    return value - bias
