"""Necks against plain float64 loops, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bevlite import testing
from bevlite.export.graph.emit import emit
from bevlite.export.graph.shapes import build, emit_shapes
from bevlite.latency.onnx.graph import strip_weights
from bevlite.models.contracts import FeatureInfo
from bevlite.models.detector import Detector
from bevlite.models.modules import modules_of
from bevlite.models.necks.bifpn import BiFPN, BiFPNConfig
from bevlite.models.necks.fast_scnn import FastSCNNConfig
from bevlite.models.necks.fpn import FPNConfig
from tests.export.graph.test_shapes import canonical
from tests.models.plain import array, bilinear, convolved, nearest, normed, pooled
from tests.tiny import live, tiny

MAPS = [FeatureInfo(3, 4), FeatureInfo(4, 8), FeatureInfo(5, 16), FeatureInfo(6, 32)]


def maps(height: int = 64, width: int = 128) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, c, height // s, width // s, dtype=torch.float64) for c, s in MAPS]


def in_numpy(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    return [array(tensor[0]) for tensor in tensors]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def test_fpn_against_a_loop() -> None:
    network: Any = FPNConfig(channels=4, out_stride=8).build(MAPS).double()
    given = maps()
    x = [convolved(one, lateral) for one, lateral in zip(in_numpy(given)[1:], network.laterals, strict=True)]
    expected = convolved(x[0] + nearest(x[1] + nearest(x[2])), network.out)
    np.testing.assert_allclose(array(network(given))[0], expected, atol=1e-12)


def test_fast_scnn_against_a_loop() -> None:
    network: Any = live(FastSCNNConfig(channels=4, out_stride=16).build(MAPS)).double()
    given = maps()
    *_, fine, coarse = in_numpy(given)
    low = relu(normed(convolved(coarse, network.reduce[0]), network.reduce[1]))
    low = relu(normed(convolved(bilinear(low), network.low[0]), network.low[1]))
    low = normed(convolved(low, network.low[3]), network.low[4])
    expected = relu(normed(convolved(fine, network.high[0]), network.high[1]) + low)
    np.testing.assert_allclose(array(network(given))[0], expected, atol=1e-12)


def bifpn_by_hand(network: Any, given: list[np.ndarray]) -> dict[int, np.ndarray]:
    """Every level of a BiFPN, written as its paper has it: P'(l) on the way down, P''(l) on the way up."""

    def fit(x: np.ndarray, edge: Any) -> np.ndarray:
        return x if isinstance(edge, nn.Identity) else normed(convolved(x, edge[0]), edge[1])

    def node(module: Any, values: list[np.ndarray]) -> np.ndarray:
        shares = np.ones(len(values))
        if module.weights is not None:
            positive = relu(array(module.weights))
            shares = positive / (positive.sum() + 1e-4)
        merged = relu(sum(s * v for s, v in zip(shares, values, strict=True)))
        return normed(convolved(convolved(merged, module.mix[0]), module.mix[1]), module.mix[2])

    level = dict(enumerate(given))
    for shrink in network.extra:
        level[len(level)] = pooled(fit(level[len(level) - 1], shrink[0]))
    last = len(level) - 1
    for layer in network.layers:
        down = {last: level[last]}
        for n, module in zip(range(last - 1, -1, -1), layer.down, strict=True):
            down[n] = node(module, [fit(level[n], module.edges[0]), bilinear(fit(down[n + 1], module.edges[1][0]))])
        up = {0: down[0]}
        for n, module in enumerate(layer.up, start=1):
            edges = module.edges
            inner = [down[n]] if n < last else []
            up[n] = node(module, [fit(level[n], edges[0]), *inner, pooled(fit(up[n - 1], edges[-1][0]))])
        level = up
    return level


def trained(network: nn.Module) -> None:
    """Shares of attention as they may become: a negative one counts as nothing."""
    for number, (name, value) in enumerate(network.named_parameters()):
        if name.endswith(".weights"):
            value.data.copy_(torch.linspace(-0.3, 1.0 + number, len(value)))


