"""Where BEV queries look, taught by a calibration: for networks that know none when they are deployed.

Ours. A query finds its tokens by chance otherwise, and needs far more samples until it has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bevlite.grid import BEVGrid

HEIGHTS_M = (0.0, 1.0, 2.0)
"""Above the ground, in the ego frame: where the objects of a road are."""
NEAREST_M = 0.1
"""Points nearer to a camera's plane are behind it."""
SMALLEST = 1e-4


def query_points(bev: BEVGrid, queries: tuple[int, int]) -> Tensor:
    """Points (Q, Z, 4) of queries (ny, nx): x, y, z in m and 1, ego frame."""
    rows, columns = (
        low + (torch.arange(count, dtype=torch.float32) + 0.5) * (high - low) / count
        for (low, high), count in zip((bev.y_range_m, bev.x_range_m), queries, strict=True)
    )
    y, x, z = torch.meshgrid(rows, columns, torch.tensor(HEIGHTS_M, dtype=torch.float32), indexing="ij")
    return torch.stack([x, y, z, torch.ones_like(x)], dim=-1).flatten(0, 1)


def query_tokens(projection: Tensor, points: Tensor, area: tuple[int, int], stride: int) -> Tensor:
    """Tokens in which queries lie.

    Args:
        projection: (B, N, 4, 4) ego frame to (u * depth, v * depth, depth, 1) of each image, px and m.
        points: (Q, Z, 4) of `query_points`.
        area: rows and columns of tokens of an image.
        stride: of a token, px.

    Returns:
        (B, Q, N * rows * columns) bool.
    """
    rows, columns = area
    batch, cameras = projection.shape[:2]
    found = torch.einsum("bnij,qzj->bqnzi", projection.float(), points.to(projection.device))
    depth = found[..., 2]
    u, v = ((found[..., axis] / depth.clamp(min=NEAREST_M) / stride).floor() for axis in (0, 1))
    inside = (depth > NEAREST_M) & (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    camera = torch.arange(cameras, device=projection.device)[:, None]
    token = (camera * rows + v) * columns + u
    beyond = cameras * rows * columns
    token = torch.where(inside, token, torch.full_like(token, beyond)).long().flatten(2)
    there = torch.zeros(batch, len(points), beyond + 1, dtype=torch.bool, device=projection.device)
    return there.scatter_(2, token, True)[..., :beyond]


def attention_loss(shares: Tensor, projection: Tensor, points: Tensor, area: tuple[int, int], stride: int) -> Tensor:
    """Minus the logarithm of the share that queries give to the tokens in which they lie, mean over those in an image.

    Args:
        shares: (B, Q, K) of each token in each query, sum 1.
        projection, points, area, stride: as of `query_tokens`.
    """
    there = query_tokens(projection, points, area, stride)
    own = (shares.float() * there).sum(-1)
    seen = there.any(-1)
    return (-(own + SMALLEST).log() * seen).sum() / seen.sum().clamp(min=1)
