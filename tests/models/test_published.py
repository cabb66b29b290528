"""Parameters and MACs against published figures: a part that costs something else is another part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bevlite.analysis.cost import module_costs
from bevlite.grid import BEVGrid
from bevlite.models.backbones.efficientnet import EfficientNetConfig
from bevlite.models.backbones.efficientnet_lite import EfficientNetLiteConfig
from bevlite.models.backbones.henet import HENetTinyEConfig, HENetTinyMConfig
from bevlite.models.backbones.resnet import ResNetConfig
from bevlite.models.backbones.swin import SwinConfig
from bevlite.models.bev_encoders.efficientnet_bifpn import EfficientNetBiFPNConfig
from bevlite.models.bev_encoders.fpn_lss import FPNLSSConfig
from bevlite.models.contracts import FeatureInfo
from bevlite.models.fusion.conv import ConvFusionConfig
from bevlite.models.fusion.dynamic import DynamicFusionConfig
from bevlite.models.fusion.se import SEFusionConfig
from bevlite.models.heads.detection.centerpoint import CenterPointConfig
from bevlite.models.heads.map_segmentation.bevfusion import BEVFusionMapConfig
from bevlite.models.heads.occupancy.flashocc import FlashOccConfig
from bevlite.models.lidar.backbones.second import SECONDConfig
from bevlite.models.lidar.backbones.second_dw import SECONDDWConfig
from bevlite.models.lidar.necks.secfpn import SECFPNConfig
from bevlite.models.lidar.pillars.pfn import PFNConfig
from bevlite.models.necks.bifpn import BiFPN
from bevlite.models.necks.fpn import FPNConfig
from bevlite.models.necks.lss_fpn import LSSFPNConfig
from tests.tiny import tiny

BEV = BEVGrid()


def millions(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def gmacs(function: Any, *inputs: Any) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops() / 2e9


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def on_meta(build: Any) -> Any:
    with torch.device("meta"):
        return build().eval()


@pytest.mark.parametrize(("depth", "figure"), [(18, 11.18), (34, 21.28), (50, 23.5)])
def test_resnet(depth: Any, figure: float) -> None:
    network = on_meta(lambda: ResNetConfig(depth=depth).build())
    assert millions(network) == pytest.approx(figure, rel=0.02)
    if depth == 50:
        assert gmacs(network, meta(6, 3, 256, 704)) == pytest.approx(88.1, rel=0.02)


def test_henet_tinym() -> None:
    network = on_meta(lambda: HENetTinyMConfig().build())
    assert millions(network) == pytest.approx(7.22, rel=0.02)
    # With the published classifier: 1x1 to 1024 with bias and BN, then 1000 classes.
    assert millions(network) + (384 * 1024 + 1024 + 2048 + 1024 * 1000 + 1000) / 1e6 == pytest.approx(8.64, rel=0.02)
    assert gmacs(network, meta(1, 3, 224, 224)) == pytest.approx(0.95, rel=0.02)
    assert gmacs(network, meta(6, 3, 256, 704)) == pytest.approx(20.5, rel=0.02)


def test_henet_tinye() -> None:
    network = on_meta(lambda: HENetTinyEConfig().build())
    assert millions(network) == pytest.approx(7.06, rel=0.02)
    assert millions(network) + (384 * 1024 + 1024 + 2048 + 1024 * 1000 + 1000) / 1e6 == pytest.approx(8.49, rel=0.02)
    assert gmacs(network, meta(1, 3, 224, 224)) == pytest.approx(0.74, rel=0.02)


def test_swin() -> None:
    network = on_meta(lambda: SwinConfig().build())
    assert millions(network) == pytest.approx(27.5, rel=0.02)
    assert gmacs(network, meta(6, 3, 256, 704)) == pytest.approx(112, rel=0.02)  # windows at the border padded
    assert gmacs(network, meta(6, 3, 512, 960)) == pytest.approx(281, rel=0.02)
    whole = on_meta(lambda: SwinConfig(window=(8, 11)).build())
    assert millions(whole) - millions(network) == pytest.approx(
        (15 * 21 - 13 * 13) * (2 * 3 + 2 * 6 + 6 * 12 + 2 * 24) / 1e6
    )


def with_classifier(network: nn.Module, last: int, wide: int) -> float:
    """Parameters with what follows the maps: 1x1 without bias and BN, then 1000 classes."""
    return millions(network) + (last * wide + 2 * wide + wide * 1000 + 1000) / 1e6


def test_efficientnet() -> None:
    network = on_meta(lambda: EfficientNetConfig().build())
    assert millions(network) == pytest.approx(10.1, rel=0.02)
    assert with_classifier(network, 384, 1536) == pytest.approx(12.2, rel=0.02)
    assert gmacs(network, meta(6, 3, 256, 704)) == pytest.approx(20.1, rel=0.02)
    plain = on_meta(lambda: EfficientNetConfig(se=False, activation="relu").build())
    assert millions(plain) == pytest.approx(8.2, rel=0.02)
    assert gmacs(plain, meta(6, 3, 512, 1408)) == pytest.approx(80.2, rel=0.02)
    assert with_classifier(on_meta(lambda: EfficientNetConfig(size="b0").build()), 320, 1280) == pytest.approx(
        5.29, rel=0.02
    )


@pytest.mark.parametrize(("size", "last", "figure"), [(0, 320, 4.7), (1, 320, 5.4), (2, 352, 6.1)])
def test_efficientnet_lite(size: Any, last: int, figure: float) -> None:
    """Published with the classifier (TensorFlow's efficientnet/lite)."""
    network = on_meta(lambda: EfficientNetLiteConfig(size=size).build())
    assert with_classifier(network, last, 1280) == pytest.approx(figure, rel=0.02)


def test_pointpillars() -> None:
    backbone = on_meta(lambda: SECONDConfig().build(64))
    neck = on_meta(lambda: SECFPNConfig().build(backbone.feature_info, 4))
    assert millions(backbone) + millions(neck) == pytest.approx(4.39, rel=0.02)
    assert gmacs(lambda x: neck(backbone(x)), meta(1, 64, 512, 512)) == pytest.approx(37.6, rel=0.02)


def test_se_fusion() -> None:
    network = on_meta(lambda: SEFusionConfig(channels=256).build([256, 384]))
    assert millions(network) == pytest.approx(0.82, rel=0.02)
    assert gmacs(network, [meta(1, 256, 128, 128), meta(1, 384, 128, 128)]) == pytest.approx(12.3, rel=0.02)


def test_centerpoint() -> None:
    config = CenterPointConfig()
    assert millions(on_meta(lambda: config.build(384, BEV))) == pytest.approx(1.60, rel=0.02)
    assert gmacs(on_meta(lambda: config.build(256, BEV)), meta(1, 256, 128, 128)) == pytest.approx(24.8, rel=0.02)


def test_fusions() -> None:
    dynamic = on_meta(lambda: DynamicFusionConfig(channels=384).build([256, 384]))
    assert millions(dynamic) == pytest.approx(2.36, rel=0.02)
    assert gmacs(dynamic, [meta(1, 256, 200, 200), meta(1, 384, 200, 200)]) == pytest.approx(88.5, rel=0.02)
    conv = on_meta(lambda: ConvFusionConfig(channels=256).build([80, 256]))
    assert millions(conv) == pytest.approx(0.77, rel=0.02)
    assert gmacs(conv, [meta(1, 80, 180, 180), meta(1, 256, 180, 180)]) == pytest.approx(25.1, rel=0.02)


def test_generalized_lss_fpn() -> None:
    """BEVFusion's, on a Swin-T; the view transform takes the map of stride 8."""
    swin = [FeatureInfo(192, 8), FeatureInfo(384, 16), FeatureInfo(768, 32)]
    network = on_meta(lambda: LSSFPNConfig(channels=256, out_stride=8).build(swin))
    assert millions(network) == pytest.approx(1.6, rel=0.02)


@pytest.mark.parametrize(
    ("channels", "parameters", "macs", "head_macs"), [(256, 44.7, 248.6, 34.7), (128, 39.9, 154.1, 10.2)]
)
def test_flashocc_networks(channels: int, parameters: float, macs: float, head_macs: float) -> None:
    """FlashOcc M1 and M0 whole: ResNet-50, CustomFPN, lift-splat of 88 depths, BEV encoder on 200 x 200 cells, head."""
    bev = BEVGrid(x_range_m=(-40, 40), y_range_m=(-40, 40), cell_m=0.4)
    info = [FeatureInfo(1024, 16), FeatureInfo(2048, 32)]
    deep = (meta(6, 1024, 16, 44), meta(6, 2048, 8, 22))
    head = on_meta(lambda: FlashOccConfig(channels=channels).build(channels, bev))
    assert gmacs(head, meta(1, channels, 200, 200)) == pytest.approx(head_macs, rel=0.02)
    parts: list[tuple[nn.Module, Any]] = [
        (on_meta(lambda: ResNetConfig(depth=50).build()), meta(6, 3, 256, 704)),
        (on_meta(lambda: FPNConfig(channels=256, out_stride=16).build(info)), deep),
        (on_meta(lambda: nn.Conv2d(256, 88 + 64, 1)), meta(6, 256, 16, 44)),
        (on_meta(lambda: FPNLSSConfig(out_channels=channels).build(64)), meta(1, 64, 200, 200)),
        (head, meta(1, channels, 200, 200)),
    ]
    assert sum(millions(part) for part, _ in parts) == pytest.approx(parameters, rel=0.02)
    assert sum(gmacs(part, given) for part, given in parts) == pytest.approx(macs, rel=0.02)


def test_flashocc_head_of_other_widths() -> None:
    bev = BEVGrid(x_range_m=(-40, 40), y_range_m=(-40, 40), cell_m=0.4)
    mixed = on_meta(lambda: FlashOccConfig(channels=128).build(256, bev))
    assert gmacs(mixed, meta(1, 256, 200, 200)) == pytest.approx(16.1, rel=0.02)


def test_efficientnet_bifpn() -> None:
    """Horizon's: the figures of its BiFPN are known to two digits and one, and are of all five outputs."""
    widths = [16, 24, 40, 112, 320]
    bifpn = on_meta(lambda: BiFPN(widths, 48, 5, 3, "sum"))
    assert millions(bifpn) == pytest.approx(0.12, abs=0.005)
    maps = [meta(1, width, 64 >> i, 64 >> i) for i, width in enumerate(widths)]
    assert gmacs(bifpn, maps) == pytest.approx(0.06, abs=0.005)
    # EfficientNet-Lite0 as published, with its classifier: 1x1 to 1280 with BN, then 1000 classes.
    body = on_meta(lambda: EfficientNetBiFPNConfig().build(3).body)
    classifier = 320 * 1280 + 2 * 1280 + 1281 * 1000
    assert millions(body) + classifier / 1e6 == pytest.approx(4.7, rel=0.02)
    # Its MACs are those of EfficientNet-B0 (0.39 G), whose gates cost next to none.
    cost = gmacs(body, meta(1, 3, 224, 224)) + (49 * 320 * 1280 + 1280 * 1000) / 1e9
    assert cost == pytest.approx(0.39, rel=0.02)


def test_classic_pillars() -> None:
    """PointPillars: ten numbers a point through one linear layer without bias, and its batch norm."""
    config = PFNConfig(coordinates="offsets")
    assert sum(p.numel() for p in config.build(BEV).parameters()) == 10 * 64 + 2 * 64


def test_second_dw() -> None:
    """By hand, layer by layer; an eighth of the dense form."""
    dense, light = (on_meta(lambda c=c: c.build(64)) for c in (SECONDConfig(), SECONDDWConfig()))
    pairs = [(64, 64)] * 4 + [(64, 128)] + [(128, 128)] * 5 + [(128, 256)] + [(256, 256)] * 5
    assert sum(p.numel() for p in light.parameters()) == sum(9 * a + a * b + 2 * b for a, b in pairs)
    assert millions(light) < millions(dense) / 8


def test_separable_centerpoint_by_branch() -> None:
    """Horizon's head, with a depthwise kernel for each branch."""
    config = CenterPointConfig(separable="by_branch")
    assert millions(on_meta(lambda: config.build(384, BEV))) == pytest.approx(0.246, rel=0.02)
    assert gmacs(on_meta(lambda: config.build(256, BEV)), meta(1, 256, 128, 128)) == pytest.approx(3.7, rel=0.02)


def test_separable_centerpoint() -> None:
    """Published: 0.246 M and 3.7 GMACs. Here the six branches of a task share one depthwise kernel, which saves."""
    shared = 9 * 384 + 384 * 64 + 2 * 64
    hidden = 9 * 64 + 64 * 64 + 2 * 64
    last = (9 * 64 + 1) * (10 + 60)
    assert shared + 36 * hidden + last == pytest.approx(0.246e6, rel=0.02)
    saved = 6 * 5 * 9 * 64
    config = CenterPointConfig(separable=True)
    network = on_meta(lambda: config.build(384, BEV))
    assert sum(p.numel() for p in network.parameters()) == shared + 36 * hidden + last - saved
    cost = gmacs(on_meta(lambda: config.build(256, BEV)), meta(1, 256, 128, 128))
    assert cost == pytest.approx(3.7 - saved * 128 * 128 / 1e9, rel=0.02)


@pytest.mark.parametrize(("channels", "parameters"), [(256, 0.87), (128, 0.25)])
def test_flashocc(channels: int, parameters: float) -> None:
    network = on_meta(lambda: FlashOccConfig(channels=channels).build(channels, BEV))
    assert millions(network) == pytest.approx(parameters, rel=0.02)


def test_map_head() -> None:
    head = on_meta(lambda: BEVFusionMapConfig(channels=512).build(512, BEV))
    assert millions(head) == pytest.approx(4.72, rel=0.005)


def test_costs_of_a_variant_are_those_of_its_network() -> None:
    from bevlite.models.detector import Detector

    variant = tiny()
    costs = {cost.name: cost for cost in module_costs(variant)}
    assert tuple(costs) == variant.modules
    network = Detector(variant)
    assert sum(c.parameters for c in costs.values()) == sum(p.numel() for p in network.parameters())
    # By hand: the pooling tree multiplies each of its R1 rows (1 x S) with (S x C).
    rows, chunk = network.view_transform.host.inputs[0].shape  # type: ignore[union-attr]
    assert costs["view_transform"].macs == rows * chunk * 8
    convolutions = [
        24 * (8 + 24), 9 * 24 * 24, 9 * 24 * 24,  # fusion 1x1, 3x3, first stage of the encoder
        24 * 16,  # its way back
        9 * 32 * 16, 9 * 16 * 16 * 6 * 6, 9 * 16 * (10 + 60),  # detection: shared, hidden, last
    ]  # fmt: skip
    half = [9 * 24 * 32, 9 * 32 * 32, 4 * 32 * 16]  # second stage at half the size; its transposed convolution
    gate = 24 * 24
    occupancy = 50 * 50 * 9 * 32 * 16 + 200 * 200 * (16 * 32 + 32 * 288)
    by_hand = 64 * 64 * sum(convolutions) + 32 * 32 * sum(half) + gate + occupancy
    assert costs["fusion_heads"].macs == by_hand
