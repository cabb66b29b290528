"""What `board_kernels.py` holds the kernels against: the same work in torch's own operators, on the same inputs.

Written as one would write it in torch, with nothing that waits for the host where that can be helped. Results need not
be equal to the last bit, but the work is whole: what the kernels give, these give too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from bevlite.runtime.decoding import CIRCLE_NMS_RADIUS_M, BoxDecoding
from bevlite.runtime.pillars import PillarGrid
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.resizing import YUV, covering

Tensors = dict[str, Tensor]
Road = Callable[[Tensors], Any]


def resize(size: tuple[int, int]) -> Road:
    """`interpolate` with anti-aliasing, then the crop, as bytes."""

    def run(t: Tensors) -> Tensor:
        return _resized(t["images"].permute(0, 3, 1, 2).float(), size)

    return run


def resize_nv12(size: tuple[int, int]) -> Road:
    """Colours first, then as `resize`."""
    matrix = YUV["full"]

    def run(t: Tensors) -> Tensor:
        height = t["images"].shape[1] * 2 // 3
        luma = t["images"][:, :height].float() - matrix.offset
        chroma = t["images"][:, height:].unflatten(2, (-1, 2)).float() - 128
        cb, cr = chroma.repeat_interleave(2, 1).repeat_interleave(2, 2).unbind(-1)
        scale = 1 / 65536
        red = luma * (matrix.luma * scale) + cr * (matrix.red_cr * scale)
        green = luma * (matrix.luma * scale) + cb * (matrix.green_cb * scale) + cr * (matrix.green_cr * scale)
        blue = luma * (matrix.luma * scale) + cb * (matrix.blue_cb * scale)
        return _resized(torch.stack([red, green, blue], 1).clamp(0, 255), size)

    return run


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    resized, (left, top) = covering((images.shape[2], images.shape[3]), size)
    small = F.interpolate(images, size=resized[::-1], mode="bilinear", antialias=True, align_corners=False)
    return small[:, :, top : top + size[0], left : left + size[1]].round().to(torch.uint8)


def pillars(grid: PillarGrid) -> Road:
    """A stable sort by cell, ranks from where runs begin, the farthest cells cut off by another sort."""

    def run(t: Tensors) -> tuple[Tensor, Tensor]:
        raw, first = t["points"], t["first"]
        numbers = torch.arange(len(raw), device=raw.device)
        sweep = torch.searchsorted(first[1:-1].long(), numbers, right=True)
        near = (raw[:, :2].abs() < 1).all(1)
        pose = t["poses"][sweep]
        place = (pose[:, :, :3] @ raw[:, :3, None]).squeeze(-1) + pose[:, :, 3]
        x, y, z = place.unbind(1)
        ix, iy = ((x - grid.x_min) / grid.cell_m).floor().long(), ((y - grid.y_min) / grid.cell_m).floor().long()
        inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny) & (z >= grid.z_min) & (z < grid.z_max) & ~near
        inside &= numbers < first[-1]
        kept = inside.nonzero().squeeze(1)
        cell, order = torch.sort((iy * grid.nx + ix)[kept], stable=True)
        occupied, slot, counts = torch.unique_consecutive(cell, return_inverse=True, return_counts=True)
        cx = grid.x_min + (occupied % grid.nx + 0.5) * grid.cell_m
        cy = grid.y_min + (occupied // grid.nx + 0.5) * grid.cell_m
        keep = torch.ones_like(occupied, dtype=torch.bool)
        keep[torch.sort(cx * cx + cy * cy, stable=True)[1][grid.max_pillars :]] = False
        number = keep.cumsum(0) - 1
        index = torch.zeros(grid.ny * grid.nx, dtype=torch.int32, device=raw.device)
        index[occupied[keep]] = 1 + number[keep].int()
        rank = torch.arange(len(cell), device=raw.device) - (counts.cumsum(0) - counts)[slot]
        used = (rank < grid.max_points) & keep[slot]
        source, rank, slot = kept[order[used]], rank[used], slot[used]
        height = 2 * (z[source] - grid.z_min) / (grid.z_max - grid.z_min) - 1
        values = [(x[source] - cx[slot]) / grid.cell_m, (y[source] - cy[slot]) / grid.cell_m, height]
        values += [raw[source, 3] / 255, t["lags"][sweep[source]]]
        out = torch.zeros(5, grid.max_points * grid.max_pillars, device=raw.device)
        out[:, rank * grid.max_pillars + number[slot]] = torch.stack(values).float()
        return out, index

    return run


def pooling(frustum: Frustum, grid: CellGrid, chunk: int, capacities: list[int]) -> Road:
    """Cells in float64, a stable sort, and chunks level by level."""

    def run(t: Tensors) -> list[Tensor]:
        pose, device = t["poses"], t["poses"].device
        depth = torch.tensor(frustum.depths_m, dtype=torch.float64, device=device)[:, None, None]
        u = (torch.arange(frustum.width, dtype=torch.float64, device=device) + 0.5) * frustum.stride - 0.5
        v = (torch.arange(frustum.height, dtype=torch.float64, device=device) + 0.5) * frustum.stride - 0.5
        pixels = torch.stack(torch.broadcast_tensors(depth * u, depth * v[:, None], depth), -1).reshape(-1, 3)
        points = pixels @ pose[:, :, :3].transpose(1, 2) + pose[:, None, :, 3]
        ix = ((points[..., 0] - grid.x_min) / grid.cell_m).floor().long()
        iy = ((points[..., 1] - grid.y_min) / grid.cell_m).floor().long()
        z = points[..., 2]
        inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny) & (z >= grid.z_min) & (z < grid.z_max)
        kept = inside.flatten().nonzero().squeeze(1)
        owner, order = torch.sort((iy * grid.nx + ix).flatten()[kept], stable=True)
        ids, tables, base = kept[order] + 1, [], 1
        cell_index = torch.zeros(grid.nx * grid.ny, dtype=torch.int32, device=device)
        for rows in capacities:
            _, run_of, counts = torch.unique_consecutive(owner, return_inverse=True, return_counts=True)
            rank = torch.arange(len(owner), device=device) - (counts.cumsum(0) - counts)[run_of]
            of_run = (counts + chunk - 1) // chunk
            row = (of_run.cumsum(0) - of_run)[run_of] + rank // chunk
            table = torch.zeros(rows, chunk, dtype=torch.int32, device=device)
            table[row, rank % chunk] = ids.int()
            tables.append(table)
            above = torch.repeat_interleave(torch.unique_consecutive(owner), of_run)
            single = torch.repeat_interleave(of_run == 1, of_run)
            numbers = base + torch.arange(len(above), device=device)
            cell_index[above[single]] = numbers[single].int()
            owner, ids, base = above[~single], numbers[~single], base + rows
            if not len(owner):
                break
        area = frustum.height * frustum.width
        first = (tables[0] - 1).clamp(min=0)
        features = first // (len(frustum.depths_m) * area) * area + first % area
        return [*tables, features, cell_index]

    return run


def depth(cameras: int, size: tuple[int, int]) -> Road:
    """All points in all cameras, the nearest by `scatter_reduce`."""
    height, width = size

    def run(t: Tensors) -> Tensor:
        raw, first = t["points"], t["first"]
        numbers = torch.arange(len(raw), device=raw.device)
        sweep = torch.searchsorted(first[1:-1].long(), numbers, right=True)
        pose = t["poses"][sweep]
        place = (pose[:, :, :3] @ raw[:, :3, None]).squeeze(-1) + pose[:, :, 3]
        u, v, far = (t["bev_to_pixel"][:, :, :3] @ place.T + t["bev_to_pixel"][:, :, 3:]).unbind(1)
        column, row = (u / far + 0.5).floor(), (v / far + 0.5).floor()
        there = (far > 0.5) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        there &= ~(raw[:, :2].abs() < 1).all(1) & (numbers < first[-1])
        pixel = torch.where(there, row * width + column, 0).long()
        images = torch.full((cameras, height * width), torch.inf, device=raw.device)
        images.scatter_reduce_(1, pixel, torch.where(there, far, torch.inf), "amin")
        return images.masked_fill(images.isinf(), 0)

    return run


def _projected(t: Tensors, grid: CellGrid, heights: tuple[float, ...]) -> Tensor:
    device = t["cameras"].device
    x = grid.x_min + (torch.arange(grid.nx, dtype=torch.float64, device=device) + 0.5) * grid.cell_m
    y = grid.y_min + (torch.arange(grid.ny, dtype=torch.float64, device=device) + 0.5) * grid.cell_m
    z = torch.tensor(heights, dtype=torch.float64, device=device)
    points = torch.stack(torch.broadcast_tensors(x, y[:, None], z[:, None, None]), -1).flatten(1, 2)
    cameras = t["cameras"][:, None]
    return points[None] @ cameras[..., :3].transpose(-1, -2) + cameras[..., None, :, 3]


def lookup(grid: CellGrid, heights: tuple[float, ...], frustum: Frustum) -> Road:
    """All cells in all cameras, the last that sees a voxel counts."""

    def run(t: Tensors) -> Tensor:
        seen = _projected(t, grid, heights)
        pixel = ((seen[..., :2] / seen[..., 2:] + 0.5) / frustum.stride).floor()
        column, row = pixel.unbind(-1)
        there = (seen[..., 2] > 0.1) & (column >= 0) & (column < frustum.width) & (row >= 0) & (row < frustum.height)
        camera = torch.arange(len(seen), device=seen.device)[:, None, None]
        index = 1 + (camera * frustum.height + row.nan_to_num(0, 0, 0).long()) * frustum.width
        index = torch.where(there, index + column.nan_to_num(0, 0, 0).long(), 0)
        return index.amax(0).int()

    return run


def slots(grid: CellGrid, heights: tuple[float, ...], size: tuple[int, int], room: int, overlap: int) -> Road:
    """The cameras that see most by a stable sort, slots by sums along the queries."""

    def run(t: Tensors) -> tuple[Tensor, ...]:
        projected = _projected(t, grid, heights)
        u, v = projected[..., 0] / projected[..., 2], projected[..., 1] / projected[..., 2]
        seen = (projected[..., 2] > 0.1) & (u > -0.5) & (u < size[1] - 0.5) & (v > -0.5) & (v < size[0] - 0.5)
        place = torch.stack([2 * (u + 0.5) / size[1] - 1, 2 * (v + 0.5) / size[0] - 1], -1)
        place = torch.where(seen[..., None], place, -3.0).float()
        points = seen.sum(1)
        best = torch.sort(points, dim=0, descending=True, stable=True)[1][:overlap]
        chosen = torch.zeros_like(points, dtype=torch.bool).scatter_(0, best, points.gather(0, best) > 0)
        slot = chosen.cumsum(1) - 1
        camera, query = chosen.nonzero(as_tuple=True)
        own = slot[camera, query]
        slot_query = torch.zeros(len(points), room, dtype=torch.int32, device=u.device)
        slot_query[camera, own] = 1 + query.int()
        reference = torch.full((len(points), room, len(heights), 2), -3.0, device=u.device)
        reference[camera, own] = place[camera, :, query]
        entry = chosen.cumsum(0)[camera, query] - 1
        query_slot = torch.zeros(points.shape[1], overlap, dtype=torch.int32, device=u.device)
        query_slot[query, entry] = (1 + camera * room + own).int()
        count = chosen.sum(0)
        return slot_query, reference, query_slot, torch.where(count > 0, 1 / count.clamp(min=1), 0.0)

    return run


def decoding(how: BoxDecoding) -> Road:
    """`topk` a group, and torchvision's NMS on squares as wide as twice the radius in place of circles."""
    radius_of: dict[torch.device, Tensor] = {}

    def run(t: Tensors) -> tuple[Tensor, ...]:
        device = t["heat"].device
        if device not in radius_of:
            radius_of[device] = torch.tensor(CIRCLE_NMS_RADIUS_M, device=device)
        radius = radius_of[device]
        heat, values = t["heat"][0], t["values"][0]
        nx, cells = heat.shape[2], heat.shape[1] * heat.shape[2]
        boxes, scores, kinds = [], [], []
        for group, channels in enumerate(how.groups):
            own = torch.arange(channels[0], channels[-1] + 1, device=device)  # groups are runs of channels
            logits = heat[channels[0] : channels[-1] + 1].flatten()
            top, place = logits.topk(min(how.max_boxes, logits.numel()))
            score = top.sigmoid()
            cell, kind = place % cells, own[place // cells]
            raw = values[10 * group : 10 * group + 10].flatten(1)[:, cell]
            x = how.x_min + (cell % nx + raw[0]) * how.cell_m
            y = how.y_min + (cell // nx + raw[1]) * how.cell_m
            sizes = raw[3:6].clamp(-5, 5).exp()
            box = torch.stack([x, y, raw[2], *sizes, torch.atan2(raw[6], raw[7]), raw[8], raw[9]], 1)
            good = (score > how.score_threshold) & box.isfinite().all(1)
            box, score, kind = box[good], score[good], kind[good]
            half = radius[kind][:, None]
            kept = batched_nms(torch.cat([box[:, :2] - half, box[:, :2] + half], 1), score, kind, 0.2)
            boxes.append(box[kept])
            scores.append(score[kept])
            kinds.append(kind[kept])
        score, order = torch.cat(scores).sort(descending=True)
        order = order[: how.max_boxes]
        return torch.cat(boxes)[order], score[: how.max_boxes], torch.cat(kinds)[order]

    return run


def queries(how: BoxDecoding) -> Road:
    """A sort by score, then the arithmetic on all columns."""

    def run(t: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        rows = t["queries"][0]
        good = rows.isfinite().all(0) & (rows[4] > how.score_threshold)
        score, order = torch.where(good, rows[4], -1.0).sort(descending=True)
        rows = rows[:, order]
        x = how.x_min + (rows[1] + rows[5]) * how.cell_m
        y = how.y_min + (rows[2] + rows[6]) * how.cell_m
        sizes = rows[8:11].clamp(-5, 5).exp()
        box = torch.stack([x, y, rows[7], *sizes, torch.atan2(rows[11], rows[12]), rows[13], rows[14]], 1)
        return box, score, rows[0].round().int()

    return run


def best_class(t: Tensors) -> Tensor:
    """`argmax` as bytes."""
    return t["logits"].argmax(1).to(torch.uint8)


def voxels(t: Tensors) -> Tensor:
    """A permutation as bytes."""
    return t["voxels_in"][0].permute(2, 1, 0).to(torch.uint8).contiguous()


def map_classes(t: Tensors) -> Tensor:
    """Probabilities above a half, as bytes."""
    return (t["map"][0].sigmoid() > 0.5).to(torch.uint8)
