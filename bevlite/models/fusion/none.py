"""No fusion: the map of the only stream as it is, for networks of one sensor (BEVDet, PointPillars)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from bevlite.models.contracts import FusionConfig
from bevlite.registry import FUSIONS


@FUSIONS.register
class NoFusionConfig(FusionConfig):
    """The map of the only stream as it is."""

    type: Literal["none"] = "none"

    def check(self, streams: int) -> None:
        """Raise a ValueError when there are two maps."""
        super().check(streams)
        if streams > 1:
            others = ", ".join(name for name in FUSIONS.members if name != self.type)
            raise ValueError(f"fusion.type: found none in a network of {streams} sensors; accepted: {others}")

    def out_channels(self, in_channels: Sequence[int]) -> int:
        """Those of the map."""
        return in_channels[0]

    def build(self, in_channels: Sequence[int]) -> NoFusion:
        """The network part."""
        return NoFusion()


class NoFusion(nn.Module):
    """A list of one map (B, C, ny, nx) to that map."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map."""
        (only,) = maps
        return only
