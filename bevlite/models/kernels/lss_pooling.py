"""LSS pooling for training and evaluation: by a Triton kernel on a GPU, in plain torch anywhere else.

Both compute the same sum, in float32 at least. Which of them runs is decided once a device, by running both on a small
example, and said through `logging`: a warning where a GPU cannot have the kernel, information
elsewhere. Deterministic algorithms (`torch.use_deterministic_algorithms`) and float64 are torch's; so is a second
derivative, which the kernel does not have.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

Kernel = Literal["triton", "torch"]
SAYS = logging.getLogger(__name__)
OLDEST = (7, 0)
"""Compute capability that Triton needs."""


def kernel_for(device: torch.device, *dtypes: torch.dtype) -> Kernel:
    """What pools tensors of these types there."""
    if torch.are_deterministic_algorithms_enabled() or torch.float64 in dtypes:
        return "torch"
    if torch.compiler.is_compiling():  # which needs Triton itself
        return "triton" if device.type == "cuda" else "torch"
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():  # torch waits for the GPU: not there
        return "triton"
    return _kernel_on(device.type, device.index)


def pool(depth: Tensor, context: Tensor, cells: Tensor, cell_count: int, kernel: Kernel | None = None) -> Tensor:
    """Sum of depth-weighted context in every cell.

    Args:
        depth: (B*N, D, h, w) weights.
        context: (B*N, C, h, w) features.
        cells: (B, N, D, h, w) integers, -1 outside.
        cell_count: P.
        kernel: forces one; None decides.

    Returns:
        (B, P, C), float32 or what both are promoted to beyond it. A NaN or an infinity in `context` may spread to other
        cells of its image column with the kernel, where torch keeps it to its own.
    """
    chosen = kernel or kernel_for(depth.device, depth.dtype, context.dtype)
    if chosen == "torch":
        return _pool_by_torch(depth, context, cells, cell_count)
    rows = context if context.stride(1) == 1 else context.contiguous(memory_format=torch.channels_last)
    result: Tensor = _pool(depth, rows, cells, cell_count)
    return result


def frustum_cells(
    pixel_to_bev: Tensor, depths_m: Tensor, limits: Tensor, sizes: tuple[int, int, int, int, int]
) -> Tensor:
    """The BEV cell of every frustum point by the kernel, (B, N, D, h, w) int32, -1 outside; in float64.

    Args:
        pixel_to_bev: (B, N, 4, 4), takes (u * depth, v * depth, depth, 1) to BEV metres.
        depths_m: (D,) float64, m.
        limits: (5,) float64: x_min, y_min, cell, z_min, z_max in m.
        sizes: rows h and columns w of the feature map, px a step, ny and nx of the grid.
    """
    result: Tensor = _cells(pixel_to_bev, depths_m, limits, list(sizes))
    return result.permute(0, 1, 3, 4, 2)


def _pool_by_torch(depth: Tensor, context: Tensor, cells: Tensor, cell_count: int) -> Tensor:
    batch, cameras, depths, height, width = cells.shape
    area = height * width
    flat = cells.reshape(-1)
    kept = torch.nonzero(flat >= 0).squeeze(1)
    camera = kept // (depths * area)
    pixel = camera * area + kept % area
    target = flat[kept] + (camera // cameras) * cell_count
    dtype = torch.promote_types(context.dtype, torch.float32)
    rows = context.permute(0, 2, 3, 1).reshape(-1, context.shape[1]).to(dtype)
    weights = depth.reshape(-1).to(dtype)[kept]
    pooled = rows.new_zeros(batch * cell_count, rows.shape[1])
    return pooled.index_add(0, target, rows[pixel] * weights[:, None]).view(batch, cell_count, -1)


@torch.library.custom_op("bevlite::frustum_cells", mutates_args=())
def _cells(pixel_to_bev: Tensor, depths_m: Tensor, limits: Tensor, sizes: list[int]) -> Tensor:
    from bevlite.models.kernels import lss_triton

    return lss_triton.frustum_cells(pixel_to_bev, depths_m, limits, sizes)


@_cells.register_fake
def _(pixel_to_bev: Tensor, depths_m: Tensor, limits: Tensor, sizes: list[int]) -> Tensor:
    shape = (*pixel_to_bev.shape[:2], sizes[1], len(depths_m), sizes[0])
    return pixel_to_bev.new_empty(shape, dtype=torch.int32)


@torch.library.custom_op("bevlite::lss_pool", mutates_args=())
def _pool(depth: Tensor, context: Tensor, cells: Tensor, cell_count: int) -> Tensor:
    from bevlite.models.kernels import lss_triton

    return lss_triton.forward(depth, context, cells, cell_count)


@torch.library.custom_op("bevlite::lss_pool_backward", mutates_args=())
def _pool_backward(
    grad: Tensor, depth: Tensor, context: Tensor, cells: Tensor, of_depth: bool, of_context: bool
) -> tuple[Tensor, Tensor]:
    from bevlite.models.kernels import lss_triton

    found = lss_triton.backward(grad.contiguous(), depth, context, cells, (of_depth, of_context))
    first, second = (grad.new_empty(0) if tensor is None else tensor for tensor in found)
    return first, second


@_pool.register_fake
def _(depth: Tensor, context: Tensor, cells: Tensor, cell_count: int) -> Tensor:
    return context.new_empty((cells.shape[0], cell_count, context.shape[1]), dtype=torch.float32)


@_pool_backward.register_fake
def _(
    grad: Tensor, depth: Tensor, context: Tensor, cells: Tensor, of_depth: bool, of_context: bool
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(depth) if of_depth else grad.new_empty(0),
        torch.empty_like(context, memory_format=torch.channels_last) if of_context else grad.new_empty(0),
    )


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    depth, context, cells = ctx.saved_tensors
    of_depth, of_context = ctx.needs_input_grad[:2]
    first, second = _pool_backward(grad, depth, context, cells, of_depth, of_context)
    return first if of_depth else None, second if of_context else None, None, None


_pool.register_autograd(_gradient, setup_context=_keep)


@lru_cache(maxsize=64)
def _kernel_on(kind: str, index: int | None) -> Kernel:
    """The same for a device, found out and said once."""
    if kind == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        SAYS.info("LSS pooling: plain torch on the CPU")
        return "torch"
    device = torch.device(kind if index is None else f"{kind}:{index}")
    problem = _problem(device)
    if problem:
        SAYS.warning("LSS pooling: plain torch on %s, not the Triton kernel: %s", device, problem)
        return "torch"
    SAYS.info("LSS pooling: the Triton kernel on %s", device)
    return "triton"


def _problem(device: torch.device) -> str:
    """Why the kernel does not work there; nothing when it gives what torch gives."""
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < OLDEST:
        return f"compute capability under {OLDEST[0]}.{OLDEST[1]}"
    found = []
    kernels: tuple[Kernel, ...] = ("triton", "torch")
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            source = torch.Generator().manual_seed(0)
            depth = torch.rand((2, 3, 4, 2), generator=source)
            context = torch.randn((2, 5, 4, 2), generator=source)
            cells = torch.randint(-1, 4, (1, 2, 3, 4, 2), generator=source)
            weight = torch.randn((1, 4, 5), generator=source)
            for kernel in kernels:
                given = [tensor.to(device).requires_grad_() for tensor in (depth, context)]
                result = pool(given[0], given[1], cells.to(device), 4, kernel)
                found.append((result.detach(), *torch.autograd.grad((result * weight.to(device)).sum(), given)))
    except Exception as error:  # a compiler that is missing, a driver that is too old: whatever it is, torch works
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"
    if all(torch.allclose(mine, torch_s, rtol=1e-5, atol=1e-5) for mine, torch_s in zip(*found, strict=True)):
        return ""
    return "its results differ from torch's"