@pytest.mark.parametrize("fusion", ["sum", "attention"])
@pytest.mark.parametrize("last", [None, 0, 2])
def test_bifpn_against_a_loop(fusion: Any, last: int | None) -> None:
    network = live(BiFPN([c for c, _ in MAPS], 4, 5, 2, fusion, last)).double()
    trained(network)
    given = maps()
    found = network(given)
    expected = bifpn_by_hand(network, in_numpy(given))
    assert len(found) == len(expected) == (5 if last is None else last + 1)
    for level, value in enumerate(found):
        np.testing.assert_allclose(array(value)[0], expected[level], atol=1e-12)


def test_attention_is_a_constant_in_the_graph() -> None:
    """The operators of a sum and a multiplication by a number an edge: nothing is normalised at run time."""
    images = {"images": {"height": 64, "width": 64}}
    found = {}
    for fusion in ("sum", "attention"):
        neck = {"type": "bifpn", "channels": 8, "stack": 1, "fusion": fusion}
        variant = tiny(camera=images | {"neck": neck}, lidar=None)
        network = Detector(variant).eval()
        trained(network)
        model = emit(modules_of(network)[0])
        hollow = emit_shapes(build(lambda v=variant: modules_of(Detector(v).eval())[0]))
        assert canonical(strip_weights(model)) == canonical(hollow)
        found[fusion] = [node.op_type for node in model.graph.node]
    # Down to 8, 16 and 32 two maps each and one of stride 4; up to 8 and 16 three each.
    edges = 4 * 2 + 2 * 3
    assert sorted(found["attention"]) == sorted(found["sum"] + ["Mul"] * edges)


def test_bifpn_of_coarse_levels() -> None:
    """Horizon's bev_cft: from stride 8 down to stride 128, which goes on; maps before that are not looked at."""
    config = BiFPNConfig(channels=12, finest_stride=8, levels=5, out_stride=128, stack=2)
    config.check([4, 8, 16, 32], 256, 384)
    torch.manual_seed(0)
    info = [FeatureInfo(5, 4), FeatureInfo(6, 8), FeatureInfo(7, 16), FeatureInfo(8, 32)]
    network = live(config.build(info))
    given = [torch.randn(1, c, 256 // s, 384 // s) for c, s in info]
    alone = live(BiFPN([6, 7, 8], 12, 5, 2, "sum"))
    alone.load_state_dict({k.removeprefix("bifpn."): v for k, v in network.state_dict().items()}, strict=False)
    with torch.no_grad():
        found = network(given)
        assert found.shape == (1, 12, 2, 3) and torch.equal(found, network([torch.zeros(1), *given[1:]]))
        torch.testing.assert_close(found, alone(given[1:])[-1])


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["sum", "attention"])
def test_bifpn_in_a_network(fusion: Any) -> None:
    testing.check_in_network(BiFPNConfig(channels=16, out_stride=8, levels=4, stack=2, fusion=fusion))


@pytest.mark.parametrize(
    ("neck", "message"),
    [
        ({"type": "bifpn", "levels": 2}, r"levels"),
        ({"type": "bifpn", "levels": 3, "out_stride": 32}, r"levels: found 3, of strides 4, 8, 16, and out_stride 32; "
         r"accepted: levels 4 or more"),
        ({"type": "bifpn", "levels": 6}, r"levels: found 6, down to stride 128, on images of 64 x 192 px; accepted: "
         r"5 levels at most, or images of 128 x 128 or 128 x 256 px"),
        ({"type": "bifpn", "finest_stride": 8, "out_stride": 4}, r"neck.out_stride: found 4; accepted: 8, 16, 32, 64, "
         r"128 \(strides of the levels\)"),
        ({"type": "fast_scnn", "out_stride": 32}, "out_stride"),
        ({"type": "fpn", "out_stride": 64}, "out_stride"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(neck: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny(camera={"neck": neck})


@pytest.mark.parametrize("kind", ["lss_fpn", "fast_scnn"])
def test_the_coarsest_map_alone_has_nothing_to_merge_with(kind: str) -> None:
    neck = tiny(camera={"neck": {"type": kind, "out_stride": 16}}).camera.neck  # type: ignore[union-attr]
    neck.check((4, 8, 16, 32), 64, 192)
    with pytest.raises(ValueError, match=r"camera\.neck\.out_stride: found 16; accepted: 4, 8 \("):
        neck.check((4, 8, 16), 64, 192)
