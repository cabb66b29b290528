"""CenterPoint on pillars in mmdetection3d's form (centerpoint_pillar02_second_secfpn), before 1.0 and after."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.forms.form import Form, Settings, stream_of
from bevlite.interop.frame import SourceFrame, moved
from bevlite.interop.keymap import KeyMap
from bevlite.interop.shared import center_head, center_head_settings, secfpn, second, second_sizes, width
from bevlite.variant import Variant

LINEAR = "pts_voxel_encoder.pfn_layers.0.linear.weight"
NORM = "pts_voxel_encoder.pfn_layers.0.norm"
HEAD = "pts_bbox_head"
COLUMNS = {
    10: (1, 0, 2, 3, 4, 9, 8, 6, 5, 7),
    11: (1, 0, 2, 3, 4, 9, 8, 10, 6, 5, 7),
}
"""Which of their numbers each of ours is. Theirs: x, y, z, intensity, lag, then x, y, z from the mean, then x, y (z)
from the centre; ours: the centre before the mean. x and y are exchanged (`frame`)."""
INTENSITY, LARGEST_INTENSITY = 3, 255.0
"""Theirs runs from 0 to 255, ours from 0 to 1."""


class CenterPoint(Form):
    """PFN, SECOND, SECFPN and CenterHead."""

    name = "mmdet3d-centerpoint"
    notes = (
        "it was trained in the LiDAR's frame: the grid follows the LiDAR, and the network sees the mirror image of the "
        "world (x and y exchanged), which its flipped training samples have shown to it",
        "boxes go through circle NMS here; mmdetection3d has rotated NMS too",
    )

    @classmethod
    def tells(cls, given: Mapping[str, Tensor]) -> bool:
        """Pillars and CenterPoint's head."""
        return LINEAR in given and f"{HEAD}.shared_conv.conv.weight" in given

    @property
    def base(self) -> str:
        """The only one."""
        return "pointpillars-centerpoint"

    @property
    def numbers(self) -> int:
        """How many numbers a point has: ten before mmdetection3d 1.0, eleven from then on (raises BevliteError)."""
        found = width(self.given, LINEAR, axis=1)
        if found not in COLUMNS:
            raise BevliteError(
                f"{LINEAR}: found {found} numbers a point; accepted: 10 or 11 (five of the point, then from the mean "
                "and from the centre)"
            )
        return found

    @property
    def frame(self) -> SourceFrame:
        """The LiDAR's; boxes changed with 1.0, as the numbers of a point did."""
        return SourceFrame("lidar_yx", "wlh" if self.numbers == 10 else "lwh", self.lidar_m)

    def settings(self, base: Variant) -> Settings:
        """Widths, and the grid and the heights around the LiDAR."""
        lidar = stream_of(base, "lidar")
        ahead, left, up = self.lidar_m
        sizes = second_sizes(self.given, "pts_backbone")
        return {
            "bev": {"x_range_m": moved(base.bev.x_range_m, ahead), "y_range_m": moved(base.bev.y_range_m, left)},
            "lidar": {
                "pillars": {
                    "channels": width(self.given, LINEAR),
                    "coordinates": "offsets" if self.numbers == 10 else "offsets_3d",
                    "z_range_m": moved(lidar.pillars.z_range_m, up),
                    "origin_m": list(self.lidar_m),
                },
                "backbone": {**sizes, "strides": [2] * len(sizes["channels"])},
                "neck": {"channels": width(self.given, "pts_neck.deblocks.0.1.weight")},
            },
            "heads": {"detection": center_head_settings(self.given, HEAD)},
        }

    def plan(self, plan: KeyMap, variant: Variant) -> None:
        """Part by part."""
        plan.layer(LINEAR.removesuffix(".weight"), "lidar.pillars.conv", weight=self._numbers)
        plan.layer(NORM, "lidar.pillars.norm")
        second(plan, "pts_backbone", "lidar.backbone", self.frame)
        secfpn(plan, "pts_neck", "lidar.neck", self.frame)
        center_head(plan, HEAD, "fusion_heads.heads.detection", self.frame)

    def _numbers(self, weight: Tensor) -> Tensor:
        """(C, numbers) to a 1x1 convolution over our numbers."""
        ours = weight[:, list(COLUMNS[self.numbers])].clone()
        ours[:, INTENSITY] *= LARGEST_INTENSITY
        return ours[:, :, None, None]
