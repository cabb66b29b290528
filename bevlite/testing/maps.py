"""Contract tests of parts that take maps and give maps."""

from __future__ import annotations

from typing import get_args

import torch

from bevlite.models.contracts import (
    Backbone,
    BackboneConfig,
    BEVEncoderConfig,
    FeatureInfo,
    FusionConfig,
    MapBackboneConfig,
    MapNeckConfig,
    Neck,
    NeckConfig,
)
from bevlite.testing.expect import IMAGE, PYRAMID, expect, expect_equal, expect_learns, shapes


def check_backbone(config: BackboneConfig) -> None:
    """A camera backbone: a map for each of its strides, finest first, of the channels that it says."""
    network = config.build()
    expect(isinstance(network, Backbone), config, "build() gives no Backbone")
    expect_equal(tuple(i.stride for i in network.feature_info), tuple(config.strides), config, "strides")
    expect_equal(sorted(config.strides), list(config.strides), config, "order of strides")
    maps = network(torch.randn(2, 3, *IMAGE))
    wanted = [(2, c, IMAGE[0] // s, IMAGE[1] // s) for c, s in network.feature_info]
    expect_equal(shapes(maps), wanted, config, "shapes of the maps")
    expect_learns(network, list(maps), config)


def check_neck(config: NeckConfig) -> None:
    """A neck: one map of its channels, at every `out_stride` that its configuration and its check accept."""
    known = get_args(type(config).model_fields["out_stride"].annotation) or (config.out_stride,)
    accepted = [config.model_copy(update={"channels": 24, "out_stride": stride}) for stride in known]
    accepted = [changed for changed in accepted if _takes_the_pyramid(changed)]
    expect(accepted, config, f"refuses every out_stride of {known} on maps of strides 4 to 32")
    for changed in accepted:
        stride = changed.out_stride
        network = changed.build(list(PYRAMID))
        expect(isinstance(network, Neck), config, "build() gives no Neck")
        out = network([torch.randn(2, c, IMAGE[0] // s, IMAGE[1] // s) for c, s in PYRAMID])
        wanted = (2, 24, IMAGE[0] // stride, IMAGE[1] // stride)
        expect_equal(tuple(out.shape), wanted, config, f"shape at stride {stride}")
        expect_learns(network, [out], config)


def _takes_the_pyramid(config: NeckConfig) -> bool:
    try:
        config.check([info.stride for info in PYRAMID], *IMAGE)
    except ValueError:
        return False
    return True


def check_lidar_backbone(config: MapBackboneConfig) -> None:
    """A 2D backbone over the canvas: a map for each of its strides, of the channels that it says."""
    network = config.build(9)
    info: list[FeatureInfo] = network.feature_info  # type: ignore[assignment]
    expect_equal(tuple(i.stride for i in info), tuple(config.cumulative_strides), config, "strides")
    maps = network(torch.randn(2, 9, 32, 64))
    expect_equal(shapes(maps), [(2, c, 32 // s, 64 // s) for c, s in info], config, "shapes of the maps")
    expect_learns(network, list(maps), config)


def check_lidar_neck(config: MapNeckConfig) -> None:
    """A neck over the canvas: one map at every stride that it says it reaches."""
    info = [FeatureInfo(6, 2), FeatureInfo(8, 4), FeatureInfo(10, 8)]
    reached = config.possible_strides([i.stride for i in info])
    expect(len(reached), config, "possible_strides() names none")
    for stride in reached:
        network = config.build(info, stride)
        out = network([torch.randn(2, c, 64 // s, 32 // s) for c, s in info])
        wanted = (2, network.out_channels, round(64 / stride), round(32 / stride))
        expect_equal(tuple(out.shape), wanted, config, f"shape at stride {stride:g}")
        expect_learns(network, [out], config)


def check_fusion(config: FusionConfig) -> None:
    """A fusion: one map of its channels, from one stream, and from two unless it refuses them."""
    for widths in ([5], [5, 7]):
        try:
            config.check(len(widths))
        except ValueError:
            expect(len(widths) == 2, config, "refuses a single stream")
            continue
        network = config.build(widths)
        out = network([torch.randn(2, w, 16, 12, requires_grad=True) for w in widths])
        expect_equal(
            tuple(out.shape), (2, config.out_channels(widths), 16, 12), config, f"shape from {len(widths)} streams"
        )
        expect_learns(network, [out], config)


def check_bev_encoder(config: BEVEncoderConfig) -> None:
    """A BEV encoder without a past: a map of `out_channels` on the same grid, which `total_stride` divides."""
    network = config.build(5)
    size = (2 * config.total_stride, 4 * config.total_stride)
    out = network(torch.randn(2, 5, *size, requires_grad=True))
    expect_equal(tuple(out.shape), (2, network.out_channels, *size), config, "shape")
    expect_learns(network, [out], config)
