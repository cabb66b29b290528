"""The camera-free transformer: layers against torch's own attention, counts against published ones, heights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bevlite.data.augment import image_warp
from bevlite.grid import BEVGrid
from bevlite.losses.heights import height_loss, height_targets
from bevlite.models.attention import Attention
from bevlite.models.auxiliary import collected
from bevlite.models.view_transforms.cft import (
    CFTConfig,
    DecoderLayer,
    EncoderLayer,
    along,
    bearing_and_range,
    sine_embedding,
)
from bevlite.training.loop import augmentation_of
from bevlite.training.recipe import Recipe
from tests.tiny import tiny

SMALL = CFTConfig(channels=8, embed=32, heads=4, feed_forward=64, dropout=0.0)


def by_torch(attention: Attention) -> nn.MultiheadAttention:
    """torch's attention with the same weights."""
    embed = attention.query.out_features
    other = nn.MultiheadAttention(embed, attention.heads, batch_first=True).double()
    parts = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        other.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        other.out_proj.weight.copy_(attention.out.weight)
        other.out_proj.bias.copy_(attention.out.bias)
    return other.eval()


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    own = Attention(32, 4).double().eval()
    query, key, value = (torch.randn(2, n, 32, dtype=torch.float64) for n in (7, 11, 11))
    wanted, _ = by_torch(own)(query, key, value)
    torch.testing.assert_close(own(query, key, value), wanted)


def test_an_encoder_layer_attends_within_each_camera() -> None:
    torch.manual_seed(1)
    layer = EncoderLayer(SMALL).double().eval()
    tokens, position = torch.randn(2, 3, 5, 32, dtype=torch.float64), torch.randn(3, 5, 32, dtype=torch.float64)
    found = layer(tokens, position)
    attention = by_torch(layer.attention)
    for sample in range(2):
        for camera in range(3):
            x = layer.norm(tokens[sample, camera])[None]
            placed = x + position[camera]
            x = layer.norm2(x + attention(placed, placed, x)[0])
            torch.testing.assert_close(found[sample, camera], (x + layer.feed_forward(x))[0])


@pytest.mark.parametrize("first", [True, False])
def test_a_decoder_layer_refines_the_height_of_all_but_the_first(first: bool) -> None:
    torch.manual_seed(2)
    layer = DecoderLayer(SMALL, first=first).double().eval()
    target, memory = torch.randn(1, 6, 32, dtype=torch.float64), torch.randn(1, 9, 32, dtype=torch.float64)
    keys, position, height = (torch.randn(n, 32, dtype=torch.float64) for n in (9, 6, 6))
    found, refined = layer(target, memory, keys, position, height)
    wanted_height = position + (height if first else height * layer.refine(target))  # type: ignore[misc]
    query = target + position + wanted_height
    x = layer.norm(target + by_torch(layer.attention)(query, memory + keys, memory)[0])
    torch.testing.assert_close(found, layer.norm2(x + layer.feed_forward(x)))
    torch.testing.assert_close(refined.expand_as(target), wanted_height.expand_as(target))


def test_multiply_adds_of_a_decoder_layer() -> None:
    """4,096 queries and 264 keys: feed-forward 4.3 G, projections and scores 0.55 G each (published counts)."""
    layer = DecoderLayer(CFTConfig(), first=True).to("meta").requires_grad_(False)
    shapes = ((1, 4096, 256), (1, 264, 256), (264, 256), (4096, 256), (4096, 256))
    with FlopCounterMode(display=False) as counter:
        layer(*(torch.empty(shape, device="meta") for shape in shapes))
    assert counter.get_total_flops() / 2 == pytest.approx(5.4e9, rel=0.02)


def test_positions_start_alike_where_they_are_near() -> None:
    """So that what one query learns serves its neighbours; bearings close behind the car, whatever the grid covers."""
    line = along(70, 64, 25)
    likeness = torch.nn.functional.cosine_similarity(line[:1], line[:64], dim=1)
    assert line.shape == (70, 25) and (likeness[:4].diff() < 0).all() and likeness[1] > 0.8 > 0.5 > likeness[8:].max()
    bev = BEVGrid(x_range_m=(-30.0, 10.0), y_range_m=(-20.0, 20.0), cell_m=1.0)
    codes = bearing_and_range(bev, (20, 20), 32).unflatten(0, (20, 20))
    bearing, far = codes[..., :16], codes[..., 16:]
    x, y = -30 + 2 * torch.arange(20) + 1.0, -20 + 2 * torch.arange(20) + 1.0
    torch.testing.assert_close(bearing[12, 3, 0], (torch.atan2(y[12], x[3])).sin())
    torch.testing.assert_close(far[12, 3, 0], (torch.hypot(x[3], y[12]) / math.hypot(29, 19) * math.pi / 2).sin())
    behind = torch.nn.functional.cosine_similarity(bearing[9], bearing[10], dim=1)  # 1 m to either side of the axis
    assert behind[0] > 0.8  # 29 m behind the car, where the angle jumps from pi to -pi


