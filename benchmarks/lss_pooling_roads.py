"""What `lss_pooling.py` compares: sizes, tensors, and three roads from depth and features to a map and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bev_pool_v2 import BEVPoolV2, Tables, ranks
from torch import Tensor

from bevlite.models.kernels import lss_pooling
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.pooling import CellGrid, Frustum

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
TYPES = {"fp32": (FP32, FP32), "fp32 + bf16": (FP32, BF16), "bf16": (BF16, BF16), "fp16": (FP16, FP16)}
"""Of depth and features; under bf16-mixed training a softmax gives float32, a convolution bfloat16."""


@dataclass(frozen=True)
class Size:
    """A network's pooling."""

    name: str
    frustum: Frustum
    grid: CellGrid
    channels: int
    image: tuple[int, int] = (256, 704)

    @property
    def cell_count(self) -> int:
        return self.grid.ny * self.grid.nx


def _bins(step: float) -> tuple[float, ...]:
    return tuple(1 + (k + 0.5) * step for k in range(round(59 / step)))


SIZES = (
    Size("6 x 16 x 44, D 59, C 64 -> 128 x 128", Frustum(_bins(1.0), 16, 44, 16),
         CellGrid(-51.2, -51.2, 0.8, 128, 128, -5.0, 5.0), 64),
    Size("6 x 32 x 88, D 118, C 80 -> 360 x 360", Frustum(_bins(0.5), 32, 88, 8),
         CellGrid(-54.0, -54.0, 0.3, 360, 360, -10.0, 10.0), 80),
)  # fmt: skip


@dataclass
class Inputs:
    """One set of tensors: depth (6, D, h, w), features (6, C, h, w) channels last, the map's gradient (1, P, C)."""

    depth: Tensor
    context: Tensor
    grad: Tensor


class Case:
    """A size with types: its sets of tensors, cells and tables of a rig that is turned by up to a degree."""

    def __init__(self, size: Size, types: tuple[torch.dtype, torch.dtype], sets: int) -> None:
        self.size = size
        self.matrices = _turned(nominal_pixel_to_bev(*size.image), np.random.default_rng(0))
        grid, frustum = size.grid, size.frustum
        self.geometry = (
            torch.from_numpy(self.matrices)[None].cuda(),
            torch.tensor(frustum.depths_m, dtype=torch.float64).cuda(),
            torch.tensor((grid.x_min, grid.y_min, grid.cell_m, grid.z_min, grid.z_max), dtype=torch.float64).cuda(),
            (frustum.height, frustum.width, frustum.stride, grid.ny, grid.nx),
        )
        self.pixels = torch.from_numpy(frustum.pixels().reshape(-1, 3)).cuda()
        self.cells = lss_pooling.frustum_cells(*self.geometry)
        torch.manual_seed(0)
        shape = (frustum.height, frustum.width)
        self.sets = [
            Inputs(
                torch.randn(6, len(frustum.depths_m), *shape, device="cuda").softmax(dim=1).to(types[0]),
                torch.randn(6, size.channels, *shape, device="cuda").to(types[1], memory_format=torch.channels_last),
                torch.randn(1, size.cell_count, size.channels, device="cuda"),
            )
            for _ in range(sets)
        ]
        points = ranks(self.cells)
        self.by_bev, self.by_feature = Tables(*points, "bev"), Tables(*points, "feature")


def _turned(matrices: np.ndarray, source: np.random.Generator) -> np.ndarray:
    """Every camera turned by half a degree and moved by 2 cm, standard deviations."""
    for matrix in matrices:
        a, b, c = source.normal(0, np.deg2rad(0.5), 3)
        small = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
        q, _ = np.linalg.qr(np.eye(3) + small)
        matrix[:3, :3] = q * np.sign(np.diag(q)) @ matrix[:3, :3]
        matrix[:3, 3] += source.normal(0, 0.02, 3)
    return matrices


