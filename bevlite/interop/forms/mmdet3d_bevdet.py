"""BEVDet with a ResNet in mmdetection3d's form: HuangJunJie2017/BEVDet from 2.0 on, and its first version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.forms.form import Colours, Form, Settings, depth_settings, merged, stream_of
from bevlite.interop.forms.geometry import lift_of
from bevlite.interop.frame import SourceFrame
from bevlite.interop.keymap import KeyMap
from bevlite.interop.shared import center_head, center_head_settings, numbered, resnet, width
from bevlite.variant import Variant

VIEW = "img_view_transformer"
ENCODER, NECK, HEAD = "img_bev_encoder_backbone", "img_bev_encoder_neck", "pts_bbox_head"
FIRST, LATER = f"{VIEW}.depthnet", f"{VIEW}.depth_net"
"""Name of the depth net in the first version, and from 2.0 on."""


class BEVDet(Form):
    """ResNet, FPN, LSS, a BEV encoder of residual blocks with FPN_LSS, and CenterHead."""

    name = "mmdet3d-bevdet"
    notes = ("boxes go through circle NMS here, in BEVDet through scale NMS",)

    @classmethod
    def tells(cls, given: Mapping[str, Tensor]) -> bool:
        """A depth net of one layer, and an encoder of BEV maps."""
        depth = f"{FIRST}.weight" in given or f"{LATER}.weight" in given
        return depth and any(key.startswith(f"{ENCODER}.layers.0.") for key in given)

    @property
    def base(self) -> str:
        """The only one."""
        return "bevdet-r50"

    @property
    def is_first(self) -> bool:
        """Whether it is of the first version, which works in the LiDAR's frame."""
        return f"{FIRST}.weight" in self.given

    @property
    def frame(self) -> SourceFrame:
        """The ego frame from 2.0 on."""
        return SourceFrame("lidar_yx", "wlh", self.lidar_m) if self.is_first else SourceFrame("ego", "lwh", (0, 0, 0))

    @property
    def colours(self) -> Colours:
        """The first version saw RGB. Later ones read RGB and change it to BGR, unless `opencv_pp` is set."""
        return self._colours or ("rgb" if self.is_first else "bgr")

    def settings(self, base: Variant) -> Settings:
        """Widths; the grid where the file has it, and depth bins where theirs are."""
        given, view = self.given, stream_of(base, "camera").view_transform
        if self.is_first:
            lift = lift_of(given, VIEW, halved=False)
            geometry, depths = lift.settings(self.lidar_m), lift.depths
        else:
            depths = len(view.depths_m)
            moved = depth_settings(view.depth_range_m, view.depth_step_m)
            geometry = {"camera": {"view_transform": moved}}
        last = FIRST if self.is_first else LATER
        stages = range(numbered(given, f"{ENCODER}.layers.#.0.conv1.weight"))
        channels = width(given, f"{last}.weight") - depths
        sizes: Settings = {
            "camera": {
                "neck": {"channels": width(given, "img_neck.lateral_convs.0.conv.weight")},
                "view_transform": {"channels": channels, "pixels": "border"},
            },
            "bev_encoder": {
                "channels": [width(given, f"{ENCODER}.layers.{i}.0.conv1.weight") for i in stages],
                "blocks": [numbered(given, f"{ENCODER}.layers.{i}.#.conv1.weight") for i in stages],
                "out_channels": width(given, f"{NECK}.up2.4.weight"),
                "align_corners": True,
            },
            "heads": {"detection": center_head_settings(given, HEAD)},
        }
        if channels < 1:
            raise BevliteError(
                f"{last}.weight: found {width(given, f'{last}.weight')} channels; accepted: more than the {depths} "
                "depth bins of the variant"
            )
        return merged(geometry, sizes)

    def plan(self, plan: KeyMap, variant: Variant) -> None:
        """Part by part."""
        turn = self.frame.kernel
        resnet(plan, "img_backbone", "camera.backbone.body", swapped_colours=self.colours == "bgr")
        for i in range(numbered(plan.ours, "camera.neck.laterals.#.weight")):
            plan.layer(f"img_neck.lateral_convs.{i}.conv", f"camera.neck.laterals.{i}")
        plan.layer("img_neck.fpn_convs.0.conv", "camera.neck.out")
        plan.layer(FIRST if self.is_first else LATER, "view_transform.depth_net")
        encoder = "fusion_heads.bev_encoder"
        for i in range(numbered(plan.ours, f"{encoder}.stages.#.0.first.0.weight")):
            for j in range(numbered(plan.ours, f"{encoder}.stages.{i}.#.first.0.weight")):
                there, here = f"{ENCODER}.layers.{i}.{j}", f"{encoder}.stages.{i}.{j}"
                plan.conv_norm(f"{there}.conv1", f"{there}.bn1", f"{here}.first", weight=turn)
                plan.conv_norm(f"{there}.conv2", f"{there}.bn2", f"{here}.second", weight=turn)
                plan.layer(f"{there}.downsample", f"{here}.shortcut", weight=turn)
        for theirs, ours in (("conv.0", "join.0"), ("conv.3", "join.1"), ("up2.1", "out.0")):
            name, number = theirs.split(".")
            norm = f"{NECK}.{name}.{int(number) + 1}"
            plan.conv_norm(f"{NECK}.{theirs}", norm, f"{encoder}.{ours}", weight=turn)
        plan.layer(f"{NECK}.up2.4", f"{encoder}.out.1", weight=turn)
        center_head(plan, HEAD, "fusion_heads.heads.detection", self.frame)
        plan.leave(rf"{re.escape(VIEW)}\.(dx|bx|nx|frustum)$", "geometry, which is computed from the variant")
        plan.leave(r"ema_", "a second set of weights (EMAHook of mmcv)")
