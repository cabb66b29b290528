"""BEVPoolV2's CUDA kernels (BEVDet, Huang and Huang, arXiv 2211.17111) from a copy of their source, to compare with.

The source is not ours and not in this repository: `bev_pool_cuda.cu` of HuangJunJie2017/BEVDet,
`mmdet3d/ops/bev_pool_v2/src`. It is compiled when it is needed, by NVRTC through torch, or by nvcc where that fails.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORWARD, GRADIENT, GRADIENT_OPT = "bev_pool_v2_kernel", "bev_pool_grad_kernel", "bev_pool_grad_kernel_opt"
THREADS = 256


class Tables:
    """Ranks (points,) of depth, feature and BEV sorted by `key`, with starts and lengths of its runs, all int32."""

    def __init__(self, depth: Tensor, feature: Tensor, bev: Tensor, key: str) -> None:
        by = {"bev": bev, "feature": feature}[key]
        order = by.argsort()
        self.depth, self.feature, self.bev = (ranks[order].int().contiguous() for ranks in (depth, feature, bev))
        sorted_by = by[order]
        starts = torch.nonzero(torch.cat([sorted_by.new_ones(1).bool(), sorted_by[1:] != sorted_by[:-1]])).squeeze(1)
        ends = torch.cat([starts[1:], starts.new_tensor([len(sorted_by)])])
        self.starts, self.lengths = starts.int(), (ends - starts).int()


def ranks(cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the points inside: rank in depth (B*N, D, h, w), in features (B*N, h, w) and in the map, for B = 1."""
    _, _, depths, height, width = cells.shape
    flat = cells.reshape(-1)
    kept = torch.nonzero(flat >= 0).squeeze(1)
    area = height * width
    return kept, kept // (depths * area) * area + kept % area, flat[kept].long()


class BEVPoolV2:
    """The compiled kernels."""

    def __init__(self, source: Path) -> None:
        text = re.sub(r"//[^\n]*", "", source.read_text(encoding="utf-8"))
        self.kernels: dict[str, Any] = {}
        found = {name: _function(text, name) for name in (FORWARD, GRADIENT, GRADIENT_OPT)}
        try:
            self._by_nvrtc(found)
            self.how = "NVRTC"
        except Exception as first:
            print(f"- NVRTC through torch: {type(first).__name__}: {str(first)[:300]}; trying nvcc", flush=True)
            self._by_nvcc(found)
            self.how = "nvcc"

    @property
    def has_opt(self) -> bool:
        """Whether the source has the newer gradient kernel too."""
        return GRADIENT_OPT in self.kernels

    def _by_nvrtc(self, found: dict[str, str]) -> None:
        for name, body in found.items():
            if body:
                kernel = torch.cuda._compile_kernel(f'extern "C" {body}', name)

                def launch(blocks: int, arguments: list[Any], kernel: Any = kernel) -> None:
                    kernel((blocks, 1, 1), (THREADS, 1, 1), arguments)

                self.kernels[name] = launch

    def _by_nvcc(self, found: dict[str, str]) -> None:
        from torch.utils.cpp_extension import load_inline

        entries, declared, names = [], [], []
        for name, body in found.items():
            if not body:
                continue
            types = ["const float*"] * (2 if name == FORWARD else 3) + ["const int*"] * 5
            types += ["float*"] * (1 if name == FORWARD else 2)
            taken = ", ".join(f"torch::Tensor t{i}" for i in range(len(types)))
            given = ", ".join(f"({kind})t{i}.data_ptr()" for i, kind in enumerate(types))
            signature = f"void launch_{name}(int64_t blocks, int64_t c, int64_t n, {taken})"
            declared.append(f"{signature};")
            entries.append(f"{body}\n{signature} {{ {name}<<<blocks, {THREADS}, 0, at::cuda::getCurrentCUDAStream()>>>"
                           f"((int)c, (int)n, {given}); }}")  # fmt: skip
            names.append(name)
        built = load_inline(
            "bev_pool_v2_peer", cpp_sources="\n".join(["#include <torch/extension.h>", *declared]),
            cuda_sources="\n".join(["#include <torch/extension.h>", "#include <ATen/cuda/CUDAContext.h>", *entries]),
            functions=[f"launch_{name}" for name in names],
        )  # fmt: skip
        for name in names:
            call = getattr(built, f"launch_{name}")
            self.kernels[name] = lambda blocks, arguments, call=call: call(blocks, *arguments)

    def forward(self, depth: Tensor, rows: Tensor, tables: Tables, cell_count: int) -> Tensor:
        """Depth (N, D, h, w) and rows (N*h*w, C), float32, to the map (P, C), zeroed first as in its wrapper."""
        out = torch.zeros(cell_count, rows.shape[1], device=rows.device)
        channels, intervals = rows.shape[1], len(tables.starts)
        self.kernels[FORWARD](
            -(-intervals * channels // THREADS),
            [channels, intervals, depth, rows, tables.depth, tables.feature, tables.bev, tables.starts, tables.lengths,
             out],
        )  # fmt: skip
        return out

    def backward(self, grad: Tensor, depth: Tensor, rows: Tensor, tables: Tables, opt: bool) -> tuple[Tensor, Tensor]:
        """Gradients of depth and rows, with tables sorted by feature; zeroed first as in its wrapper."""
        of_depth, of_rows = torch.zeros_like(depth), torch.zeros_like(rows)
        channels, intervals = rows.shape[1], len(tables.starts)
        threads = intervals * channels if opt else intervals
        self.kernels[GRADIENT_OPT if opt else GRADIENT](
            -(-threads // THREADS),
            [channels, intervals, grad, depth, rows, tables.depth, tables.feature, tables.bev, tables.starts,
             tables.lengths, of_depth, of_rows],
        )  # fmt: skip
        return of_depth, of_rows


def _function(text: str, name: str) -> str:
    """The text of a `__global__` function; nothing when the source has none of that name."""
    start = re.search(rf"__global__\s+void\s+{name}\s*\(", text)
    if start is None:
        return ""
    place, open_braces = text.index("{", start.end()), 0
    while True:
        open_braces += {"{": 1, "}": -1}.get(text[place], 0)
        place += 1
        if not open_braces:
            return text[start.start() : place]
