"""What each kind of part takes and gives. A part that keeps its contract fits every network.

Shape letters: B batch, N cameras, C channels, H rows, W columns, P pillars, M points a pillar.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from bevlite.config import Config
from bevlite.data.frame import Frame, Reader
from bevlite.errors import BevliteError
from bevlite.grid import BEVGrid
from bevlite.kernels.step import Floats, Step
from bevlite.models.auxiliary import AuxiliaryLoss

Source = Literal["images", "features", "prepared", "calibration", "points", "ego motion", "state"]
"""Where a tensor at the border of a module comes from. `features` are made by the module before it."""
DType = Literal["float32", "int32", "uint8"]
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)
"""What images are normalised with before they reach a backbone: ImageNet's mean and deviation, RGB of 0 to 255."""
PrecisionOf = Callable[[str], str]
"""From the path of a layer inside a part (empty for the part) to what it is to compute in: fp32, fp16, int8."""
Result = Tensor | tuple[Tensor, Mapping[str, Tensor]]
"""What a part with a past gives: its map, and by name what the next frame takes."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the border of a module, as deployed: a batch of one.

    fed_by: for a `state`, the output of the frame before that it takes; zeros where there is no frame before.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    axes: tuple[str, ...]
    source: Source
    fed_by: str = ""

    def __post_init__(self) -> None:
        if len(self.axes) != len(self.shape):
            raise ValueError(f"{self.name}: found {len(self.axes)} axes for shape {self.shape}; accepted: one each")
        if (self.source == "state") != bool(self.fed_by):
            raise ValueError(f"{self.name}: found source '{self.source}' with fed_by '{self.fed_by}'; accepted: "
                             "fed_by for a state, and only there")  # fmt: skip


class Host(Reader):
    """What a part takes from the host, in two steps: from a frame to what a batch holds (`sample`), used as it is in
    training, and from there to what the exported module takes (`deployed`). Numpy alone; the base takes nothing.
    """

    inputs: tuple[TensorSpec, ...] = ()
    """Inputs of the exported module, in order; each comes from `deployed`, or is a state."""

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs that are no state, by name (raises ValueError when a calibration cannot be held)."""
        return {s.name: sample[s.name][None].astype(s.dtype) for s in self.inputs if s.source != "state"}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The same as kernels on a board: from a calibration, and from raw points, of which there is room for so many.

        What has no kernels is left out: `sample` and `deployed` make it. `floats` is what the engine takes.
        """
        return ()

    def on_board(self) -> list[dict[str, Any]]:
        """How a board makes these inputs, as plain data: steps of `bevlite.board.inputs` with their settings.

        Raises:
            BevliteError: the part does not say how.
        """
        wanted = [spec.name for spec in self.inputs if spec.source != "state"]
        if wanted:
            raise BevliteError(
                f"{type(self).__name__}: does not say how '{wanted[0]}' is made on a board; accepted: a part whose "
                "host gives `on_board`"
            )
        return []


@dataclass(frozen=True)
class EgoMotion(Host):
    """`ego_motion` (1, 4, 4) float32: BEV frame of the frame before to this one's, in m."""

    inputs = (TensorSpec("ego_motion", (1, 4, 4), "float32", ("batch", "row", "column"), "ego motion"),)
    needs = frozenset({"past"})

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The motion, also in training."""
        assert frame.ego_motion is not None
        return {"ego_motion": frame.ego_motion.astype(np.float32)}

    def on_board(self) -> list[dict[str, Any]]:
        """As it is given."""
        return [{"step": "ego_motion"}]


NOTHING = Host()


class Part(nn.Module):
    """A part of a network. One that takes more than the map of the part before it says so in `host`: it is then called
    with all tensors by name as a second argument, and may give a `Result`.
    """

    host: Host = NOTHING
    auxiliaries: tuple[AuxiliaryLoss, ...] = ()


class PartConfig(Config):
    """A part. `auxiliary` names its auxiliary losses, with the weights that a recipe starts from."""

    type: str
    auxiliary: ClassVar[Mapping[str, float]] = {}
    added: ClassVar[Mapping[str, Any]] = {}
    """Keys that came later, with the values at which a network is the one that it was before."""


class FeatureInfo(NamedTuple):
    """Channels of a feature map, and how many input pixels (or cells) one step of it spans."""

    channels: int
    stride: int


class Backbone(nn.Module):
    """Normalised images `(B*N, 3, H, W)` to a list of maps `(B*N, C_i, H/s_i, W/s_i)`, finest first."""

    feature_info: list[FeatureInfo]


class BackboneConfig(PartConfig):
    """A camera backbone."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the maps that it hands out, finest first."""
        return (4, 8, 16, 32)

    def check(self, height: int, width: int) -> None:
        """Raise a ValueError when it cannot work on images of this size in px."""

    def build(self) -> Backbone:
        """The network part."""
        raise TypeError(f"{type(self).__name__} has no build()")


