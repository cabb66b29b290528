"""BEV encoders and map backbones against plain float64 loops, and grids that they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bevlite import testing
from bevlite.models.backbones.swin import SwinConfig
from bevlite.models.bev_encoders.efficientnet_bifpn import EfficientNetBiFPNConfig
from bevlite.models.bev_encoders.fpn_lss import FPNLSSConfig
from bevlite.models.lidar.backbones.second_dw import SECONDDWConfig
from bevlite.models.lidar.pillars.pfn import PFNConfig
from bevlite.models.view_transforms.lss import LSSConfig
from tests.models.plain import array, bilinear, convolved, normed
from tests.tiny import live, tiny


def block(x: np.ndarray, sequence: Any) -> np.ndarray:
    """Convolutions, batch norm, ReLU."""
    *convs, norm, _ = sequence
    for conv in convs:
        x = convolved(x, conv)
    return np.maximum(normed(x, norm), 0)


def residual(x: np.ndarray, module: Any) -> np.ndarray:
    second = normed(convolved(block(x, module.first), module.second[0]), module.second[1])
    same = isinstance(module.shortcut, nn.Identity)
    return np.maximum(second + (x if same else convolved(x, module.shortcut)), 0)


def test_fpn_lss_against_a_loop() -> None:
    network: Any = live(FPNLSSConfig(channels=(4, 5), blocks=(2, 1), out_channels=3).build(3)).double()
    given = torch.randn(1, 3, 8, 12, dtype=torch.float64)
    first = residual(residual(array(given[0]), network.stages[0][0]), network.stages[0][1])
    joined = np.concatenate([first, bilinear(residual(first, network.stages[1][0]))])
    for sequence in network.join:
        joined = block(joined, sequence)
    expected = convolved(block(bilinear(joined), network.out[0]), network.out[1])
    np.testing.assert_allclose(array(network(given))[0], expected, atol=1e-12)


def test_second_dw_against_a_loop() -> None:
    config = SECONDDWConfig(channels=(4, 5), layers=(1, 0), strides=(2, 1))
    network: Any = live(config.build(3)).double()
    given = torch.randn(1, 3, 8, 6, dtype=torch.float64)
    x = array(given[0])
    for found, stage in zip(network(given), network.stages, strict=True):
        for sequence in stage:
            x = block(x, sequence)
        np.testing.assert_allclose(array(found)[0], x, atol=1e-12)


def test_a_new_encoder_does_not_drown_the_map_in_its_gradient() -> None:
    """Per spread of what goes in and comes out. With norms that start from 1 it is 66 to 86; BEVDet's encoder has 6."""

    def gain(encoder: nn.Module) -> float:
        torch.manual_seed(0)
        given = torch.randn(4, 64, 64, 64, requires_grad=True)
        result = encoder.train()(given)
        wanted = torch.randn_like(result)
        result.backward(wanted)
        assert given.grad is not None
        size = (given.numel() / result.numel()) ** 0.5
        return float(given.grad.norm() / wanted.norm() * (given.std() / result.std()).detach() * size)

    torch.manual_seed(0)
    quiet = EfficientNetBiFPNConfig().build(64)
    assert gain(quiet) < 30
    for block in quiet.body.modules():
        if getattr(block, "has_skip", False):
            nn.init.ones_(block.bn3.weight)
    assert gain(quiet) > 50
    assert gain(FPNLSSConfig(channels=(64, 128, 256), out_channels=64).build(64)) < 10


@pytest.mark.slow
def test_switches_in_a_network() -> None:
    shorter = [f"camera.backbone.layers.2.blocks.{number}" for number in (2, 3, 4, 5)]
    testing.check_in_network(SwinConfig(pad="before"), compression={"removed": shorter})
    testing.check_in_network(LSSConfig(pooling="columns", channels=8, pixels="border", halved=True))
    testing.check_in_network(EfficientNetBiFPNConfig(channels=16, stack=1, fusion="attention"))
    testing.check_in_network(FPNLSSConfig(channels=(16, 16, 16), blocks=(1, 1, 1), out_channels=16, align_corners=True))
    testing.check_in_network(PFNConfig(cell_m=0.8, max_pillars=6000, max_points=6, channels=8, coordinates="offsets"))


@pytest.mark.parametrize("more", [{"coordinates": "offsets"}, {"coordinates": "offsets_3d", "origin_m": (1, 0, 2)}])
def test_offsets_keep_the_contract_of_pillars(more: dict[str, Any]) -> None:
    testing.check_pillar_encoder(PFNConfig(max_pillars=4000, **more))


def test_an_origin_belongs_to_offsets() -> None:
    with pytest.raises(
        ValueError, match=r"origin_m: found \[1.0, 0.0, 0.0\] with coordinates pillar; accepted: .*offsets"
    ):
        PFNConfig(origin_m=(1, 0, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "efficientnet_bifpn", "range": 40.0}, r"stride 32 on a BEV grid of 64 x 50 cells; accepted: .* a "
         r"grid of 64 x 32 or 64 x 64 cells"),
        ({"type": "efficientnet_bifpn", "range": 25.6}, r"64 x 32 cells, which leaves less than 2 x 2; accepted: .* at "
         r"least 64 x 64"),
        ({"type": "fpn_lss", "range": 40.0}, r"stride 8 on a BEV grid of 64 x 50 cells; .* 64 x 48 or 64 x 56"),
        ({"type": "fpn_lss", "channels": [8]}, r"found 1 channels and 3 blocks; accepted: as many of each, at least 2"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    encoder = dict(changes)
    reach = encoder.pop("range", 51.2)
    with pytest.raises(ValidationError, match=message):
        tiny(bev={"x_range_m": [-reach, reach]}, lidar=None, heads={"occupancy": None}, bev_encoder=encoder)
