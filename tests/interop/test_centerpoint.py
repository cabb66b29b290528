"""CenterPoint on pillars, from points to boxes: mmdetection3d's layers in plain torch give what our network gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bevlite.interop.forms.mmdet3d_centerpoint import CenterPoint
from bevlite.interop.importing import fill, variant_for
from bevlite.models.detector import Detector
from bevlite.runtime.pillars import group_pillars
from tests.interop.plain import SECOND, SECONDFPN, CenterHead, heading, lwh, settled

LIDAR_M = (0.94, 0.0, 1.84)
REACH_M, CELL_M, PILLAR_M = 6.4, 0.8, 0.2
SMALL = ["bev.x_range_m=[-5.46,7.34]", "bev.y_range_m=[-6.4,6.4]", "lidar.pillars.max_pillars=2000"]
"""The grid of the test: 16 x 16 cells around the LiDAR instead of 128 x 128."""


class Plain(nn.Module):
    """centerpoint_pillar02_second_secfpn, with `numbers` a point: 10 before mmdetection3d 1.0, 11 from then on."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        layer = nn.ModuleDict({"norm": nn.BatchNorm1d(64, eps=1e-3), "linear": nn.Linear(numbers, 64, bias=False)})
        self.pts_voxel_encoder = nn.ModuleDict({"pfn_layers": nn.ModuleList([layer])})
        self.pts_backbone = SECOND(64, [64, 128, 256], [3, 5, 5], [2, 2, 2])
        self.pts_neck = SECONDFPN([64, 128, 256], 128, [0.5, 1, 2])
        self.pts_bbox_head = CenterHead(384)
        self.numbers = numbers

    def forward(self, points: np.ndarray) -> list[dict[str, Tensor]]:
        """Points (K, 5) in the LiDAR's frame: x to the right, y ahead."""
        cells: dict[tuple[int, int], list[np.ndarray]] = {}
        for p in points:
            iy, ix = (int(np.floor((p[axis] + REACH_M) / PILLAR_M)) for axis in (1, 0))
            cells.setdefault((iy, ix), []).append(p)
        side = round(2 * REACH_M / PILLAR_M)
        canvas = torch.zeros(1, 64, side, side)
        layer = self.pts_voxel_encoder["pfn_layers"][0]  # type: ignore[index]
        for (iy, ix), inside in cells.items():
            rows = np.zeros((20, self.numbers), dtype=np.float32)
            kept = np.stack(inside[:20])
            centre = np.array([(ix + 0.5) * PILLAR_M - REACH_M, (iy + 0.5) * PILLAR_M - REACH_M, -1.0])
            from_mean, from_centre = kept[:, :3] - kept[:, :3].mean(axis=0), kept[:, :3] - centre
            rows[: len(kept)] = np.concatenate([kept, from_mean, from_centre], axis=1)[:, : self.numbers]
            encoded = torch.relu(layer["norm"](layer["linear"](torch.from_numpy(rows))))  # zeros fill it up
            canvas[0, :, iy, ix] = encoded.max(dim=0).values
        return self.pts_bbox_head(self.pts_neck(self.pts_backbone(canvas)))  # type: ignore[no-any-return]


def cloud() -> np.ndarray:
    """Points in the LiDAR's frame, some pillars full, none near a border of a pillar."""
    rng = np.random.default_rng(4)
    cell = rng.integers(0, 64, (1500, 2))
    cell[:60] = (30, 41)
    xy = (cell + rng.uniform(0.1, 0.9, cell.shape)) * PILLAR_M - REACH_M
    rest = np.stack([rng.uniform(-4, 2, 1500), rng.uniform(0, 255, 1500), rng.uniform(0, 0.5, 1500)], axis=1)
    return np.concatenate([xy, rest], axis=1)


@pytest.mark.parametrize("numbers", [10, 11])
def test_it_gives_the_same_boxes(numbers: int) -> None:
    theirs = settled(Plain(numbers))
    form = CenterPoint(theirs.state_dict(), LIDAR_M)
    variant = variant_for(form, overrides=SMALL)
    weights, account = fill(form, variant)
    assert account.theirs.share == account.ours.share == 1 and not account.theirs.reasons
    ours = Detector(variant).eval()
    ours.load_state_dict(weights)
    points = cloud()
    seen = points[:, [1, 0, 2, 3, 4]] + [*LIDAR_M, 0, 0]  # x ahead is their y, y is their x: the mirror image
    assert variant.lidar is not None
    pillars, index = group_pillars(seen, variant.lidar.pillars.grid(variant.bev))
    with torch.no_grad():
        found = ours({"pillars": torch.from_numpy(pillars)[None], "pillar_index": torch.from_numpy(index)[None]})
        groups = theirs(points)
    heat, boxes = found["heatmap"][0], found["boxes"][0]
    crossed = torch.cat([group["heatmap"][0] for group in groups]).transpose(1, 2)
    assert heat.std() > 0.05
    torch.testing.assert_close(heat, crossed, atol=2e-4, rtol=1e-3)
    for group, ten in zip(groups, boxes.split(10), strict=True):
        them = {name: value[0].transpose(1, 2) for name, value in group.items()}  # (., their x, their y)
        older = numbers == 10
        offset, height, size, (sine, cosine), velocity = ten.split([2, 1, 3, 2, 2])
        expected = heading(*them["rot"], older)
        angle = torch.stack([cosine, sine]) / torch.hypot(cosine, sine)
        torch.testing.assert_close(offset, them["reg"].flip(0), atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(height, them["height"] + LIDAR_M[2], atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(size, lwh(them["dim"], older), atol=2e-4, rtol=1e-3)
        clear = torch.hypot(cosine, sine) > 0.05
        torch.testing.assert_close(angle[:, clear], expected.flip(0)[:, clear], atol=5e-3, rtol=0)
        torch.testing.assert_close(velocity, them["vel"].flip(0), atol=2e-4, rtol=1e-3)


def test_the_grid_follows_the_lidar() -> None:
    """Published: 51.2 m around the LiDAR, from 5 m under it to 3 m over it."""
    with torch.device("meta"):
        given = Plain(11).state_dict()
    variant = variant_for(CenterPoint(given, LIDAR_M))
    assert variant.bev.x_range_m == (-50.26, 52.14) and variant.bev.y_range_m == (-51.2, 51.2)
    assert variant.lidar is not None and variant.lidar.pillars.z_range_m == (-3.16, 4.84)
    assert variant.lidar.pillars.coordinates == "offsets_3d"
