"""Where queries look, against a projection point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bevlite.grid import BEVGrid
from bevlite.losses.attention import HEIGHTS_M, SMALLEST, attention_loss, query_points, query_tokens

BEV = BEVGrid(x_range_m=(-8.0, 24.0), y_range_m=(-16.0, 16.0), cell_m=1.0)
QUERIES, AREA, STRIDE = (8, 8), (3, 5), 32


def camera(yaw: float, height_m: float = 1.5) -> np.ndarray:
    """(4, 4) of a camera at the origin that looks along a bearing: x, y, z in m to (u * depth, v * depth, depth, 1)."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    axes = np.array([[sin, -cos, 0, 0], [0, 0, -1, height_m], [cos, sin, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[80.0, 0, 80, 0], [0, 80.0, 40, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    found: np.ndarray = intrinsics @ axes
    return found


def by_point(projections: np.ndarray) -> np.ndarray:
    """Tokens of each query, one point of one camera at a time."""
    there = np.zeros((64, len(projections), *AREA), dtype=bool)
    for query in range(64):
        x, y = -8 + 4 * (query % 8 + 0.5), -16 + 4 * (query // 8 + 0.5)
        for number, matrix in enumerate(projections):
            for z in HEIGHTS_M:
                u, v, depth, _ = matrix @ np.array([x, y, z, 1.0])
                if depth <= 0.1:
                    continue
                column, row = math.floor(u / depth / STRIDE), math.floor(v / depth / STRIDE)
                if 0 <= column < AREA[1] and 0 <= row < AREA[0]:
                    there[query, number, row, column] = True
    return there.reshape(64, -1)


def test_tokens_and_loss() -> None:
    rigs = np.array([[camera(0.1), camera(2.0)], [camera(-1.0), camera(3.0, 2.0)]])
    found = query_tokens(torch.from_numpy(rigs).float(), query_points(BEV, QUERIES), AREA, STRIDE)
    wanted = np.array([by_point(rig) for rig in rigs])
    assert np.array_equal(found.numpy(), wanted) and 0.2 < wanted.any(-1).mean() < 0.9
    shares = torch.rand(2, 64, 30, generator=torch.Generator().manual_seed(0)).softmax(-1)
    given = torch.from_numpy(rigs).float()
    loss = attention_loss(shares, given, query_points(BEV, QUERIES), AREA, STRIDE)
    own = (shares.double().numpy() * wanted).sum(-1)[wanted.any(-1)]
    assert float(loss) == pytest.approx(-np.log(own + SMALLEST).mean(), rel=1e-5)
    all_there = torch.from_numpy(wanted / np.maximum(wanted.sum(-1, keepdims=True), 1)).float()
    assert float(attention_loss(all_there, given, query_points(BEV, QUERIES), AREA, STRIDE)) < 1e-3


def test_what_no_camera_sees_counts_nothing() -> None:
    behind = torch.from_numpy(np.array([[camera(math.pi)]])).float()
    points = query_points(BEVGrid(x_range_m=(1.0, 9.0), y_range_m=(-4.0, 4.0), cell_m=1.0), QUERIES)
    shares = torch.full((1, 64, 15), 1 / 15, requires_grad=True)
    loss = attention_loss(shares, behind, points, AREA, STRIDE)
    loss.backward()
    assert float(loss.detach()) == 0 and shares.grad is not None and not shares.grad.any()
