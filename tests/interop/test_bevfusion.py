"""BEVFusion: camera stream, fuser, decoder and heads in plain torch give what our network gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.account import Account
from bevlite.interop.forms.mit_bevfusion import MITBEVFusion
from bevlite.interop.importing import fill, variant_for
from bevlite.interop.keymap import KeyMap
from bevlite.models.detector import Detector
from bevlite.variant import Variant
from tests.interop.plain import heading, lwh, settled
from tests.interop.plain_bevfusion import BEVFusion

LIDAR_M = (0.94, 0.0, 1.84)
SMALL = ["bev.x_range_m=[-6.26,8.14]", "bev.y_range_m=[-7.2,7.2]"]
VIEW = "encoders.camera.vtransform"
LIKE_SPARSE = ["lidar.backbone.channels=[64,128]", "lidar.backbone.layers=[3,5]", "lidar.backbone.strides=[2,2]"]
"""A LiDAR stream with as many channels as the sparse encoder has: the fuser then fits whole."""


def filled(theirs: BEVFusion, overrides: list[str]) -> tuple[Detector, Variant, Account]:
    form = MITBEVFusion(theirs.state_dict(), LIDAR_M)
    variant = variant_for(form, overrides=overrides)
    weights, account = fill(form, variant)
    ours = Detector(variant).eval()
    ours.load_state_dict(weights)
    return ours, variant, account


@torch.no_grad()
def test_from_images_to_queries() -> None:
    theirs = settled(BEVFusion())
    assert isinstance(theirs, BEVFusion)
    ours, variant, account = filled(theirs, SMALL + LIKE_SPARSE)
    assert ours.camera is not None and ours.view_transform is not None
    reasons = account.ours.by_reason()
    assert {module for module, _ in reasons} == {"camera.backbone", "lidar.pillars", "lidar.backbone", "lidar.neck"}
    camera = theirs.encoders["camera"]
    images = torch.randint(0, 256, (1, 1, 3, 256, 256), dtype=torch.uint8)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images[0] / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    expected = camera["neck"](camera["backbone"](normalised))  # type: ignore[index]
    features = ours.camera(images)
    torch.testing.assert_close(features, expected, atol=2e-3, rtol=1e-3)
    lidar = torch.rand(1, 1, 256, 256) * 60
    logits = camera["vtransform"](features, lidar)  # type: ignore[index]
    depth, context = ours.view_transform.lifted(ours.view_transform.joined(features, lidar))  # type: ignore[operator]
    torch.testing.assert_close(depth, logits[:, :118].softmax(dim=1), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(context, logits[:, 118:], atol=2e-3, rtol=1e-3)

    pooled = torch.randn(1, 80, 48, 48)
    halved = camera["vtransform"].downsample(pooled)  # type: ignore[index,union-attr]
    torch.testing.assert_close(ours.view_transform.halving(pooled), halved, atol=1e-3, rtol=1e-3)  # type: ignore[operator]
    maps = torch.randn(1, 80, 24, 24), torch.randn(1, 256, 24, 24)  # (their x, their y), which is our (y, x)
    found = theirs.heads["object"](theirs.encoded(*maps))
    outputs = ours.fusion_heads(list(maps), {})[1]
    torch.testing.assert_close(outputs["heatmap"], found["dense"], atol=1e-3, rtol=1e-3)
    _same_queries(outputs["query_boxes"][0, 0], found)
    assert variant.bev.x_range_m == (-6.26, 8.14)


def _same_queries(columns: Tensor, found: dict[str, Tensor]) -> None:
    # Near ties stand in either order, and the last may be another: queries are paired by class and cell.
    numbers = {int(number): i for i, number in enumerate(found["number"][0])}
    own = [int(number) for number in columns[0] * 576 + columns[2] * 24 + columns[1]]
    common = [i for i, number in enumerate(own) if number in numbers]
    assert len(common) > 195
    columns = columns[:, common]
    found = {name: value[:, [numbers[own[i]] for i in common]] for name, value in found.items() if name != "dense"}
    _, x, y, heat = columns[:4]
    logits, (dx, dy, z), size, (sine, cosine), velocity = columns[4:].split([10, 3, 3, 2, 2])
    torch.testing.assert_close(heat, found["heat"][0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(torch.stack([y + dy, x + dx]), found["center"], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(logits, found["heatmap"], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(z, found["height"][0] + 1.84, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(size, lwh(found["dim"], older=True), atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(velocity, found["vel"].flip(0), atol=1e-2, rtol=1e-3)
    length = torch.hypot(sine, cosine)
    angle, expected = torch.stack([sine, cosine]) / length, heading(*found["rot"], older=True)  # our y is their x
    assert (length > 0.1).sum() > 100
    torch.testing.assert_close(angle[:, length > 0.1], expected[:, length > 0.1], atol=5e-2, rtol=0)


@torch.no_grad()
def test_resnet_and_map_segmentation() -> None:
    """CUDA-BEVFusion's backbone; the network of the map has an LSS without points, on cells of 0.8 m.

    A variant that pools on its grid directly has no use for the three convolutions behind the pooling.
    """
    theirs = settled(BEVFusion("resnet", "map"))
    assert isinstance(theirs, BEVFusion)
    ours, variant, account = filled(theirs, ["camera.view_transform.halved=false"])
    left = {module: count for (module, _), (_, count) in account.theirs.by_reason().items()}
    assert left[VIEW] == 3 * (80 * 80 * 9 + 2 * 80)
    assert variant.tasks == ("map_segmentation",) and variant.bev.cell_m == 0.8 and variant.lidar is not None
    assert variant.lidar.pillars.cell_m == 0.2 and variant.bev.x_range_m == (-50.26, 52.14)
    assert variant.camera is not None and variant.camera.view_transform.type == "lss"
    assert variant.camera.backbone.type == "resnet"
    head = ours.fusion_heads.heads["map_segmentation"]
    given = torch.randn(1, 512, 12, 10)
    expected = theirs.heads["map"]["classifier"](given)  # type: ignore[index]
    torch.testing.assert_close(head.predict(head.convs(given)), expected, atol=1e-3, rtol=1e-3)
    taken = account.theirs.by_module()
    assert taken["heads.map"][0] == taken["heads.map"][1] and taken["encoders.lidar.backbone"][1] == 0


def test_what_is_taken_of_the_published_networks() -> None:
    """Of Swin-T's all but the sparse encoder (2.7 M) and its share of the fuser is taken."""
    form = MITBEVFusion(BEVFusion().state_dict(), LIDAR_M)
    variant = variant_for(form)
    _, account = fill(form, variant)
    modules = account.theirs.by_module()
    total = sum(count for count, _ in modules.values())
    swin = 28_288_354 - (768 * 1000 + 1000) + 2 * (192 + 384)  # as published, without its classifier, two norms more
    assert modules["encoders.camera.backbone"] == (swin, swin)
    left = {module: count for (module, _), (_, count) in account.theirs.by_reason().items() if count}
    assert left == {"encoders.lidar.backbone": pytest.approx(2.7e6, rel=0.01), "fuser": 256 * 256 * 9}
    assert account.theirs.share == pytest.approx(1 - sum(left.values()) / total)
    assert variant.camera is not None and variant.camera.view_transform.depths_m[:2] == (1.0, 1.5)
    assert len(variant.camera.view_transform.depths_m) == 118 and variant.tasks == ("detection",)
    assert variant.bev.x_range_m == (-53.06, 54.94) and variant.camera.view_transform.z_range_m == (-8.16, 11.84)
    # Of the fuser the camera's share, as our LiDAR map has 384 channels.
    name = "fusion_heads.fusion.mix.0.weight"
    assert account.ours.used[name] == 256 * 80 * 9 and "384 channels here and 256 there" in account.ours.reasons[name]


def test_another_backbone_is_named() -> None:
    form = MITBEVFusion(BEVFusion("resnet").state_dict(), LIDAR_M)
    variant = variant_for(form, overrides=["camera.backbone.type=swin"])
    with pytest.raises(BevliteError, match=r"camera.backbone: found swin, but the checkpoint has a resnet; accepted: "):
        form.plan(KeyMap(form.given, {}), variant)
