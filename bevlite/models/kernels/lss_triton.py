"""LSS pooling on a GPU, in Triton: by image columns, without sorting.

The pixels of one image column at one depth lie on a short line in the BEV plane (on a point, where the camera has
neither pitch nor roll), so nearly all of them fall into one cell. A program takes a column and a block of depth bins,
looks up which cells occur, and for each (mostly one a bin) forms the sum over the column as a small product and adds
one row to the map. Any calibration is exact; one that is turned far only takes more rounds. That saves the sort that
lists of points by cell need after every augmentation, and nine of ten additions to the map. Gradients gather the
rows of the map's gradient the same way, each written once: no atomics.

Only imported when a kernel is called; needs triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Blocks(NamedTuple):
    """Sizes of what a program takes at a time (powers of two, 16 at least), its warps, how float32 is multiplied."""

    depths: int
    rows: int
    channels: int
    warps: int = 4
    precision: str = "ieee"


def blocks_for(
    of: Literal["map", "depth", "context"], depths: int, rows: int, channels: int, *, halves: bool = False
) -> Blocks:
    """For D depth bins, h rows and C channels: few padded channels, a whole column where it is not too high.

    Many small programs of two warps hide the time that it takes to look up cells first. Chosen by trying all sizes on
    an H200 (`benchmarks/lss_pooling.py --tune`): 16 and 32 rows, 59 and 118 bins, 64 and 80 channels. The matrix
    units' tf32 holds 11 bits, so that products of halves (`halves`) are exact in it; otherwise three products of parts
    hold 22 bits, and are faster than products in float32 but where the sum runs over the bins.
    """
    height = min(64, max(16, triton.next_power_of_2(rows)))
    bins = max(16, triton.next_power_of_2(depths))
    widest = {"map": 64, "depth": 16, "context": 64 if height == 16 else 32}[of]
    narrow = min(widest, max(16, triton.next_power_of_2(channels)))
    while narrow > 16 and -(-channels // narrow) * narrow > 1.25 * channels:
        narrow //= 2
    most = 64 if height <= 32 else 32
    if of == "map" and halves:
        few = min(32, bins) if height == 32 else min(most // 2 if depths <= 64 else most, bins)
        return Blocks(few, height, narrow, 4 if height >= 32 else 2, "tf32")
    return Blocks(
        min(most // 2 if of == "map" and depths <= 64 else most, bins), height, narrow, 2 if height <= 32 else 4,
        "ieee" if of == "context" else "tf32x3",
    )  # fmt: skip


def frustum_cells(pixel_to_bev: Tensor, depths_m: Tensor, limits: Tensor, sizes: Sequence[int]) -> Tensor:
    """As of `lss_pooling.frustum_cells`, in the order in which the other kernels read them: (B, N, w, D, h) int32."""
    batch, cameras = pixel_to_bev.shape[:2]
    height, width, stride, ny, nx = sizes
    depths = len(depths_m)
    out = torch.empty((batch, cameras, width, depths, height), dtype=torch.int32, device=pixel_to_bev.device)
    matrices = pixel_to_bev.to(torch.float64).contiguous()
    area = depths * height
    block = min(1024, triton.next_power_of_2(area))
    _cells_kernel[(batch * cameras * width, triton.cdiv(area, block))](
        matrices, depths_m, limits, out, depths, height, width, stride, ny, nx, BLOCK=block
    )
    return out


def forward(depth: Tensor, context: Tensor, cells: Tensor, cell_count: int, blocks: Blocks | None = None) -> Tensor:
    """Depth (B*N, D, h, w), context (B*N, C, h, w), cells (B, N, D, h, w) to the map (B, cell_count, C) float32."""
    batch, cameras, depths, height, width = cells.shape
    channels = context.shape[1]
    out = torch.zeros((batch, cell_count, channels), dtype=torch.float32, device=depth.device)
    size = blocks or blocks_for("map", depths, height, channels, halves=_halves(depth, context))
    columns = batch * cameras * width
    if out.numel() and columns:
        _forward_kernel[(columns, triton.cdiv(depths, size.depths), triton.cdiv(height, size.rows))](
            depth, context, cells, out, *_shape(cells, channels, cell_count), *depth.stride(), *context.stride(),
            *cells.stride(), **_meta(size),
        )  # fmt: skip
    return out


def backward(
    grad: Tensor,
    depth: Tensor,
    context: Tensor,
    cells: Tensor,
    needed: tuple[bool, bool] = (True, True),
    blocks: Blocks | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of depth and context (None where not needed) from that of the map, (B, cell_count, C) float32."""
    depths, height = cells.shape[2:4]
    channels = context.shape[1]
    columns = cells.shape[0] * cells.shape[1] * cells.shape[4]
    shape, places = _shape(cells, channels, grad.shape[1]), cells.stride()
    of_depth = of_context = None
    if needed[0]:
        size = blocks or blocks_for("depth", depths, height, channels)
        of_depth = torch.empty_like(depth)
        _depth_gradient_kernel[(columns, triton.cdiv(depths, size.depths), triton.cdiv(height, size.rows))](
            grad, context, cells, of_depth, *shape, *of_depth.stride(), *context.stride(), *places, **_meta(size)
        )
    if needed[1]:
        size = blocks or blocks_for("context", depths, height, channels)
        of_context = torch.empty_like(context, memory_format=torch.channels_last)
        _context_gradient_kernel[(columns, triton.cdiv(channels, size.channels), triton.cdiv(height, size.rows))](
            grad, depth, cells, of_context, *shape, *depth.stride(), *of_context.stride(), *places, **_meta(size)
        )
    return of_depth, of_context


