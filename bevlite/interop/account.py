"""What became of every tensor of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bevlite.interop.keymap import KeyMap

NOT_LEARNT = (
    ".running_mean", ".running_var", ".num_batches_tracked", ".relative_position_index", ".dx", ".bx", ".nx",
    ".frustum",
)  # fmt: skip
"""Ends of names of tensors that are no parameters, though some are kept as such: figures count without them."""
NO_COUNTERPART = "nothing in the checkpoint corresponds to it"


@dataclass(frozen=True)
class Side:
    """One side of an import.

    total, used: parameters, and those that went over. reasons: names that did not, or not whole, each with why.
    """

    total: Mapping[str, int]
    used: Mapping[str, int]
    reasons: Mapping[str, str]

    @property
    def share(self) -> float:
        """Parameters that went over."""
        return sum(self.used.values()) / max(1, sum(self.total.values()))

    def by_module(self) -> dict[str, tuple[int, int]]:
        """Parameters and how many of them went over, by module."""
        found: dict[str, tuple[int, int]] = {}
        for name, count in self.total.items():
            all_, used = found.get(module_of(name), (0, 0))
            found[module_of(name)] = all_ + count, used + self.used.get(name, 0)
        return found

    def by_reason(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Tensors and parameters that did not go over, by module and reason."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for name, reason in self.reasons.items():
            place = module_of(name), reason
            tensors, count = found.get(place, (0, 0))
            found[place] = tensors + 1, count + self.total.get(name, 0) - self.used.get(name, 0)
        return found


@dataclass(frozen=True)
class Account:
    """Both sides, and for each tensor of ours that was filled where it came from."""

    ours: Side
    theirs: Side
    sources: Mapping[str, Sequence[str]]

    def content(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "taken": {name: list(sources) for name, sources in sorted(self.sources.items())},
            "left in the checkpoint": dict(self.theirs.reasons),
            "at their start": dict(self.ours.reasons),
            "share of the checkpoint taken": round(self.theirs.share, 6),
            "share of the network filled": round(self.ours.share, 6),
        }


DEPTH = {"encoders": 3, "fusion_heads": 2, "camera": 2, "lidar": 2, "decoder": 2, "heads": 2}
"""How many names a module has, by the first of them; the others have one."""


def module_of(name: str) -> str:
    """The module of a tensor: a part of a network of ours (`camera.neck`), or what is one in another code base."""
    parts = name.split(".")[:-1]
    depth = DEPTH.get(parts[0], 1) if parts else 1
    return ".".join(parts[: depth + (parts[:2] == ["fusion_heads", "heads"])]) or name


def parameters(values: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers each tensor has that is learnt."""
    return {
        name: value.numel()
        for name, value in values.items()
        if value.is_floating_point() and not name.endswith(NOT_LEARNT)
    }


def reasons_for(names: Sequence[str], given: KeyMap, side: str) -> tuple[dict[str, str], list[str]]:
    """Why each name was left (`theirs`) or kept (`ours`), and the names for which the map gives no reason."""
    because = given.left if side == "theirs" else given.kept
    found: dict[str, str] = {}
    unknown: list[str] = []
    for name in names:
        reason = next((one.reason for one in because if one.matches(name)), None)
        if reason is None:
            unknown.append(name)
        else:
            found[name] = reason
    return found, unknown