def test_sine_embedding() -> None:
    heights = torch.tensor([[-5.0], [1.0], [3.0]], dtype=torch.float64)
    found = sine_embedding(heights, (-5.0, 3.0), 8)
    for row, height in enumerate((-5.0, 1.0, 3.0)):
        for channel in range(8):
            angle = height * 2 * math.pi / 8 / 100 ** (2 * (channel // 2) / 8)
            assert float(found[row, channel]) == pytest.approx(math.cos(angle) if channel % 2 else math.sin(angle))


def test_heights_of_boxes() -> None:
    bev = BEVGrid(x_range_m=(-16, 16), y_range_m=(-16, 16), cell_m=1.0)
    boxes = torch.zeros(1, 3, 9)
    boxes[0, 0] = torch.tensor([4.0, -3.0, 0.5, 12.0, 2.0, 1.5, 0.6, 0, 0])
    boxes[0, 1] = torch.tensor([-8.0, 8.0, 1.5, 0.4, 0.4, 1.7, 0.0, 0, 0])
    heights, there = height_targets(boxes, bev)
    for iy in range(32):
        for ix in range(32):
            x, y = -15.5 + ix, -15.5 + iy
            wanted = 0.0
            for box in boxes[0, :2].numpy():
                dx, dy = x - box[0], y - box[1]
                ahead, left = dx * np.cos(box[6]) + dy * np.sin(box[6]), -dx * np.sin(box[6]) + dy * np.cos(box[6])
                if (abs(ahead) <= box[3] / 2 and abs(left) <= box[4] / 2) or dx**2 + dy**2 <= 9:
                    wanted = float(box[2])
            assert float(heights[0, 0, iy, ix]) == pytest.approx(wanted)
            assert bool(there[0, 0, iy, ix]) == (wanted != 0)
    assert float(height_loss(heights, boxes, bev)) == 0.0
    assert float(height_loss(heights + 1, boxes, bev)) == pytest.approx(0.5)
    assert float(height_loss(heights + 1, boxes * 0, bev)) == 0.0  # no box: nothing to learn


def test_no_calibration_enters() -> None:
    network = SMALL.build(4, 16, (64, 192), 6, BEVGrid(cell_m=1.6))
    assert network.host.inputs == () and [spec.shape for spec in network.prepared] == [(6, 4 * 12, 32)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"positions": 8},
            r"camera\.view_transform\.positions: found 8 for 4 x 12 tokens a camera; accepted: 12 or more",
        ),
        ({"query_stride": 8, "embed": 32, "heads": 4}, ""),
        ({"embed": 100, "heads": 8}, "embed: found 100 with 8 heads; accepted: such as 96"),
        ({"z_range_m": [3, -5]}, "accepted: low < high"),
        ({"dropout": 1.0}, "less than 1"),
    ],
)
def test_what_cannot_work_is_refused_when_the_variant_is_read(change: dict[str, object], said: str) -> None:
    content = tiny().model_dump(mode="json")
    content["camera"]["view_transform"] = {"type": "cft", "channels": 8, **change}
    if not said:
        camera = type(tiny()).model_validate(content).camera
        assert camera is not None and camera.view_transform.type == "cft"
        return
    with pytest.raises(ValidationError, match=said):
        type(tiny()).model_validate(content)


@pytest.mark.parametrize(
    ("matrix", "moved"),
    [
        ([[0, -1], [1, 0]], lambda bev: torch.rot90(bev, -1, (2, 3))),  # x to y: rows are y, columns x
        ([[-1, 0], [0, 1]], lambda bev: bev.flip(3)),
        ([[0, 1], [1, 0]], lambda bev: bev.transpose(2, 3)),
        ([[1, 0], [0, 1]], lambda bev: bev),
    ],
)
def test_in_training_the_map_follows_the_augmentation_that_the_network_cannot_see(matrix: list, moved: Any) -> None:
    torch.manual_seed(3)
    bev = BEVGrid(x_range_m=(-8.0, 8.0), y_range_m=(-8.0, 8.0), cell_m=1.0)
    part = SMALL.build(16, 32, (64, 96), 2, bev)
    features = torch.randn(2, 16, 2, 3)
    full = torch.eye(4)
    full[:2, :2] = torch.tensor(matrix, dtype=torch.float32)
    with collected() as plain:
        seen = part.eval()(features, {})
    with collected() as turned:
        found = part.train()(features, {"bev_augmentation": full[None]})
    torch.testing.assert_close(found, moved(seen), rtol=1e-4, atol=1e-5)
    assert turned["attention"].shape == (1, 64, 12)  # queries, tokens of both cameras
    torch.testing.assert_close(turned["attention"].sum(-1), torch.ones(1, 64))
    heights = moved(plain["reference_height"])
    torch.testing.assert_close(turned["reference_height"], heights, rtol=1e-4, atol=1e-5)


def test_a_scale_moves_what_is_seen_outwards_and_up() -> None:
    torch.manual_seed(4)
    bev = BEVGrid(x_range_m=(-8.0, 8.0), y_range_m=(-8.0, 8.0), cell_m=1.0)
    part = SMALL.build(16, 32, (64, 96), 2, bev)
    features = torch.randn(2, 16, 2, 3)
    with collected() as plain:
        seen = part.eval()(features, {})
    with collected() as grown:
        found = part.train()(features, {"bev_augmentation": torch.diag(torch.tensor([2.0, 2, 2, 1]))[None]})
    # Twice as large: the outermost quarter of a map is what was half as far out, 0.25 cells off its centres.
    half = torch.nn.functional.interpolate(seen[:, :, 4:12, 4:12], scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], half[:, :, 1:-1, 1:-1], rtol=1e-4, atol=1e-5)
    expected = 2 * plain["reference_height"][:, :, 4:12, 4:12].mean().item()
    assert grown["reference_height"].mean().item() == pytest.approx(expected, rel=0.05)


def test_images_of_a_network_without_calibration_are_not_warped() -> None:
    recipe = Recipe()
    cft = {"type": "cft", "channels": 16, "embed": 32, "heads": 4}
    told, untold = tiny(), tiny(camera={"view_transform": cft})
    assert augmentation_of(told, recipe) == recipe.augmentation
    given = augmentation_of(untold, recipe)
    assert given.bev == recipe.augmentation.bev
    assert given.image is not None
    warp = image_warp((90, 160), (64, 160), given.image, np.random.default_rng(0))
    assert replace(warp, gain=1.0) == image_warp((90, 160), (64, 160))