class Ours:
    """The Triton kernel."""

    name = "ours"

    def forward(self, case: Case, given: Inputs) -> Tensor:
        from bevlite.models.kernels import lss_triton

        return lss_triton.forward(given.depth, given.context, case.cells, case.size.cell_count)

    def backward(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        from bevlite.models.kernels import lss_triton

        of_depth, of_context = lss_triton.backward(given.grad, given.depth, given.context, case.cells)
        assert of_depth is not None and of_context is not None
        return of_depth, of_context

    def both(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        return (self.forward(case, given), *self.backward(case, given))

    def anew(self, case: Case, given: Inputs) -> None:
        """A training step's pooling with a new calibration, as a network calls it."""
        case.cells = lss_pooling.frustum_cells(*case.geometry)
        leaves = [tensor.detach().requires_grad_() for tensor in (given.depth, given.context)]
        out = lss_pooling.pool(leaves[0], leaves[1], case.cells, case.size.cell_count, "triton")
        torch.autograd.grad(out, leaves, given.grad)


class Peer:
    """BEVPoolV2, with conversions as in its wrapper."""

    def __init__(self, kernels: BEVPoolV2, opt: bool) -> None:
        self._kernels, self._opt = kernels, opt
        self.name = "BEVPoolV2" + (", its newer gradient" if opt else "")

    def forward(self, case: Case, given: Inputs) -> Tensor:
        return self._kernels.forward(*_float(given), case.by_bev, case.size.cell_count)[None]

    def backward(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        return self._gradients(given, *_float(given), case.by_feature)

    def both(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        return self._both(case, given, case.by_bev, case.by_feature)

    def anew(self, case: Case, given: Inputs) -> None:
        """With tables made anew, from cells by our kernel; the gradient sorts again as its wrapper does."""
        points = ranks(lss_pooling.frustum_cells(*case.geometry))
        self._both(case, given, Tables(*points, "bev"), Tables(*points, "feature"))

    def _both(self, case: Case, given: Inputs, by_bev: Tables, by_feature: Tables) -> tuple[Tensor, ...]:
        depth, rows = _float(given)
        out = self._kernels.forward(depth, rows, by_bev, case.size.cell_count)
        return (out, *self._gradients(given, depth, rows, by_feature))

    def _gradients(self, given: Inputs, depth: Tensor, rows: Tensor, tables: Tables) -> tuple[Tensor, ...]:
        of_depth, of_rows = self._kernels.backward(given.grad[0], depth, rows, tables, self._opt)
        of_context = of_rows.view(len(depth), *given.context.shape[2:], -1).permute(0, 3, 1, 2)
        return of_depth.to(given.depth.dtype), of_context.to(given.context.dtype)


def _float(given: Inputs) -> tuple[Tensor, Tensor]:
    """Depth, and features as rows (N*h*w, C), in float32."""
    return given.depth.float(), given.context.permute(0, 2, 3, 1).reshape(-1, given.context.shape[1]).float()


class Torch:
    """What ran before the kernel, and still runs without it."""

    name = "torch"

    def forward(self, case: Case, given: Inputs) -> Tensor:
        return lss_pooling.pool(given.depth, given.context, case.cells, case.size.cell_count, "torch")

    def backward(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        return self.both(case, given)[1:]

    def both(self, case: Case, given: Inputs) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in (given.depth, given.context)]
        out = lss_pooling.pool(leaves[0], leaves[1], case.cells, case.size.cell_count, "torch")
        return (out, *torch.autograd.grad(out, leaves, given.grad))

    def anew(self, case: Case, given: Inputs) -> None:
        """With cells in torch."""
        case.cells = _cells_in_torch(case)
        self.both(case, given)


def _cells_in_torch(case: Case) -> Tensor:
    """As `LiftSplat.cells` computes them without the kernel."""
    grid, frustum = case.size.grid, case.size.frustum
    matrix = case.geometry[0]
    points = case.pixels @ matrix[..., :3, :3].transpose(-1, -2) + matrix[..., None, :3, 3]
    ix = torch.floor((points[..., 0] - grid.x_min) / grid.cell_m).long()
    iy = torch.floor((points[..., 1] - grid.y_min) / grid.cell_m).long()
    z = points[..., 2]
    inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny) & (z >= grid.z_min) & (z < grid.z_max)
    cells = torch.where(inside, iy * grid.nx + ix, torch.full_like(ix, -1))
    return cells.view(1, 6, len(frustum.depths_m), frustum.height, frustum.width)
