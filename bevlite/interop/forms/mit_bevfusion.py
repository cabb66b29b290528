"""BEVFusion of mit-han-lab/bevfusion, and CUDA-BEVFusion's ResNet-50: detection and map segmentation, two networks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.forms.form import Form, Settings, merged, stream_of
from bevlite.interop.forms.geometry import Lift, lift_of
from bevlite.interop.frame import SourceFrame
from bevlite.interop.keymap import KeyMap, Move
from bevlite.interop.shared import numbered, resnet, secfpn, second, second_sizes, width
from bevlite.interop.swin import swin
from bevlite.interop.transfusion import transfusion, transfusion_settings
from bevlite.variant import Variant

CAMERA = "encoders.camera"
BACKBONE, NECK, VIEW = f"{CAMERA}.backbone", f"{CAMERA}.neck", f"{CAMERA}.vtransform"
OBJECT, MAP = "heads.object", "heads.map"
ENCODER = "fusion_heads.bev_encoder"
MIX = "fusion_heads.fusion.mix"
SPARSE = (
    "sparse convolutions of voxels, of which TensorRT has none: pillars take their place and are to be trained, best "
    "from the BEV maps of the original as well (a recipe's teacher)"
)
PILLARS = "pillars in place of the sparse encoder, to be trained"
HALVED = "the variant pools on its grid directly (camera.view_transform.halved)"


class MITBEVFusion(Form):
    """Camera stream, fuser, decoder and heads; never the sparse LiDAR encoder."""

    name = "mit-bevfusion"
    notes = (
        "it was trained in the LiDAR's frame: the grid follows the LiDAR, and the network sees the mirror image of the "
        "world (x and y exchanged), which its flipped training samples have shown to it",
        "the LiDAR stream is new, and the fuser has not seen it: it has to be trained before it is worth anything",
    )

    @classmethod
    def tells(cls, given: Mapping[str, Tensor]) -> bool:
        """Encoders by sensor and a fuser."""
        return any(k.startswith(f"{BACKBONE}.") for k in given) and "fuser.0.weight" in given

    @property
    def base(self) -> str:
        """By the camera backbone."""
        return "bevfusion-swint" if self._is_swin else "cuda-bevfusion-r50"

    @property
    def _is_swin(self) -> bool:
        return f"{BACKBONE}.patch_embed.projection.weight" in self.given

    @property
    def frame(self) -> SourceFrame:
        """The LiDAR's, with maps (x, y): exchanging the axes is already done. Boxes of mmdetection3d before 1.0."""
        return SourceFrame("lidar_xy", "wlh", self.lidar_m)

    @property
    def _lift(self) -> Lift:
        return lift_of(self.given, VIEW, halved=f"{VIEW}.downsample.0.weight" in self.given)

    def settings(self, base: Variant) -> Settings:
        """Grid, depth bins and images as in the file, widths, and the heads that it has."""
        stream_of(base, "camera")
        lidar = stream_of(base, "lidar")
        given, lift = self.given, self._lift
        sees_points = f"{VIEW}.dtransform.0.weight" in given
        last = "depthnet.6" if sees_points else "depthnet"
        channels = width(given, f"{VIEW}.{last}.weight") - lift.depths
        view: Settings = {"type": "depth_lss" if sees_points else "lss", "pooling": "columns", "channels": channels}
        view |= {"pixels": "border", "halved": f"{VIEW}.downsample.0.weight" in given}
        if sees_points:
            view["hidden"] = width(given, f"{VIEW}.depthnet.0.weight")
        decoder = second_sizes(given, "decoder.backbone")
        heads: Settings = {"detection": None, "map_segmentation": None}
        if f"{OBJECT}.shared_conv.weight" in given:
            heads["detection"] = transfusion_settings(given, OBJECT)
        if f"{MAP}.classifier.0.weight" in given:
            heads["map_segmentation"] = {"type": "bevfusion", "channels": width(given, f"{MAP}.classifier.0.weight")}
        cell_m = round(lift.cell_m * lidar.pillars.cell_m / base.bev.cell_m, 6)
        return merged(
            {
                "camera": {
                    "backbone": {"pad": "before"} if self._is_swin else {},
                    "neck": {"channels": width(given, f"{NECK}.lateral_convs.0.conv.weight")},
                    "view_transform": view,
                },
                "lidar": {"pillars": {"cell_m": cell_m}},
                "fusion": {"channels": width(given, "fuser.0.weight")},
                "bev_encoder": {**decoder, "out_channels": width(given, "decoder.neck.deblocks.0.1.weight")},
                "heads": heads,
            },
            lift.settings(self.lidar_m),
        )

    def plan(self, plan: KeyMap, variant: Variant) -> None:
        """Part by part."""
        assert variant.camera is not None
        expected = "swin" if self._is_swin else "resnet"
        if variant.camera.backbone.type != expected:
            raise BevliteError(
                f"camera.backbone: found {variant.camera.backbone.type}, but the checkpoint has a {expected}; "
                f"accepted: the variant {self.base}, or one like it"
            )
        if self._is_swin and self.colours == "bgr":
            raise BevliteError("--colours: found bgr with a Swin; accepted: rgb, as its published weights were trained")
        if self._is_swin:
            swin(plan, BACKBONE, "camera.backbone")
        else:
            resnet(plan, BACKBONE, "camera.backbone.body", swapped_colours=self.colours == "bgr")
        merges = numbered(plan.ours, "camera.neck.blocks.#.0.0.weight")
        for i in range(merges):  # ours begins with the coarsest
            for place, name in enumerate(("lateral_convs", "fpn_convs")):
                source = f"{NECK}.{name}.{merges - 1 - i}"
                plan.conv_norm(f"{source}.conv", f"{source}.bn", f"camera.neck.blocks.{i}.{place}")
        self._view(plan)
        self._fuser(plan, variant)
        second(plan, "decoder.backbone", f"{ENCODER}.backbone", self.frame)
        secfpn(plan, "decoder.neck", f"{ENCODER}.neck", self.frame)
        if f"{OBJECT}.shared_conv.weight" in self.given and "detection" in variant.tasks:
            transfusion(plan, OBJECT, "fusion_heads.heads.detection", self.frame)
        if f"{MAP}.classifier.0.weight" in self.given and "map_segmentation" in variant.tasks:
            target = "fusion_heads.heads.map_segmentation"
            for i in range(2):
                norm = f"{MAP}.classifier.{3 * i + 1}"
                plan.conv_norm(f"{MAP}.classifier.{3 * i}", norm, f"{target}.convs.{i}", weight=self.frame.kernel)
            plan.layer(f"{MAP}.classifier.6", f"{target}.predict")
        for head, task in ((OBJECT, "detection"), (MAP, "map_segmentation")):
            if task not in variant.tasks:
                plan.leave(rf"{head}\.", f"the variant has no head for {task}")
        plan.leave(r"encoders\.lidar\.", SPARSE)
        plan.keep(r"lidar\.", PILLARS)

    def _view(self, plan: KeyMap) -> None:
        target = "view_transform.depth_net"
        if f"{VIEW}.dtransform.0.weight" in self.given:
            for i in range(3):
                source = f"{VIEW}.dtransform"
                plan.conv_norm(f"{source}.{3 * i}", f"{source}.{3 * i + 1}", f"view_transform.depth_stem.{i}")
            for i in range(2):
                plan.conv_norm(f"{VIEW}.depthnet.{3 * i}", f"{VIEW}.depthnet.{3 * i + 1}", f"{target}.{i}")
            plan.layer(f"{VIEW}.depthnet.6", f"{target}.2")
        else:
            plan.layer(f"{VIEW}.depthnet", target)
        plan.leave(r"encoders\.camera\.vtransform\.(dx|bx|nx|frustum)$", "geometry, which is computed from the variant")
        if "view_transform.halving.0.0.weight" in plan.ours:
            for i in range(3):
                conv, norm = (f"{VIEW}.downsample.{3 * i + place}" for place in range(2))
                plan.conv_norm(conv, norm, f"view_transform.halving.{i}", weight=self.frame.kernel)
        plan.leave(r"encoders\.camera\.vtransform\.downsample\.", HALVED)

    def _fuser(self, plan: KeyMap, variant: Variant) -> None:
        """Whole where our LiDAR map has as many channels as theirs; the camera's share otherwise."""
        assert variant.camera is not None
        camera = int(variant.camera.view_transform.channels)
        theirs, ours = width(self.given, "fuser.0.weight", axis=1), int(plan.ours[f"{MIX}.0.weight"].shape[1])
        plan.conv_norm("fuser.0", "fuser.1", MIX, weight=self.frame.kernel)
        if theirs == ours:
            return
        plan.replace(Move(f"{MIX}.0.weight", ("fuser.0.weight",), lambda w: self.frame.kernel(w[:, :camera]),
                          columns=(0, camera)))  # fmt: skip
        plan.leave(r"fuser\.0\.weight$", "the share of the sparse LiDAR map")
        plan.keep(
            r"fusion_heads\.fusion\.mix\.0\.weight$",
            f"the share of the LiDAR map, which has {ours - camera} channels here and {theirs - camera} there",
        )