class Neck(nn.Module):
    """A list of maps `(B*N, C_i, H_i, W_i)` to one map `(B*N, channels, H/out_stride, W/out_stride)`."""


class NeckConfig(PartConfig):
    """A neck between camera backbone and view transform."""

    channels: int
    out_stride: int

    def check(self, strides: Sequence[int], height: int, width: int) -> None:
        """Raise a ValueError when it cannot work on maps of these strides (finest first) of images in px."""
        refuse_stride(self.out_stride, strides, "the strides of the backbone")

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        raise TypeError(f"{type(self).__name__} has no build()")


def refuse_stride(found: int, accepted: Sequence[int], of: str) -> None:
    """Raise a ValueError that names the accepted `out_stride`s of a neck, unless `found` is one of them."""
    if found not in accepted:
        names = ", ".join(map(str, accepted)) or "none"
        raise ValueError(f"camera.neck.out_stride: found {found}; accepted: {names} ({of})")


def nearest_sizes(size: tuple[int, int], divisor: int) -> str:
    """The nearest sizes below and above that a divisor divides, `64 x 96 or 128 x 96`."""
    below, above = ([max(1, rounded(n / divisor)) * divisor for n in size] for rounded in (math.floor, math.ceil))
    return " or ".join(dict.fromkeys(f"{a} x {b}" for a, b in (below, above)))


class ViewTransform(Part):
    """Image features and geometry to a camera BEV map `(B, C, ny, nx)`.

    `prepare` runs in the camera module, `transform` in the view transform module; geometry, points, ego motion and
    state enter `transform` as inputs, never as constants, so that one engine serves any calibration. `forward` is the
    road of training and evaluation, which may use other means to the same end.
    """

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """What crosses the border between the two modules, in the order of `prepare`."""
        raise TypeError(f"{type(self).__name__} has no prepared")

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        raise TypeError(f"{type(self).__name__} has no out_channels")

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """From the neck's map `(B*N, C, h, w)` to what crosses the border."""
        raise TypeError(f"{type(self).__name__} has no prepare()")

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Result:
        """From the neck's map, and what `host` gives a batch (with states), to the camera BEV map."""
        raise TypeError(f"{type(self).__name__} has no forward()")

    def transform(self, inputs: Mapping[str, Tensor]) -> Result:
        """As exported, for a batch of one: from the tensors of `prepared` and `host.inputs` by name."""
        raise TypeError(f"{type(self).__name__} has no transform()")


class ViewTransformConfig(PartConfig):
    """A view transform. `channels` are those of the camera BEV map.

    ego_motion: correct the car's motion between camera and LiDAR times. temporal: join the map of the frame before,
    aligned by the car's motion (BEVDet4D); samples then come scene by scene. calibrated: whether it is told where each
    pixel looks; one that is not must learn it, so that training leaves the images of its cameras where they are.
    """

    calibrated: ClassVar[bool] = True
    added: ClassVar[Mapping[str, Any]] = {"temporal": False}
    channels: int
    ego_motion: bool = False
    temporal: bool = False

    def check(self, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid) -> None:
        """Whether it fits what it would be built for, asked when a variant is read (raises ValueError)."""

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part for features of this stride on images of `image_size` (H, W) px."""
        raise TypeError(f"{type(self).__name__} has no build()")


class PillarEncoder(Part):
    """Points, as `host` groups them, to a dense canvas `(B, channels, ny, nx)` of pillars."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Result:
        """The canvas from what `host` gives a batch, or in deployed form its inputs."""
        raise TypeError(f"{type(self).__name__} has no forward()")


