"""What the forms of lift-splat share: a depth distribution and a context for every feature pixel, and the depth loss.

Lift, splat, shoot (Philion and Fidler, ECCV 2020); depth taught by LiDAR (BEVDepth, Li et al., AAAI 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.data.frame import Reader
from bevlite.data.truth import DepthTruth
from bevlite.grid import BEVGrid
from bevlite.losses.terms import depth_loss
from bevlite.models.auxiliary import AuxiliaryLoss, hand_out
from bevlite.models.contracts import TensorSpec, ViewTransform, ViewTransformConfig
from bevlite.models.view_transforms.geometry import cell_grid, check_heights
from bevlite.runtime.pooling import Frustum


class LiftConfig(ViewTransformConfig):
    """A form of lift-splat. Depth bins are centred at depth_range_m[0] + (k + 0.5) * depth_step_m."""

    auxiliary: ClassVar[Mapping[str, float]] = {"depth": 0.5}
    channels: int = Field(default=64, gt=0)
    depth_range_m: tuple[float, float] = (1.0, 60.0)
    depth_step_m: float = Field(default=1.0, gt=0)
    z_range_m: tuple[float, float] = (-5.0, 5.0)

    @model_validator(mode="after")
    def _ranges(self) -> LiftConfig:
        low, high = self.depth_range_m
        if not 0 < low < high:
            raise ValueError(f"found depth_range_m [{low}, {high}]; accepted: 0 < near < far")
        check_heights(self.z_range_m)
        return self

    @property
    def depths_m(self) -> tuple[float, ...]:
        """Centres of the depth bins in m."""
        low, high = self.depth_range_m
        count = max(1, round((high - low) / self.depth_step_m))
        return tuple(low + (k + 0.5) * self.depth_step_m for k in range(count))


class DepthSupervision(AuxiliaryLoss):
    """LiDAR depth for the depth distribution (BEVDepth): logits (B*N, D, h, w)."""

    name = "depth"

    def __init__(self, depths_m: tuple[float, ...], stride: int) -> None:
        self._depths_m, self._stride = depths_m, stride

    @property
    def truth(self) -> Reader:
        """The nearest return in the patch of every feature pixel."""
        return DepthTruth(self._stride)

    def __call__(self, result: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Cross entropy where a point falls."""
        return depth_loss(result, batch["depth"], self._depths_m)


class Lift(ViewTransform):
    """Features (B*N, C_in, h, w) lifted to a depth distribution and a context; a form of it lays them on the grid."""

    def __init__(
        self,
        config: LiftConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__()
        self.cameras, self.depths = cameras, len(config.depths_m)
        self.frustum = Frustum(config.depths_m, image_size[0] // stride, image_size[1] // stride, stride)
        self.grid = cell_grid(bev, config.z_range_m)
        self.auxiliaries = (DepthSupervision(config.depths_m, stride),)
        self.depth_net: nn.Module = nn.Conv2d(in_channels, self.depths + config.channels, 1)

    @property
    def context_channels(self) -> int:
        """Channels of the context."""
        return int(self.depth_net.out_channels) - self.depths  # type: ignore[arg-type]

    @property
    def out_channels(self) -> int:
        """Those of the context."""
        return self.context_channels

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """Depth distribution and context of every feature pixel."""
        area = (self.frustum.height, self.frustum.width)
        return (
            TensorSpec(
                "depth", (self.cameras, self.depths, *area), "float32", ("camera", "depth", "y", "x"), "prepared"
            ),
            TensorSpec(
                "context", (self.cameras, self.context_channels, *area), "float32", ("camera", "channel", "y", "x"),
                "prepared",
            ),
        )  # fmt: skip

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """Depth distribution (B*N, D, h, w) and context (B*N, C, h, w)."""
        return self.lifted(features)

    def lifted(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The same, whatever it is made from."""
        depth, context = self.depth_net(features).split([self.depths, self.context_channels], dim=1)
        hand_out("depth", depth)
        return depth.softmax(dim=1), context

    def transform(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As exported, for a batch of one."""
        return self.pooled(*(inputs[spec.name] for spec in (*self.prepared, *self.host.inputs)))

    def pooled(self, *tensors: Tensor) -> Tensor:
        """The BEV map (1, C, ny, nx) from `prepared` and the host's inputs, in their order."""
        raise TypeError(f"{type(self).__name__} has no pooled()")
