"""Every registered part keeps the contract of its kind. A new part is picked up by being registered."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import Backbone, FeatureInfo, Neck, PillarEncoder, ViewTransform
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.registry import (
    BACKBONES,
    BEV_ENCODERS,
    DETECTION_HEADS,
    FUSIONS,
    LIDAR_BACKBONES,
    LIDAR_NECKS,
    NECKS,
    OCCUPANCY_HEADS,
    PILLAR_ENCODERS,
    VIEW_TRANSFORMS,
    Registry,
)
from tests.tiny import live

BEV = BEVGrid(cell_m=1.6)
IMAGE = (64, 192)
PYRAMID = [FeatureInfo(6, 4), FeatureInfo(8, 8), FeatureInfo(10, 16), FeatureInfo(12, 32)]


def parts(registry: Registry) -> Any:
    return pytest.mark.parametrize("config", [c() for c in registry.members.values()], ids=list(registry.members))


def choices(config: Any, field: str) -> tuple[int, ...]:
    """What a `Literal` field accepts."""
    return get_args(type(config).model_fields[field].annotation)


def assert_learns(network: nn.Module, outputs: list[Tensor]) -> None:
    """Every output is finite, and every parameter has a say in them."""
    assert all(torch.isfinite(o).all() for o in outputs)
    sum((o * torch.randn_like(o)).sum() for o in outputs).backward()  # type: ignore[union-attr]
    idle = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert idle == []


@parts(BACKBONES)
def test_backbone(config: Any) -> None:
    network = config.build()
    assert isinstance(network, Backbone)
    assert tuple(info.stride for info in network.feature_info) == tuple(config.strides)
    maps = network(torch.randn(2, 3, *IMAGE))
    assert [tuple(m.shape) for m in maps] == [(2, c, IMAGE[0] // s, IMAGE[1] // s) for c, s in network.feature_info]
    assert_learns(network, list(maps))


@parts(NECKS)
def test_neck(config: Any) -> None:
    for stride in choices(config, "out_stride"):
        network = type(config)(channels=24, out_stride=stride).build(PYRAMID)
        assert isinstance(network, Neck)
        out = network([torch.randn(2, c, IMAGE[0] // s, IMAGE[1] // s) for c, s in PYRAMID])
        assert out.shape == (2, 24, IMAGE[0] // stride, IMAGE[1] // stride)
        assert_learns(network, [out])


@parts(VIEW_TRANSFORMS)
def test_view_transform(config: Any) -> None:
    stride, in_channels = 16, 6
    network = live(config.build(in_channels, stride, IMAGE, 6, BEV))
    assert isinstance(network, ViewTransform)
    calibration = nominal_pixel_to_bev(*IMAGE)
    features = torch.randn(6, in_channels, IMAGE[0] // stride, IMAGE[1] // stride)
    given = {"pixel_to_bev": torch.from_numpy(calibration)[None]}
    trained = network(features, given)
    assert trained.shape == (1, config.channels, BEV.ny, BEV.nx) and trained.abs().sum() > 0
    prepared = network.prepare(features)
    assert [tuple(tensor.shape) for tensor in prepared] == [spec.shape for spec in network.prepared]
    known = {spec.name: tensor for spec, tensor in zip(network.prepared, prepared, strict=True)}
    geometry = network.host.deployed({"pixel_to_bev": calibration})
    assert [(s.name, s.shape, s.dtype) for s in network.host.inputs] == [
        (name, value.shape, value.dtype.name) for name, value in geometry.items()
    ]
    exported = network.transform(known | {name: torch.from_numpy(value) for name, value in geometry.items()})
    torch.testing.assert_close(exported, trained, rtol=1e-4, atol=1e-5)
    assert_learns(network, [trained])
    two = network(features.repeat(2, 1, 1, 1), {name: value.repeat(2, 1, 1, 1) for name, value in given.items()})
    torch.testing.assert_close(two[1], trained[0], rtol=1e-5, atol=1e-6)


@parts(PILLAR_ENCODERS)
def test_pillar_encoder(config: Any) -> None:
    network = config.build(BEV)
    assert isinstance(network, PillarEncoder)
    pillars = torch.rand(2, 5, config.max_points, 7)
    index = torch.zeros(2, 12, 10, dtype=torch.int32)
    index[0, 0, :7] = torch.arange(1, 8)
    index[1, 11, 3:6] = torch.arange(1, 4)
    canvas = network({"pillars": pillars, "pillar_index": index})
    assert canvas.shape == (2, config.channels, 12, 10)
    assert not canvas.permute(0, 2, 3, 1)[index == 0].any()  # nothing where there is no pillar
    assert canvas.permute(0, 2, 3, 1)[index > 0].abs().sum() > 0
    assert_learns(network, [canvas])


@parts(LIDAR_BACKBONES)
def test_lidar_backbone(config: Any) -> None:
    network = config.build(9)
    assert tuple(info.stride for info in network.feature_info) == tuple(config.cumulative_strides)
    maps = network(torch.randn(2, 9, 32, 64))
    assert [tuple(m.shape) for m in maps] == [(2, c, 32 // s, 64 // s) for c, s in network.feature_info]
    assert_learns(network, list(maps))


@parts(LIDAR_NECKS)
def test_lidar_neck(config: Any) -> None:
    info = [FeatureInfo(6, 2), FeatureInfo(8, 4), FeatureInfo(10, 8)]
    for stride in config.possible_strides([i.stride for i in info]):
        network = config.build(info, stride)
        out = network([torch.randn(2, c, 64 // s, 32 // s) for c, s in info])
        assert out.shape == (2, network.out_channels, round(64 / stride), round(32 / stride))
        assert_learns(network, [out])


@parts(FUSIONS)
def test_fusion(config: Any) -> None:
    for widths in ([5], [5, 7]):
        network = config.build(widths)
        out = network([torch.randn(2, w, 16, 12) for w in widths])
        assert out.shape == (2, config.channels, 16, 12)
        assert_learns(network, [out])


@parts(BEV_ENCODERS)
def test_bev_encoder(config: Any) -> None:
    network = config.build(5)
    size = (2 * config.total_stride, 4 * config.total_stride)
    out = network(torch.randn(2, 5, *size))
    assert out.shape == (2, network.out_channels, *size)
    assert_learns(network, [out])


@parts(DETECTION_HEADS)
def test_detection_head(config: Any) -> None:
    network = config.build(5, BEV)
    out = network(torch.randn(2, 5, BEV.ny, BEV.nx))
    assert set(out) == {"heatmap", "boxes"}
    assert out["heatmap"].shape == (2, 10, BEV.ny, BEV.nx) and out["boxes"].shape == (2, 60, BEV.ny, BEV.nx)
    # A network from nothing finds next to nothing: the focal loss starts low.
    assert float(out["heatmap"].detach().sigmoid().mean()) < 0.2
    assert_learns(network, list(out.values()))


@parts(OCCUPANCY_HEADS)
@pytest.mark.parametrize("cell_m", [0.4, 0.8, 1.6])
def test_occupancy_head(config: Any, cell_m: float) -> None:
    config = type(config)(channels=4)
    bev = BEVGrid(cell_m=cell_m)
    config.check(bev)
    network = config.build(5, bev)
    x = torch.randn(1, 5, bev.ny, bev.nx)
    out = network(x)
    assert set(out) == {"occupancy"} and out["occupancy"].shape == (1, 18, 16, 200, 200)
    assert_learns(network, list(out.values()))
    # What lies beyond the 40 m of the labels is never read.
    border = round(11.2 / cell_m)
    x[:, :, :border] = x[:, :, -border:] = x[:, :, :, :border] = x[:, :, :, -border:] = 1e3
    with torch.no_grad():
        torch.testing.assert_close(network(x)["occupancy"], out["occupancy"].detach())
