"""Importance of channels against sums written out, and against Torch-Pruning's group norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bevlite.compression.coupling import channel_groups
from bevlite.compression.groups import Group, Member
from bevlite.compression.importance import importance
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from tests.tiny import lidar_only, live


class Two(nn.Module):
    """A convolution, its norm, and one that takes both as the second of two maps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n, self.b = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(5, 4, 1)
        self.t = nn.ConvTranspose2d(3, 2, 2)
        nn.init.uniform_(self.n.weight)


GROUP = Group(
    "a",
    (
        Member("a", "out", np.arange(3)),
        Member("n", "in", np.arange(3)),
        Member("b", "in", np.arange(2, 5)),
        Member("t", "in", np.arange(3)),
    ),
)


def test_norms_of_weights() -> None:
    network = Two()
    a, b, t = (one.weight.detach().double().numpy() for one in (network.a, network.b, network.t))
    squares = (a**2).sum((1, 2, 3)) + (b[:, 2:] ** 2).sum((0, 2, 3)) + (t**2).sum((1, 2, 3))
    np.testing.assert_allclose(importance(network, [GROUP], "l2")["a"], squares / squares.sum())
    sums = np.abs(a).sum((1, 2, 3))
    np.testing.assert_allclose(importance(network, [GROUP], "l1")["a"], sums / sums.sum())
    scales = network.n.weight.detach().double().numpy()
    np.testing.assert_allclose(importance(network, [GROUP], "bn")["a"], scales / scales.sum())
    bare = Group("a", (GROUP.members[0], GROUP.members[2], GROUP.members[3]))
    np.testing.assert_allclose(importance(network, [bare], "bn")["a"], squares / squares.sum())


def test_taylor_is_what_the_loss_would_lose_to_first_order() -> None:
    network = Two()
    x = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    network.a(x).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert network.a.weight.grad is not None
    wanted = (network.a.weight * network.a.weight.grad).abs().sum((1, 2, 3)).detach().double().numpy()
    found = importance(network, [GROUP], "taylor", gradients)["a"]
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-6)
    with pytest.raises(BevliteError, match="found taylor without gradients"):
        importance(network, [GROUP], "taylor")


def test_weights_that_are_not_finite_are_named() -> None:
    network = Two()
    with torch.no_grad():
        network.b.weight[0, 3] = torch.nan
    with pytest.raises(BevliteError, match="importance: a: found NaN or infinity among its weights"):
        importance(network, [GROUP])


def test_shares_of_every_group_of_a_network() -> None:
    variant = lidar_only()
    network: Any = live(Detector(variant))
    groups = channel_groups(variant)
    for kind in ("l2", "l1", "bn"):
        shares = importance(network, groups, kind)  # type: ignore[arg-type]
        for group in groups:
            assert len(shares[group.name]) == group.size and shares[group.name].sum() == pytest.approx(1)
            assert (shares[group.name] >= 0).all()
