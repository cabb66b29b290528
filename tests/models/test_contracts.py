"""Every registered part keeps the contract of its kind. A new part is picked up by being registered."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bevlite import testing
from bevlite.data.config import DataConfig
from bevlite.data.index import Index
from bevlite.grid import BEVGrid
from bevlite.models.backbones.resnet import ResNet, ResNetConfig
from bevlite.models.necks.lss_fpn import LSSFPNConfig
from bevlite.models.samples import dataset_of, outline
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.registry import (
    BACKBONES,
    BEV_ENCODERS,
    DETECTION_HEADS,
    FUSIONS,
    LIDAR_BACKBONES,
    LIDAR_NECKS,
    MAP_HEADS,
    NECKS,
    OCCUPANCY_HEADS,
    PILLAR_ENCODERS,
    VIEW_TRANSFORMS,
    Registry,
)
from bevlite.tasks.detection import Detection
from bevlite.testing import ContractBroken
from tests.tiny import tiny

EVERY_PART = [
    config
    for kind in (
        BACKBONES, NECKS, VIEW_TRANSFORMS, PILLAR_ENCODERS, LIDAR_BACKBONES, LIDAR_NECKS, FUSIONS, BEV_ENCODERS,
        DETECTION_HEADS, OCCUPANCY_HEADS, MAP_HEADS,
    )
    for config in kind.members.values()
]  # fmt: skip


def parts(registry: Registry) -> Any:
    return pytest.mark.parametrize("config", [c() for c in registry.members.values()], ids=list(registry.members))


@parts(BACKBONES)
def test_backbone(config: Any) -> None:
    testing.check_backbone(config)


@parts(NECKS)
def test_neck(config: Any) -> None:
    testing.check_neck(config)


@parts(VIEW_TRANSFORMS)
def test_view_transform(config: Any) -> None:
    testing.check_view_transform(config)


@parts(PILLAR_ENCODERS)
def test_pillar_encoder(config: Any) -> None:
    testing.check_pillar_encoder(config)


@parts(PILLAR_ENCODERS)
def test_nothing_lies_where_there_is_no_pillar(config: Any) -> None:
    network = config.build(BEVGrid(cell_m=1.6))
    index = torch.zeros(2, 12, 10, dtype=torch.int32)
    index[0, 0, :7] = torch.arange(1, 8)
    index[1, 11, 3:6] = torch.arange(1, 4)
    canvas = network({"pillars": torch.rand(2, 5, config.max_points, 7), "pillar_index": index})
    assert canvas.shape == (2, config.channels, 12, 10)
    assert not canvas.permute(0, 2, 3, 1)[index == 0].any()
    assert canvas.permute(0, 2, 3, 1)[index > 0].abs().sum() > 0


@parts(LIDAR_BACKBONES)
def test_lidar_backbone(config: Any) -> None:
    testing.check_lidar_backbone(config)


@parts(LIDAR_NECKS)
def test_lidar_neck(config: Any) -> None:
    testing.check_lidar_neck(config)


@parts(FUSIONS)
def test_fusion(config: Any) -> None:
    testing.check_fusion(config)


@parts(BEV_ENCODERS)
def test_bev_encoder(config: Any) -> None:
    testing.check_bev_encoder(config)


@parts(DETECTION_HEADS)
def test_detection_head(config: Any) -> None:
    testing.check_detection_head(config)


@parts(OCCUPANCY_HEADS)
@pytest.mark.parametrize("cell_m", [0.4, 0.8, 1.6])
def test_occupancy_head(config: Any, cell_m: float) -> None:
    testing.check_occupancy_head(type(config)(channels=4), BEVGrid(cell_m=cell_m))


@parts(MAP_HEADS)
def test_map_head(config: Any) -> None:
    testing.check_head(config)


SHORTER: dict[str, Any] = {
    "swin": {"compression": {"removed": [f"camera.backbone.layers.2.blocks.{number}" for number in (2, 3, 4, 5)]}}
}
"""Without some of what repeats: eight blocks of Swin, of windows that stand still and that are shifted."""


@pytest.mark.slow
@pytest.mark.parametrize("config", [c() for c in EVERY_PART], ids=lambda c: c.type)
def test_every_part_in_a_network(config: Any) -> None:
    testing.check_in_network(config, **SHORTER.get(config.type, {}))


def test_every_task(world: DataConfig, index: Index) -> None:
    variant = tiny()
    dataset = dataset_of(variant, world.root, index, np.arange(2))
    batch = dataset.collate([dataset[0], dataset[1]])
    for task in outline(variant).tasks:
        testing.check_task(task, batch)
    for head in DETECTION_HEADS.members.values():
        testing.check_task(Detection(head(), variant.bev), batch)  # type: ignore[arg-type]


class Coarse(ResNetConfig):
    """Says strides that it does not have."""

    type: Literal["coarse"] = "coarse"  # type: ignore[assignment]
    depth: Literal[18] = 18  # type: ignore[assignment]

    @property
    def strides(self) -> tuple[int, ...]:
        return (8, 16, 32, 64)


class IdleConfig(ResNetConfig):
    """Has a parameter that does nothing."""

    type: Literal["idle"] = "idle"  # type: ignore[assignment]
    depth: Literal[18] = 18  # type: ignore[assignment]

    def build(self) -> ResNet:
        network = ResNet(self)
        network.idle = nn.Parameter(torch.zeros(1))
        return network


class ShallowConfig(LSSFPNConfig):
    """Takes another number of channels than it was asked for."""

    type: Literal["shallow"] = "shallow"  # type: ignore[assignment]

    def build(self, feature_info: Any) -> Any:
        return LSSFPNConfig(channels=8, out_stride=self.out_stride).build(feature_info)


class Frozen(LiftSplat):
    """Keeps the tables of the first calibration that it sees, as an export with constants would."""

    first: dict[str, Tensor] | None = None

    def transform(self, inputs: Any) -> Tensor:
        tables = {spec.name: inputs[spec.name] for spec in self.host.inputs}
        self.first = tables if self.first is None else self.first
        return super().transform({**inputs, **self.first})


class FrozenConfig(LSSConfig):
    """Makes it."""

    type: Literal["frozen"] = "frozen"  # type: ignore[assignment]

    def build(self, *given: Any) -> Any:
        return Frozen(self, *given)


@pytest.mark.parametrize(
    ("check", "config", "message"),
    [
        ("check_backbone", Coarse(), r"Coarse \(type: coarse\): strides: found \(4, 8, 16, 32\)"),
        ("check_backbone", IdleConfig(), "parameters without a finite gradient: found .'idle'."),
        ("check_neck", ShallowConfig(), "shape at stride"),
        ("check_view_transform", FrozenConfig(), r"transform\(\) against forward\(\): largest difference"),
    ],
)
def test_a_broken_contract_is_named(check: str, config: Any, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        getattr(testing, check)(config)