def _shape(cells: Tensor, channels: int, cell_count: int) -> tuple[int, ...]:
    _, cameras, depths, height, width = cells.shape
    return depths, height, width, channels, cameras, cell_count


def _halves(*operands: Tensor) -> bool:
    """Whether all are of half precision."""
    return all(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in operands)


def _meta(size: Blocks) -> dict[str, Any]:
    return {
        "BLOCK_D": size.depths, "BLOCK_H": size.rows, "BLOCK_C": size.channels, "PRECISION": size.precision,
        "num_warps": size.warps,
    }  # fmt: skip


@triton.jit
def _cells_kernel(matrices, depths_m, limits, out, depths, height, width, stride, ny, nx, BLOCK: tl.constexpr):
    column = tl.program_id(0)
    point = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = point < depths * height
    d = point // height
    v = point % height
    metres = tl.load(depths_m + d, mask=inside, other=0.0)
    half_pixel = (stride - 1).to(tl.float64) * 0.5
    a = metres * ((column % width).to(tl.float64) * stride + half_pixel)
    b = metres * (v.to(tl.float64) * stride + half_pixel)
    m = matrices + (column // width) * 16
    x = (tl.load(m) * a + tl.load(m + 1) * b) + tl.load(m + 2) * metres + tl.load(m + 3)
    y = (tl.load(m + 4) * a + tl.load(m + 5) * b) + tl.load(m + 6) * metres + tl.load(m + 7)
    z = (tl.load(m + 8) * a + tl.load(m + 9) * b) + tl.load(m + 10) * metres + tl.load(m + 11)
    cell_m = tl.load(limits + 2)
    ix = tl.floor((x - tl.load(limits)) / cell_m)
    iy = tl.floor((y - tl.load(limits + 1)) / cell_m)
    kept = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny) & (z >= tl.load(limits + 3)) & (z < tl.load(limits + 4))
    cell = tl.where(kept, iy * nx + ix, -1.0).to(tl.int32)
    tl.store(out + column.to(tl.int64) * depths * height + point, cell, mask=inside)


