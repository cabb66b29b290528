"""BEVDet with a ResNet-50: torchvision's and plain layers give what our network gives, in both of its versions."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50

from bevlite.errors import BevliteError
from bevlite.interop.forms.mmdet3d_bevdet import BEVDet
from bevlite.interop.importing import fill, variant_for
from bevlite.models.detector import Detector
from bevlite.runtime.pooling import frustum_cells
from tests.interop.plain import CenterHead, ConvModule, heading, lwh, settled

LIDAR_M = (0.94, 0.0, 1.84)
SMALL = ["bev.x_range_m=[-6.4,6.4]", "bev.y_range_m=[-6.4,6.4]", "camera.images.height=64", "camera.images.width=96"]
MEAN, DEVIATION = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


class Block(nn.Module):
    """A BasicBlock of mmdetection, whose shortcut is a plain 3x3."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        if stride > 1:
            self.downsample = nn.Conv2d(a, b, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        own = self.downsample(x) if hasattr(self, "downsample") else x
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + own)


class Neck(nn.Module):
    """FPN_LSS."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        wide = 2 * out
        layers = []
        for a in (width, wide):
            layers += [nn.Conv2d(a, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        self.conv = nn.Sequential(*layers)
        last = [nn.Conv2d(wide, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(), nn.Conv2d(out, out, 1)]
        self.up2 = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), *last)

    def forward(self, maps: list[Tensor]) -> Tensor:
        grown = functional.interpolate(maps[-1], scale_factor=4, mode="bilinear", align_corners=True)
        return self.up2(self.conv(torch.cat([maps[0], grown], dim=1)))  # type: ignore[no-any-return]


class Plain(nn.Module):
    """bevdet-r50 as published: the first version (`first`), or 2.0 and later, with one group of classes or six."""

    def __init__(self, first: bool, groups: tuple[int, ...]) -> None:
        super().__init__()
        body, width, channels = resnet50(), 512 if first else 256, 64
        del body.fc
        self.img_backbone = body
        self.img_neck = nn.ModuleDict(
            {
                "lateral_convs": nn.ModuleList(ConvModule(c, width, 1, norm=False) for c in (1024, 2048)),
                "fpn_convs": nn.ModuleList([ConvModule(width, width, 3, norm=False)]),
            }
        )
        view = nn.Module()
        depth = nn.Conv2d(width, 59 + channels, 1)
        setattr(view, "depthnet" if first else "depth_net", depth)
        for name, values in kept().items() if first else ():
            setattr(view, name, nn.Parameter(values, False))
        self.img_view_transformer = view
        widths = [channels << i for i in range(4)]
        stages = [nn.Sequential(Block(a, b, 2), Block(b, b, 1)) for a, b in pairwise(widths)]
        self.img_bev_encoder_backbone = nn.ModuleDict({"layers": nn.Sequential(*stages)})
        self.img_bev_encoder_neck = Neck(widths[1] + widths[3], 256)
        self.pts_bbox_head = CenterHead(256, groups)
        self.depth = [depth]

    def seen(self, images: Tensor) -> Tensor:
        """Depth logits and context of normalised images."""
        body = self.img_backbone
        x = body.layer2(body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(images))))))
        maps = [body.layer3(x), body.layer4(body.layer3(x))]
        fine, coarse = (conv(m) for conv, m in zip(self.img_neck["lateral_convs"], maps, strict=True))  # type: ignore[call-overload]
        joined = fine + functional.interpolate(coarse, scale_factor=2.0)
        return self.depth[0](self.img_neck["fpn_convs"][0](joined))  # type: ignore[index,no-any-return]

    def found(self, bev: Tensor) -> list[dict[str, Tensor]]:
        """Raw maps of each group."""
        maps = []
        for stage in self.img_bev_encoder_backbone["layers"]:  # type: ignore[attr-defined]
            bev = stage(bev)
            maps.append(bev)
        return self.pts_bbox_head(self.img_bev_encoder_neck(maps))  # type: ignore[no-any-return]


def kept() -> dict[str, Tensor]:
    """What the first version keeps of its grid among the weights."""
    u, v, d = torch.linspace(0, 703, 44), torch.linspace(0, 255, 16), torch.arange(1.0, 60.0)
    grid = torch.meshgrid(d, v, u, indexing="ij")
    numbers = {"dx": [0.8, 0.8, 20.0], "bx": [-50.8, -50.8, 0.0], "nx": [128.0, 128.0, 1.0]}
    found = {name: torch.tensor(values) for name, values in numbers.items()}
    return {**found, "frustum": torch.stack(grid[::-1], dim=-1)}


def shapes(first: bool, groups: tuple[int, ...]) -> dict[str, Tensor]:
    """A checkpoint without its weights, but with its grid."""
    with torch.device("meta"):
        found = dict(Plain(first, groups).state_dict())
    return found | ({f"img_view_transformer.{name}": value for name, value in kept().items()} if first else {})


def filled(theirs: nn.Module) -> Detector:
    """Our network, with everything of theirs and nothing else."""
    form = BEVDet(theirs.state_dict(), LIDAR_M)
    variant = variant_for(form, overrides=SMALL)
    weights, account = fill(form, variant)
    assert account.theirs.share == account.ours.share == 1
    assert {name.rpartition(".")[2] for name in account.theirs.reasons} <= {"dx", "bx", "nx", "frustum"}
    ours = Detector(variant).eval()
    ours.load_state_dict(weights)
    return ours


@torch.no_grad()
def test_the_first_version() -> None:
    """In the LiDAR's frame, RGB, boxes with the width first."""
    theirs = settled(Plain(True, (1, 2, 2, 1, 2, 2)))
    assert isinstance(theirs, Plain)
    ours = filled(theirs)
    assert ours.camera is not None and ours.view_transform is not None
    images = torch.randint(0, 256, (1, 2, 3, 64, 96), dtype=torch.uint8)
    normalised = (images[0].float() - MEAN.view(3, 1, 1)) / DEVIATION.view(3, 1, 1)
    expected = theirs.seen(normalised)
    depth, context = ours.view_transform.prepare(ours.camera(images))
    torch.testing.assert_close(depth, expected[:, :59].softmax(dim=1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(context, expected[:, 59:], atol=2e-3, rtol=1e-3)
    bev = torch.randn(1, 64, 16, 16)  # (their y, their x)
    groups = theirs.found(bev)
    maps = ours.fusion_heads([bev.transpose(2, 3)], {})[1]
    crossed = torch.cat([group["heatmap"] for group in groups], dim=1).transpose(2, 3)
    torch.testing.assert_close(maps["heatmap"], crossed, atol=1e-3, rtol=1e-3)
    for group, ten in zip(groups, maps["boxes"][0].split(10), strict=True):
        them = {name: value[0].transpose(1, 2) for name, value in group.items()}
        torch.testing.assert_close(ten[:2], them["reg"].flip(0), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(ten[2:3], them["height"] + 1.84, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(ten[3:6], lwh(them["dim"], older=True), atol=1e-3, rtol=1e-3)
        angle = ten[[7, 6]] / torch.hypot(ten[6], ten[7])
        clear = torch.hypot(ten[6], ten[7]) > 0.05
        expected = heading(*them["rot"], older=True).flip(0)
        torch.testing.assert_close(angle[:, clear], expected[:, clear], atol=2e-2, rtol=0)
        torch.testing.assert_close(ten[8:], them["vel"].flip(0), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_from_version_2_on() -> None:
    """In the ego frame as ours, one group of classes; images in BGR, normalised with the figures of RGB."""
    theirs = settled(Plain(False, (10,)))
    assert isinstance(theirs, Plain)
    ours = filled(theirs)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8).float()
    figures = MEAN.view(3, 1, 1), DEVIATION.view(3, 1, 1)
    body = theirs.img_backbone
    expected = body.bn1(body.conv1((images.flip(1) - figures[0]) / figures[1]))
    assert ours.camera is not None
    body = ours.camera.backbone.body
    found = body.bn1(body.conv1((images - figures[0]) / figures[1]))
    assert BEVDet(shapes(False, (10,)), LIDAR_M, "rgb").colours == "rgb"  # with opencv_pp
    inside = (..., slice(2, -2), slice(2, -2))  # what is beyond the border is another grey
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-3, rtol=1e-3)
    bev = torch.randn(1, 64, 16, 16)
    (group,) = theirs.found(bev)
    maps = ours.fusion_heads([bev], {})[1]
    boxes = torch.cat([group[name] for name in ("reg", "height", "dim", "rot", "vel")], dim=1)
    torch.testing.assert_close(maps["heatmap"], group["heatmap"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(maps["boxes"], boxes, atol=1e-3, rtol=1e-3)


def test_geometry_and_depths() -> None:
    """Depth bins at 1, 2, ... 59 m, where BEVDet has them; the first version says its grid, around the LiDAR."""
    variant = variant_for(BEVDet(shapes(False, (10,)), LIDAR_M))
    assert variant.camera is not None and variant.camera.view_transform.depths_m == tuple(map(float, range(1, 60)))
    assert variant.camera.view_transform.z_range_m == (-5, 3) and variant.bev.x_range_m == (-51.2, 51.2)
    assert variant.heads["detection"].groups == "one" and variant.bev_encoder.channels == (128, 256, 512)
    first = variant_for(BEVDet(shapes(True, (1, 2, 2, 1, 2, 2)), LIDAR_M))
    assert first.camera is not None and first.camera.view_transform.depths_m == tuple(map(float, range(1, 60)))
    assert first.camera.view_transform.z_range_m == (-8.16, 11.84) and first.bev.x_range_m == (-50.26, 52.14)
    assert first.camera.neck.channels == 512 and first.heads["detection"].groups == "six"


def test_other_networks_of_its_kin_are_refused() -> None:
    given = shapes(False, (10,))
    deeper = {key.replace("depth_net.", "depth_net.reduce_conv."): value for key, value in given.items()}
    with pytest.raises(BevliteError, match=r"no img_view_transformer.depth_net.weight; accepted: a checkpoint of this"):
        variant_for(BEVDet(deeper, LIDAR_M))
    five = {key: value for key, value in given.items() if "task_heads" not in key}
    with pytest.raises(BevliteError, match=r"task_heads: found 0 groups of classes; accepted: the six .*, or one"):
        variant_for(BEVDet(five, LIDAR_M))


@pytest.mark.parametrize("first", [True, False])
def test_pixels_fall_into_the_cells_of_the_original(first: bool) -> None:
    """Its frustum and its cells; the first version's lie around the LiDAR."""
    form = BEVDet(shapes(first, (10,)), LIDAR_M)
    with torch.device("meta"):
        outline = Detector(variant_for(form))
    assert outline.view_transform is not None
    grid, host = outline.view_transform.grid, outline.view_transform.host  # type: ignore[union-attr]
    turn = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])  # a camera that looks ahead, in the ego frame
    intrinsics = np.array([[560.0, 0, 350], [0, 560, 110], [0, 0, 1]])
    pixel_to_bev = np.eye(4)
    pixel_to_bev[:3, :3], pixel_to_bev[:3, 3] = turn @ np.linalg.inv(intrinsics), (1.7, 0.1, 1.5)
    frame: Any = SimpleNamespace(pixel_to_bev=pixel_to_bev[None])
    found = frustum_cells(host.frustum, grid, host.sample(frame)["pixel_to_bev"])  # type: ignore[union-attr]
    u, v, depth = np.linspace(0, 703, 44), np.linspace(0, 255, 16), np.arange(1.0, 60.0)
    d, v, u = np.meshgrid(depth, v, u, indexing="ij")
    ego = np.stack([u * d, v * d, d], axis=-1) @ pixel_to_bev[:3, :3].T + pixel_to_bev[:3, 3]
    x, y, z = np.moveaxis(ego, -1, 0)
    low, high = (-10.0 + 1.84, 10.0 + 1.84) if first else (-5.0, 3.0)
    ix, iy = np.floor((x - (0.94 if first else 0) + 51.2) / 0.8), np.floor((y + 51.2) / 0.8)
    inside = (ix >= 0) & (ix < 128) & (iy >= 0) & (iy < 128) & (z >= low) & (z < high)
    expected = np.where(inside, iy * 128 + ix, -1)
    assert (expected >= 0).mean() > 0.3 and (found.reshape(expected.shape) == expected).mean() > 0.9999
