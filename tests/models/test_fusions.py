"""Fusions against plain float64 loops; modality drop-out in training, and never elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bevlite.models.detector import Detector
from bevlite.models.fusion.add import AddFusionConfig
from bevlite.models.fusion.conv import ConvFusionConfig
from bevlite.models.fusion.dynamic import DynamicFusionConfig
from bevlite.models.modality import drop_streams
from bevlite.registry import FUSIONS
from tests.models.plain import array, convolved, normed
from tests.models.test_detector import inputs
from tests.tiny import lidar_only, live, tiny


def two_maps() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, width, 6, 5, dtype=torch.float64) for width in (3, 4)]


def block(x: np.ndarray, sequence: Any) -> np.ndarray:
    """Convolution, batch norm, ReLU."""
    return np.maximum(normed(convolved(x, sequence[0]), sequence[1]), 0)


def test_dynamic_and_conv_against_a_loop() -> None:
    given = two_maps()
    both = np.concatenate([array(one[0]) for one in given])
    conv: Any = live(ConvFusionConfig(channels=5).build([3, 4])).double()
    np.testing.assert_allclose(array(conv(given))[0], block(both, conv.mix), atol=1e-12)
    dynamic: Any = live(DynamicFusionConfig(channels=5).build([3, 4])).double()
    mixed = block(both, dynamic.mix)
    mean = mixed.mean(axis=(1, 2)).astype(np.float32).astype(np.float64)
    gate = array(dynamic.gate.weight)[:, :, 0, 0] @ mean + array(dynamic.gate.bias)
    expected = mixed / (1 + np.exp(-gate))[:, None, None]
    np.testing.assert_allclose(array(dynamic(given))[0], expected, atol=1e-6)  # the mean is taken in FP32


@pytest.mark.parametrize("kernel", [1, 3])
def test_add_against_a_loop(kernel: Any) -> None:
    network: Any = live(AddFusionConfig(channels=5, kernel=kernel).build([3, 4])).double()
    given = two_maps()
    expected = sum(block(array(one[0]), p) for one, p in zip(given, network.projections, strict=True))
    np.testing.assert_allclose(array(network(given))[0], expected, atol=1e-12)


def test_one_stream_a_sample_is_zero_and_never_both() -> None:
    maps = [torch.full((4000, 2, 3, 2), float("inf")), torch.ones(4000, 3, 3, 2)]
    torch.manual_seed(3)
    dropped = drop_streams(maps, 0.3)
    gone = torch.stack([(one == 0).flatten(1).all(dim=1) for one in dropped], dim=1)
    for one, before, lost in zip(dropped, maps, gone.T, strict=True):
        assert torch.equal(one[~lost], before[~lost])  # a sample's map is zero as a whole, or as it was
    assert not gone.all(dim=1).any()
    # Four standard deviations of a share of 4000 draws.
    assert gone.any(dim=1).float().mean() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)
    assert gone[:, 0].float().mean() == pytest.approx(0.15, abs=4 * (0.15 * 0.85 / 4000) ** 0.5)
    torch.manual_seed(3)
    again = drop_streams(maps, 0.3)
    assert all(torch.equal(a, b) for a, b in zip(dropped, again, strict=True))
    assert torch.equal(drop_streams(maps[1:], 1.0)[0], maps[1])  # a single stream is all there is


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS.members if kind != "none"])
def test_every_fusion_loses_a_stream_in_training_alone(kind: str) -> None:
    variant = tiny(fusion={"type": kind, "modality_dropout": 1.0}, camera={"images": {"height": 32, "width": 64}})
    heads = live(Detector(variant)).fusion_heads
    widths = (8, 24)
    seen: list[list[torch.Tensor]] = []
    heads.fusion.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    maps = [torch.ones(2, width, 64, 64) for width in widths]
    with torch.no_grad():
        heads(maps, {})
        heads.train()(maps, {})
    assert all(one.all() for one in seen[0])
    for i in range(2):
        assert sorted(float(one[i].mean()) for one in seen[1]) == [0.0, 1.0]


def test_no_fusion_is_for_one_sensor() -> None:
    alone = Detector(lidar_only(fusion={"type": "none"}, bev_encoder={"type": "none"}))
    one = torch.randn(1, 24, 4, 4)
    assert torch.equal(alone.fusion_heads.bev_encoder(alone.fusion_heads.fusion([one])), one)
    others = ", ".join(sorted(set(FUSIONS.members) - {"none"}))
    with pytest.raises(ValueError, match=f"fusion.type: found none in a network of 2 sensors; accepted: {others}"):
        tiny(fusion={"type": "none"})


def test_what_is_exported_does_not_know_of_it() -> None:
    given = inputs(tiny())
    torch.manual_seed(0)
    plain = live(Detector(tiny()))
    dropping = live(Detector(tiny(fusion={"modality_dropout": 0.5})))
    dropping.load_state_dict(plain.state_dict())
    with torch.no_grad():
        found, wanted = dropping(given), plain(given)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_its_bounds_and_identity() -> None:
    # Networks without it are those that they were before there was any: their runs go on.
    assert tiny(fusion={"modality_dropout": 0.0}).network_hash == tiny().network_hash
    assert tiny(fusion={"modality_dropout": 0.2}).network_hash != tiny().network_hash
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        tiny(fusion={"modality_dropout": 1.1})
    with pytest.raises(ValidationError, match=r"modality_dropout: found 0\.2 in a network of one sensor; accepted: 0"):
        tiny(lidar=None, fusion={"modality_dropout": 0.2})