@triton.jit
def _forward_kernel(
    depth, context, cells, out, depths, height, width, channels, cameras, cell_count,
    dm, dd, dh, dw, cm, cc, ch, cw, kb, kn, kd, kh, kw,
    BLOCK_D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0)
    u = column % width
    image = (column // width).to(tl.int64)
    sample = image // cameras
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    v = tl.program_id(2) * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = (d < depths)[:, None] & (v < height)[None, :]
    place = cells + sample * kb + (image % cameras) * kn + u * kw
    cell = tl.load(place + d[:, None] * kd + v[None, :] * kh, mask=inside, other=-1).to(tl.int32)
    weight = tl.load(
        depth + image * dm + u * dw + d[:, None] * dd + v[None, :] * dh, mask=inside & (cell >= 0), other=0.0
    )
    rows = context + image * cm + u * cw + v[:, None] * ch
    target = out + sample * cell_count * channels
    current = tl.max(cell, axis=1)
    left = tl.max(current, axis=0)
    while left >= 0:
        taken = tl.where(cell == current[:, None], weight, 0.0)
        for first in range(0, channels, BLOCK_C):
            c = first + tl.arange(0, BLOCK_C)
            row = tl.load(rows + c[None, :] * cc, mask=(v < height)[:, None] & (c < channels)[None, :], other=0.0)
            total = tl.dot(taken.to(tl.float32), row.to(tl.float32), input_precision=PRECISION)
            tl.atomic_add(
                target + current[:, None].to(tl.int64) * channels + c[None, :], total,
                mask=(current >= 0)[:, None] & (c < channels)[None, :], sem="relaxed",
            )  # fmt: skip
        current = tl.max(tl.where(cell < current[:, None], cell, -1), axis=1)
        left = tl.max(current, axis=0)


@triton.jit
def _context_gradient_kernel(
    grad, depth, cells, out, depths, height, width, channels, cameras, cell_count,
    dm, dd, dh, dw, cm, cc, ch, cw, kb, kn, kd, kh, kw,
    BLOCK_D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0)
    u = column % width
    image = (column // width).to(tl.int64)
    sample = image // cameras
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    v = tl.program_id(2) * BLOCK_H + tl.arange(0, BLOCK_H)
    source = grad + sample * cell_count * channels
    place = cells + sample * kb + (image % cameras) * kn + u * kw + v[:, None] * kh
    weights = depth + image * dm + u * dw + v[:, None] * dh
    total = tl.zeros((BLOCK_H, BLOCK_C), dtype=tl.float32)
    for first in range(0, depths, BLOCK_D):
        d = first + tl.arange(0, BLOCK_D)
        inside = (v < height)[:, None] & (d < depths)[None, :]
        cell = tl.load(place + d[None, :] * kd, mask=inside, other=-1).to(tl.int32)
        weight = tl.load(weights + d[None, :] * dd, mask=inside & (cell >= 0), other=0.0).to(tl.float32)
        current = tl.max(cell, axis=0)
        left = tl.max(current, axis=0)
        while left >= 0:
            row = tl.load(
                source + current[:, None].to(tl.int64) * channels + c[None, :],
                mask=(current >= 0)[:, None] & (c < channels)[None, :], other=0.0,
            )  # fmt: skip
            taken = tl.where(cell == current[None, :], weight, 0.0)
            total += tl.dot(taken, row, input_precision=PRECISION)
            current = tl.max(tl.where(cell < current[None, :], cell, -1), axis=0)
            left = tl.max(current, axis=0)
    tl.store(
        out + image * cm + u * cw + v[:, None] * ch + c[None, :] * cc, total.to(out.dtype.element_ty),
        mask=(v < height)[:, None] & (c < channels)[None, :],
    )  # fmt: skip


@triton.jit
def _depth_gradient_kernel(
    grad, context, cells, out, depths, height, width, channels, cameras, cell_count,
    dm, dd, dh, dw, cm, cc, ch, cw, kb, kn, kd, kh, kw,
    BLOCK_D: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0)
    u = column % width
    image = (column // width).to(tl.int64)
    sample = image // cameras
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    v = tl.program_id(2) * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = (d < depths)[:, None] & (v < height)[None, :]
    place = cells + sample * kb + (image % cameras) * kn + u * kw
    cell = tl.load(place + d[:, None] * kd + v[None, :] * kh, mask=inside, other=-1).to(tl.int32)
    rows = context + image * cm + u * cw + v[None, :] * ch
    source = grad + sample * cell_count * channels
    total = tl.zeros((BLOCK_D, BLOCK_H), dtype=tl.float32)
    current = tl.max(cell, axis=1)
    left = tl.max(current, axis=0)
    while left >= 0:
        product = tl.zeros((BLOCK_D, BLOCK_H), dtype=tl.float32)
        for first in range(0, channels, BLOCK_C):
            c = first + tl.arange(0, BLOCK_C)
            row = tl.load(
                source + current[:, None].to(tl.int64) * channels + c[None, :],
                mask=(current >= 0)[:, None] & (c < channels)[None, :], other=0.0,
            )  # fmt: skip
            feature = tl.load(
                rows + c[:, None] * cc, mask=(c < channels)[:, None] & (v < height)[None, :], other=0.0
            ).to(tl.float32)
            product += tl.dot(row, feature, input_precision=PRECISION)
        total = tl.where((cell == current[:, None]) & (cell >= 0), product, total)
        current = tl.max(tl.where(cell < current[:, None], cell, -1), axis=1)
        left = tl.max(current, axis=0)
    tl.store(out + image * dm + u * dw + d[:, None] * dd + v[None, :] * dh, total.to(out.dtype.element_ty), mask=inside)
