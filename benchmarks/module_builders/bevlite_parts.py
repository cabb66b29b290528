"""Parts of BEVLite, and whole variants, with the inputs of their deployed form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.backbones.henet import HENetTinyMConfig
from bevlite.models.backbones.resnet import ResNetConfig
from bevlite.models.bev_encoders.second_fpn import SecondFPNConfig
from bevlite.models.fusion.se import SEFusionConfig
from bevlite.models.heads.detection.centerpoint import CenterPointConfig
from bevlite.models.heads.occupancy.flashocc import FlashOccConfig
from bevlite.models.lidar.backbones.second import SECONDConfig
from bevlite.models.lidar.necks.secfpn import SECFPNConfig
from bevlite.models.lidar.pillars.pfn import PFNConfig
from bevlite.models.necks.lss_fpn import LSSFPNConfig
from bevlite.models.streams import FusionHeads
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.variant import Variant, load_variant
from module_builders.built import Built
from module_builders.deployed import Camera, Heads, Lidar, Maps, Pool, Whole

VARIANTS = Path(__file__).parents[2] / "configs" / "variants"


def _images(cameras: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, cameras, 3, height, width), dtype=torch.uint8)


def _tables(view_transform: LiftSplat, height: int, width: int) -> tuple[Tensor, ...]:
    """The pooling tables of the nominal rig: how local the gathers are decides how fast they run."""
    tables = view_transform.host.deployed({"pixel_to_bev": nominal_pixel_to_bev(height, width)})
    return tuple(torch.from_numpy(np.ascontiguousarray(table)) for table in tables.values())


def _pillars(points: int, slots: int, ny: int, nx: int, filled: float) -> tuple[Tensor, Tensor]:
    """Pillars and their index map: `filled` of the slots are used, denser near the car."""
    rng = np.random.default_rng(0)
    used = min(int(filled * slots), ny * nx // 2)
    y, x = np.mgrid[0:ny, 0:nx]
    distance = np.hypot(y - ny / 2, x - nx / 2) / (max(ny, nx) / 2)
    weight = np.exp(-3 * distance).reshape(-1)
    cells = np.sort(rng.choice(ny * nx, used, replace=False, p=weight / weight.sum()))
    index = np.zeros(ny * nx, dtype=np.int32)
    index[cells] = np.arange(1, used + 1, dtype=np.int32)
    return torch.randn(1, 5, points, slots), torch.from_numpy(index.reshape(1, ny, nx))


def build_camera(
    backbone: str, height: int, width: int, cameras: int = 6, channels: int = 256, stride: int = 16
) -> Built:
    config = HENetTinyMConfig() if backbone == "henet" else ResNetConfig.model_validate({"depth": int(backbone[1:])})
    body = config.build()
    neck = LSSFPNConfig.model_validate({"channels": channels, "out_stride": stride}).build(body.feature_info)
    view = LSSConfig().build(channels, stride, (height, width), cameras, BEVGrid())
    assert isinstance(view, LiftSplat)
    return Camera(body, neck, view), (_images(cameras, height, width),)


def build_neck(height: int, width: int, cameras: int, channels: int, stride: int, wide: bool = True) -> Built:
    widths = (256, 512, 1024, 2048) if wide else (64, 128, 256, 512)
    info = [(c, 4 << i) for i, c in enumerate(widths)]
    body = ResNetConfig(depth=50 if wide else 18).build()
    neck = LSSFPNConfig.model_validate({"channels": channels, "out_stride": stride}).build(body.feature_info)
    maps = tuple(torch.randn(cameras, c, height // s, width // s) for c, s in info)
    return _Listed(neck), maps


class _Listed(nn.Module):
    """A part that takes a list of maps, as one that takes them one by one."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *maps: Tensor) -> Any:
        return self.part(maps)


def build_view_transform(
    height: int, width: int, stride: int, channels: int, cell_m: float = 0.8, depth_step_m: float = 1.0, chunk: int = 8
) -> Built:
    config = LSSConfig(channels=channels, depth_step_m=depth_step_m, chunk=chunk)
    view = config.build(8, stride, (height, width), 6, BEVGrid(cell_m=cell_m))
    assert isinstance(view, LiftSplat)
    depths, h, w = len(config.depths_m), height // stride, width // stride
    depth = torch.randn(6, depths, h, w).softmax(dim=1)
    return Pool(view), (depth, torch.randn(6, channels, h, w), *_tables(view, height, width))


