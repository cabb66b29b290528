"""Checks of the LSS pooling kernel, on any device: run as a program, they run in Triton's interpreter on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bevlite.models.kernels import lss_pooling


class Case(NamedTuple):
    """Depth (B*N, D, h, w), context (B*N, C, h, w), cells (B, N, D, h, w), how many cells there are."""

    depth: Tensor
    context: Tensor
    cells: Tensor
    cell_count: int


def case(
    kind: str, sizes: tuple[int, ...], dtypes: tuple[torch.dtype, torch.dtype], device: str = "cpu", seed: int = 0
) -> Case:
    """Sizes are B, N, D, h, w, C and the number of cells."""
    batch, cameras, depths, height, width, channels, count = sizes
    source = torch.Generator().manual_seed(seed)
    shape = (batch, cameras, depths, height, width)
    if kind == "scattered":  # not two points of a column alike
        cells = torch.randint(-1, count, shape, generator=source)
    elif kind == "columns":  # what a camera sees: runs of rows, some outside the grid
        turn = torch.randint(0, height + 1, (batch, cameras, depths, 1, width), generator=source)
        first = torch.randint(-1, count - 1, (batch, cameras, depths, 1, width), generator=source)
        cells = torch.where(torch.arange(height)[:, None] < turn, first, torch.clamp(first + 1, max=count - 1))
    else:
        cells = torch.full(shape, {"one cell": count - 1, "nowhere": -1}[kind])
    depth = torch.rand((batch * cameras, *shape[2:]), generator=source).to(device, dtypes[0])
    context = torch.randn((batch * cameras, channels, height, width), generator=source).to(device, dtypes[1])
    return Case(depth, context, cells.to(device), count)


def exact(given: Case, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The map (B, P, C) point by point in float64, and the gradients of its product with `weight`."""
    depth, context, weight = (t.double().cpu() for t in (given.depth, given.context, weight))
    batch, cameras, depths, height, width = given.cells.shape
    n, d, v, u = torch.from_numpy(np.indices((batch * cameras, depths, height, width)).reshape(4, -1))
    cell = given.cells.cpu().reshape(-1)
    n, d, v, u, cell = (a[cell >= 0] for a in (n, d, v, u, cell))
    place, pixel = (n // cameras) * given.cell_count + cell, (n * height + v) * width + u
    features, weights = context[n, :, v, u], depth[n, d, v, u]
    pooled = torch.zeros_like(weight).flatten(0, 1).index_add(0, place, features * weights[:, None])
    above = weight.flatten(0, 1)[place]
    of_depth = torch.zeros_like(depth)
    of_depth[n, d, v, u] = (features * above).sum(dim=1)
    rows = torch.zeros(batch * cameras * height * width, context.shape[1], dtype=torch.float64)
    rows.index_add_(0, pixel, above * weights[:, None])
    of_context = rows.view(batch * cameras, height, width, -1).permute(0, 3, 1, 2)
    return pooled.view_as(weight), of_depth, of_context


def errors(given: Case, kernel: lss_pooling.Kernel) -> tuple[float, float, float]:
    """How far map and gradients are from the exact ones, by their norms; types and shapes must be theirs."""
    depth, context = (t.detach().clone().requires_grad_() for t in (given.depth, given.context))
    pooled = lss_pooling.pool(depth, context, given.cells, given.cell_count, kernel)
    assert pooled.dtype == torch.promote_types(context.dtype, torch.float32)
    weight = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).to(pooled)
    (pooled * weight).sum().backward()
    found = []
    for mine, true in zip((pooled.detach(), depth.grad, context.grad), exact(given, weight), strict=True):
        assert mine is not None and mine.shape == true.shape
        found.append(float((mine.double().cpu() - true).norm() / true.norm().clamp(min=1e-30)))
    assert depth.grad is not None and context.grad is not None
    assert (depth.grad.dtype, context.grad.dtype) == (depth.dtype, context.dtype)
    return found[0], found[1], found[2]


FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
CASES = [
    ("columns", (1, 2, 20, 9, 3, 20, 30), (FP32, FP32)),
    ("columns", (2, 2, 18, 5, 2, 80, 50), (FP32, BF16)),
    ("columns", (2, 1, 17, 17, 2, 7, 40), (BF16, BF16)),
    ("columns", (1, 1, 33, 70, 1, 16, 40), (FP16, FP16)),
    ("scattered", (2, 2, 6, 4, 3, 5, 7), (FP32, FP32)),
    ("one cell", (2, 2, 17, 6, 3, 33, 4), (FP32, FP32)),
    ("nowhere", (1, 2, 17, 6, 3, 33, 4), (FP32, FP32)),
]


def check_all(kernel: lss_pooling.Kernel, device: str) -> Iterator[str]:
    """Every case; yields a line for each."""
    for kind, sizes, dtypes in CASES:
        given = case(kind, sizes, dtypes, device)
        off = errors(given, kernel)
        # The map is float32 whatever goes in; gradients are rounded to the type of what they belong to.
        limits = [1e-6, *(1e-6 if dtype == FP32 else 6e-3 for dtype in dtypes)]
        assert all(error <= limit for error, limit in zip(off, limits, strict=True)), (kind, sizes, dtypes, off)
        yield f"{kind} {sizes} {dtypes}: {off}"


def check_cells() -> str:
    """The kernel's cells are the host's, for cameras turned, moved and focused anew."""
    from tests.models.test_lss import calibration, lift_splat

    network, source = lift_splat(), np.random.default_rng(0)
    matrices = torch.from_numpy(np.stack([calibration(source) for _ in range(2)]))
    mine, host = (network.cells(matrices, kernel) for kernel in ("triton", "torch"))  # type: ignore[arg-type]
    assert mine.dtype == torch.int32 and torch.equal(mine.long(), host)
    return f"cells {tuple(mine.shape)}"


def check_choice() -> str:
    """A device on which the kernel gives what torch gives has it; some callers never do."""
    here = torch.device("cpu")
    with torch.inference_mode():  # the first to ask may be an evaluation
        assert lss_pooling._problem(here) == ""
    assert lss_pooling.kernel_for(here, FP32) == "triton"
    assert lss_pooling.kernel_for(here, torch.float64) == "torch"
    torch.use_deterministic_algorithms(True)
    assert lss_pooling.kernel_for(here, FP32) == "torch"
    torch.use_deterministic_algorithms(False)
    compiled = torch.compile(lambda d, c, k: lss_pooling.pool(d, c, k, 30, "triton"), backend="eager", fullgraph=True)
    given = case("columns", (1, 2, 4, 5, 3, 20, 30), (FP32, FP32))
    torch.testing.assert_close(compiled(*given[:3]), lss_pooling.pool(*given, "torch"))
    return "choice"


if __name__ == "__main__":
    for line in (*check_all("triton", "cpu"), check_cells(), check_choice()):
        print(line)
    sys.exit(0)