class PillarEncoderConfig(PartConfig):
    """How points become a dense canvas of pillars of `cell_m`."""

    cell_m: float
    channels: int

    def build(self, bev: BEVGrid) -> PillarEncoder:
        """The network part for a canvas over the range of `bev`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class MapBackboneConfig(PartConfig):
    """A 2D backbone over a BEV canvas."""

    @property
    def cumulative_strides(self) -> tuple[int, ...]:
        """Stride of every map that it hands out, with respect to its input."""
        raise TypeError(f"{type(self).__name__} has no cumulative_strides")

    def build(self, in_channels: int) -> nn.Module:
        """The network part; it has `feature_info`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class MapNeckConfig(PartConfig):
    """A neck that brings the maps of a 2D backbone to one stride."""

    def possible_strides(self, strides: Sequence[int]) -> tuple[float, ...]:
        """The output strides that it can reach from maps of these strides."""
        raise TypeError(f"{type(self).__name__} has no possible_strides()")

    def build(self, feature_info: Sequence[FeatureInfo], out_stride: float) -> nn.Module:
        """The network part; it has `out_channels`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class FusionConfig(PartConfig):
    """Fusion of one or two BEV maps of the same grid.

    modality_dropout: in training, the share of samples of which the map of one stream, drawn alike often and never all
    of them, is zero (AddFuser of mit-han-lab/bevfusion does so); `bevlite.models.modality` does it for every fusion.
    """

    added: ClassVar[Mapping[str, Any]] = {"modality_dropout": 0.0}
    modality_dropout: float = Field(default=0.0, ge=0.0, le=1.0)

    def check(self, streams: int) -> None:
        """Raise a ValueError when it cannot work on so many maps."""
        if streams < 2 and self.modality_dropout:
            raise ValueError(
                f"fusion.modality_dropout: found {self.modality_dropout:g} in a network of one sensor; accepted: 0"
            )

    def out_channels(self, in_channels: Sequence[int]) -> int:
        """Channels of the fused map; its key `channels` unless a fusion says otherwise."""
        return int(getattr(self, "channels"))  # noqa: B009 - a key that most fusions have

    def build(self, in_channels: Sequence[int]) -> nn.Module:
        """The network part: a list of maps (B, C_i, ny, nx), camera first, to one (B, out_channels, ny, nx)."""
        raise TypeError(f"{type(self).__name__} has no build()")


class BEVEncoderConfig(PartConfig):
    """The network over the fused BEV map; its output has the same grid."""

    @property
    def total_stride(self) -> int:
        """The coarsest stride inside; the BEV grid must be divisible by it."""
        raise TypeError(f"{type(self).__name__} has no total_stride")

    def check(self, bev: BEVGrid) -> None:
        """Raise a ValueError when it cannot work on this grid."""
        stride, size = self.total_stride, (bev.ny, bev.nx)
        if any(cells % stride for cells in size):
            raise ValueError(
                f"bev_encoder: found total stride {stride} on a BEV grid of {bev.ny} x {bev.nx} cells; "
                f"accepted: a stride that divides the grid, or a grid of {nearest_sizes(size, stride)} cells"
            )
        if min(size) < 2 * stride:
            # A batch norm in training takes no map of a single value.
            least = " x ".join(str(max(cells, 2 * stride)) for cells in size)
            raise ValueError(
                f"bev_encoder: found total stride {stride} on a BEV grid of {bev.ny} x {bev.nx} cells, which leaves "
                f"less than 2 x 2; accepted: a smaller stride, or a grid of at least {least} cells"
            )

    def build(self, in_channels: int) -> nn.Module:
        """The network part; it has `out_channels`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class HeadConfig(PartConfig):
    """A head: the encoded BEV map in, the raw maps of its task out, as trained."""

    def check(self, bev: BEVGrid) -> None:
        """Raise a ValueError when it cannot work on this grid."""

    def check_precision(self, bev: BEVGrid, precision_of: PrecisionOf) -> None:
        """Raise a ValueError when it cannot be deployed on this grid in the precision that a variant plans."""

    def build(self, in_channels: int, bev: BEVGrid) -> nn.Module:
        """The network part: `(B, C, ny, nx)` to a dict of raw maps."""
        raise TypeError(f"{type(self).__name__} has no build()")
