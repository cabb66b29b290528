"""The frame before, aligned and joined (BEVDet4D, Huang and Huang, arXiv 2203.17054), around any view transform.

The map of the frame before is kept as a state, moved by the car's motion, and joined to this frame's by a convolution.
What is kept is the map before it was joined: two frames, no recurrence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.kernels.step import Floats, Step
from bevlite.models.contracts import EgoMotion, Host, TensorSpec, ViewTransform
from bevlite.models.layers import conv_bn_relu

PAST, NEXT = "past_camera_bev", "next_camera_bev"


class MotionHost(Host):
    """What the inner transform takes, the car's motion, and the map of the frame before."""

    def __init__(self, inner: Host, shape: tuple[int, ...]) -> None:
        self.inner, self.motion = inner, EgoMotion()
        self.needs = inner.needs | self.motion.needs
        self.ragged = inner.ragged
        self._state = TensorSpec(PAST, shape, "float32", ("batch", "channel", "y", "x"), "state", fed_by=NEXT)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """Those of the inner transform, then motion and past."""
        return (*self.inner.inputs, *self.motion.inputs, self._state)

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """Both."""
        return {**self.inner.sample(frame), **self.motion.sample(frame)}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Both (raises ValueError, as the inner host)."""
        return {**self.inner.deployed(sample), **self.motion.deployed(sample)}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """Those of the inner host: the motion is a small matrix."""
        return self.inner.board_steps(points, sweeps, floats)

    def on_board(self) -> list[dict[str, Any]]:
        """Both."""
        return [*self.inner.on_board(), *self.motion.on_board()]


class Aligned(ViewTransform):
    """A view transform with the frame before: maps (B, C, ny, nx), the past one moved to this frame and joined.

    Args:
        inner: a view transform without a past of its own.
        bev: its grid.
    """

    def __init__(self, inner: ViewTransform, bev: BEVGrid) -> None:
        super().__init__()
        self.inner = inner
        self.mix = conv_bn_relu(2 * inner.out_channels, inner.out_channels)
        self.warp = Warp(bev)
        self.host = MotionHost(inner.host, (1, inner.out_channels, bev.ny, bev.nx))

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return int(self.mix[0].out_channels)  # type: ignore[arg-type]

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """As the inner transform."""
        return self.inner.prepared

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """As the inner transform."""
        return self.inner.prepare(features)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The joined map, and what the next frame takes."""
        return self.joined(_map(self.inner(features, inputs)), inputs)

    def transform(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As exported, for a batch of one."""
        return self.joined(_map(self.inner.transform(inputs)), inputs)

    def joined(self, now: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """This frame's map with the past one."""
        past = self.warp(inputs[PAST].to(now.dtype), inputs["ego_motion"])
        return self.mix(torch.cat([now, past], dim=1)), {NEXT: now}


class Warp(nn.Module):
    """A BEV map of the frame before, as it would lie in this one: bilinear, zero where it did not reach."""

    cells: Tensor
    middle: Tensor
    reach: Tensor

    def __init__(self, bev: BEVGrid) -> None:
        super().__init__()
        x = bev.x_range_m[0] + (torch.arange(bev.nx, dtype=torch.float64) + 0.5) * bev.cell_m
        y = bev.y_range_m[0] + (torch.arange(bev.ny, dtype=torch.float64) + 0.5) * bev.cell_m
        centres = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1).float()
        self.register_buffer("cells", centres[None], persistent=False)
        low = torch.tensor([bev.x_range_m[0], bev.y_range_m[0]])
        high = torch.tensor([bev.x_range_m[1], bev.y_range_m[1]])
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("reach", (high - low) / 2, persistent=False)

    def forward(self, past: Tensor, motion: Tensor) -> Tensor:
        """Past map (B, C, ny, nx) and motion (B, 4, 4), frame before to this one, to the map (B, C, ny, nx).

        In the precision of the motion: in bfloat16 cells of a 102.4 m grid would lie up to 0.5 m off.
        """
        places = self.places(motion)
        moved = F.grid_sample(past.to(places.dtype), places, mode="bilinear", padding_mode="zeros", align_corners=False)
        return moved.to(past.dtype)

    def places(self, motion: Tensor) -> Tensor:
        """Where each cell of this frame lay in the frame before, (B, ny, nx, 2) within -1..1.

        The motion is a turn and a shift: its inverse is the transposed turn of what is shifted back.
        """
        device = motion.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):  # which would have the product below in 8 bits
                return self._places(motion)
        return self._places(motion)

    def _places(self, motion: Tensor) -> Tensor:
        cells = self.cells.to(motion.dtype)
        shifted = cells - motion[:, None, None, :2, 3]
        before = shifted @ motion[:, None, :2, :2]
        return (before - self.middle.to(motion.dtype)) / self.reach.to(motion.dtype)


def _map(result: object) -> Tensor:
    """The map of a transform that has no past (raises TypeError for one that has)."""
    if not isinstance(result, Tensor):
        raise TypeError("temporal: found a view transform with a past of its own; accepted: one without")
    return result