def build_lidar(
    cell_m: float,
    pillars: int = 40000,
    points: int = 20,
    width: int = 64,
    channels: Sequence[int] = (64, 128, 256),
    layers: Sequence[int] = (3, 5, 5),
    strides: Sequence[int] = (2, 2, 2),
    neck: int = 128,
    bev_cell_m: float = 0.8,
    extent_m: float = 51.2,
) -> Built:
    """A LiDAR stream over a square range: pillars, backbone and neck; sizes in cells, `cell_m` in m."""
    encoder = PFNConfig(cell_m=cell_m, max_pillars=pillars, max_points=points, channels=width).build(BEVGrid())
    second = SECONDConfig.model_validate({"channels": channels, "layers": layers, "strides": strides}).build(width)
    fpn = SECFPNConfig(channels=neck).build(second.feature_info, round(bev_cell_m / cell_m))
    size = round(2 * extent_m / cell_m)
    return Lidar(encoder, second, fpn), _pillars(points, pillars, size, size, 0.7)


def build_pillars(cell_m: float, pillars: int, points: int, width: int, extent_m: float = 51.2) -> Built:
    encoder = PFNConfig(cell_m=cell_m, max_pillars=pillars, max_points=points, channels=width).build(BEVGrid())
    size = round(2 * extent_m / cell_m)
    return Lidar(encoder, nn.Identity(), nn.Identity()), _pillars(points, pillars, size, size, 0.7)


def build_fusion(inputs: Sequence[int], channels: int, size: int) -> Built:
    part = SEFusionConfig(channels=channels).build(inputs)
    return _Listed(part), tuple(torch.randn(1, c, size, size) for c in inputs)


def build_bev_encoder(
    in_channels: int, channels: Sequence[int], layers: Sequence[int], out_channels: int, size: int
) -> Built:
    settings = {"channels": channels, "layers": layers, "out_channels": out_channels}
    part = SecondFPNConfig.model_validate(settings).build(in_channels)
    return part, (torch.randn(1, in_channels, size, size),)


def build_centerpoint(in_channels: int, channels: int, size: int, separable: bool = False) -> Built:
    head = CenterPointConfig(channels=channels, separable=separable).build(in_channels, BEVGrid())
    return Maps(head), (torch.randn(1, in_channels, size, size),)


def build_flashocc(in_channels: int, channels: int, cell_m: float) -> Built:
    bev = BEVGrid(cell_m=cell_m)
    head = FlashOccConfig(channels=channels).build(in_channels, bev)
    return Maps(head), (torch.randn(1, in_channels, bev.ny, bev.nx),)


def build_variant(name: str, overrides: Sequence[str] = ()) -> Built:
    """A whole network of the repository as one graph, with the inputs of a frame."""
    variant: Variant = load_variant(VARIANTS / f"{name}.yaml", overrides)
    camera = pool = lidar = None
    inputs: list[Tensor] = []
    widths: list[int] = []
    if variant.camera is not None:
        stream = variant.camera
        size = (stream.images.height, stream.images.width)
        body = stream.backbone.build()
        neck = stream.neck.build(body.feature_info)
        view = stream.view_transform.build(
            stream.neck.channels, stream.neck.out_stride, size, stream.images.cameras, variant.bev
        )
        camera, pool = Camera(body, neck, view), Pool(view)
        inputs += [_images(stream.images.cameras, *size), *_tables(view, *size)]
        widths.append(stream.view_transform.channels)
    if variant.lidar is not None:
        config = variant.lidar.pillars
        second = variant.lidar.backbone.build(config.channels)
        fpn = variant.lidar.neck.build(second.feature_info, round(variant.bev.cell_m / config.cell_m))
        lidar = Lidar(config.build(variant.bev), second, fpn)
        ratio = round(variant.bev.cell_m / config.cell_m)
        inputs += _pillars(config.max_points, config.max_pillars, variant.bev.ny * ratio, variant.bev.nx * ratio, 0.7)
        widths.append(fpn.out_channels)
    heads = FusionHeads(variant.fusion, variant.bev_encoder, variant.heads, variant.bev, widths)
    return Whole(camera, pool, lidar, Heads(heads)), tuple(inputs)
