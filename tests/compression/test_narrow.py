"""Networks with fewer channels by ratio: as text, and cut out of a trained one."""

from __future__ import annotations

import pytest
import torch

from bevlite.compression.narrow import narrowed, narrowed_weights
from bevlite.errors import BevliteError
from bevlite.models.attention import MultiHead
from bevlite.models.detector import Detector
from bevlite.registry import BACKBONES
from tests.models.test_widths import with_part
from tests.tiny import WIDE, lidar_only, live


def test_what_is_cut_out_is_what_the_text_builds() -> None:
    variant = lidar_only(lidar=WIDE)
    torch.manual_seed(0)
    network = live(Detector(variant))
    ratios = {"lidar.backbone": 0.5, "camera": 0.5}  # it has no camera
    child = narrowed(variant, ratios)
    left = narrowed_weights(variant, network.state_dict(), ratios, child)
    smaller = Detector(child).eval()
    smaller.load_state_dict(left)
    assert sum(w.numel() for w in left.values()) < sum(w.numel() for w in network.state_dict().values())
    name = "lidar.backbone.stages.0.0.0.weight"
    weight, kept = network.state_dict()[name], left[name]
    apart = [float((weight - row).abs().flatten(1).sum(1).min()) for row in kept]
    assert len(kept) == len(weight) // 2 and max(apart) == 0  # half of its filters, as they were


def test_heads_go_as_text_too() -> None:
    variant = with_part(BACKBONES, "camera.backbone", "swin")
    child = narrowed(variant, {"camera.backbone": 0.5})
    heads = [
        sum(layer.heads for layer in Detector(one).modules() if isinstance(layer, MultiHead))
        for one in (variant, child)
    ]
    assert heads[1] < heads[0]


def test_no_ratio_leaves_the_network_as_it_is() -> None:
    variant = lidar_only(lidar=WIDE)
    assert narrowed(variant, {"lidar": 0.0}).network_hash == variant.network_hash


def test_weights_of_another_network_are_refused() -> None:
    variant = lidar_only(lidar=WIDE)
    child = narrowed(variant, {"lidar.backbone": 0.5})
    weights = Detector(variant).state_dict()
    with pytest.raises(BevliteError, match=r"accepted: .*, which tiny-lidar is with these ratios"):
        narrowed_weights(variant, weights, {"lidar.backbone": 0.25}, child)
