"""Where Q/DQ stand: products, batch norms, skip branches and shared scales, of networks whose layers are known."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import nn

from bevlite.errors import ConfigError
from bevlite.models.detector import Detector
from bevlite.models.quantization.placement import SKIP, Placement, placement
from bevlite.models.quantization.plan import in_int8, is_resolved
from bevlite.variant import Variant, load_variant
from tests.tiny import lidar_only

VARIANTS = Path(__file__).resolve().parents[3] / "configs" / "variants"


@lru_cache(maxsize=4)
def placed(name: str) -> tuple[Variant, Placement]:
    variant = load_variant(VARIANTS / f"{name}.yaml")
    return variant, placement(variant)


def test_every_layer_that_multiplies_is_a_product() -> None:
    variant, places = placed("cuda-bevfusion-r50")
    with torch.device("meta"):
        network = Detector(variant)
    kinds = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    layers = {path for path, layer in network.named_modules() if isinstance(layer, kinds)}
    assert set(places.products) == layers


def test_batch_norms_and_skip_branches_of_resnet50() -> None:
    """timm's bottlenecks: a norm behind each convolution; the last one added to what the block took, or to what its
    downsampling made of it."""
    _, places = placed("cuda-bevfusion-r50")
    body = {path: one for path, one in places.products.items() if path.startswith("camera.backbone.body.layer")}
    assert len(body) == 52 and all(one.norm for one in body.values())
    assert body["camera.backbone.body.layer1.0.conv2"].norm == "camera.backbone.body.layer1.0.bn2"
    skips = {path for path, one in body.items() if one.skip}
    assert len(skips) == 16  # one a bottleneck
    plain = {f"camera.backbone.body.layer{i}.{j}.conv3" for i, n in enumerate((3, 4, 6, 3), 1) for j in range(1, n)}
    assert plain <= skips and all(path.endswith(".0.downsample.0") for path in skips - plain)


def test_who_reads_one_tensor_shares_a_scale() -> None:
    """A block's first convolution and the addition at its end read the same values; so does what is joined, and
    pooled."""
    _, places = placed("cuda-bevfusion-r50")
    layers = {path for path, one in places.products.items() if not one.floats}
    groups = {point: group for group in places.scales(layers) for point in group}
    block = "camera.backbone.body.layer2.1"
    assert groups[f"{block}.conv1"] == (f"{block}.conv1", f"{block}.conv3{SKIP}")
    for first in ("camera.backbone.body.layer1.0.conv1", "camera.backbone.body.layer3.0.conv1"):
        assert {first, first.replace("conv1", "downsample.0")} <= set(groups[first])
    # What the neck joins is also what the next stage takes: one scale for all of them.
    assert groups["camera.backbone.body.layer3.0.conv1"] == groups["camera.neck.blocks.1.0.0"]
    assert sorted(point for group in places.scales(layers) for point in group) == sorted(places.points(layers))
    assert len(places.scales({"camera.neck.lateral"})) == 0  # of layers that are not there


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("bevfusion-swint", "camera.backbone.layers.0.blocks.0.attn.qkv", "part of attention"),
        ("bevfusion-swint", "camera.backbone.layers.3.blocks.1.attn.proj", "part of attention"),
        ("bevfusion-swint", "camera.backbone.layers.0.blocks.0.mlp.fc1", ""),
        ("bevfusion-swint", "fusion_heads.heads.detection.layers.0.feed_forward.0", "queries that were selected"),
        ("bevfusion-swint", "view_transform.depth_net.2", "feeds a softmax"),
        ("bevfusion-swint", "lidar.neck.blocks.2.0", "transposed"),
        ("bevfusion-swint", "lidar.backbone.stages.0.0.0", ""),
        ("bevfusion-swint", "fusion_heads.heads.map_segmentation.convs.1.0", "gives an output"),
        ("cuda-bevfusion-r50", "camera.backbone.body.conv1", "fewer than 16 channels"),
        ("horizon-bevfusion-henet", "view_transform.layers.0.spatial.offsets", "attention"),
        ("horizon-bevfusion-henet", "camera.backbone.stages.0.0.mix", "in groups"),
        ("horizon-bevfusion-henet", "fusion_heads.fusion.gate", "one vector"),
    ],
)  # fmt: skip
def test_what_is_better_left_in_fp16(name: str, layer: str, reason: str) -> None:
    found = placed(name)[1].products[layer].floats
    assert reason in found and bool(reason) == bool(found)


def test_a_plan_names_every_layer_the_shortest_way() -> None:
    variant, places = placed("bevfusion-swint")
    planned = in_int8(variant, {})
    of = planned.compression.precision_of
    assert is_resolved(planned) and not is_resolved(variant)
    assert {path for path in places.products if of(path) == "int8"} == {
        path for path, one in places.products.items() if not one.floats
    }
    assert planned.compression.precision["camera.backbone.layers.0.blocks.0.attn"] == "fp16"
    assert planned.network_hash == variant.network_hash and planned.hash != variant.hash
    assert in_int8(planned, {}) == planned
    # As it was asked for: one module, and a layer in it whatever the rules say.
    layer = "camera.backbone.body.conv1"
    half = in_int8(placed("cuda-bevfusion-r50")[0], {"camera": "int8", layer: "int8"})
    assert half.compression.precision_of(layer) == "int8"
    assert half.precision == {"camera": "int8", "view_transform": "fp16", "lidar": "fp16", "fusion_heads": "fp16"}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"radar": "int8"}, "found 'radar', which no module or layer answers to; accepted: lidar, fusion_heads"),
        ({"lidar": "int4"}, "lidar: found 'int4'; accepted: fp32, fp16, int8"),
        ({"lidar": "fp16", "fusion_heads": "fp16"}, "found no layer for INT8"),
    ],
)
def test_a_plan_that_cannot_be(wanted: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        in_int8(lidar_only(), wanted)
