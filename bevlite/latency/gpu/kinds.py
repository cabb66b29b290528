"""Kinds of kernels: what a calibration on one board can tell apart, and corrects by a factor each."""

from __future__ import annotations

from typing import Literal, get_args

from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.onnx.operators import COPY_OPS, NORM_OPS, POINTWISE_OPS, POOL_OPS, REDUCE_OPS, RESIZE_OPS

Kind = Literal[
    "convolution", "depthwise", "matmul", "attention", "elementwise", "copy", "reduction", "pool", "resize", "gather",
    "other",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
GATHERS = frozenset({"Gather", "GatherElements", "GatherND", "GridSample", "ScatterND", "ScatterElements"})
BY_OPERATOR: tuple[tuple[frozenset[str], Kind], ...] = (
    (REDUCE_OPS | NORM_OPS, "reduction"),
    (RESIZE_OPS, "resize"),
    (GATHERS, "gather"),
    (POOL_OPS, "pool"),
    (COPY_OPS | {"Reformat"}, "copy"),
    (POINTWISE_OPS, "elementwise"),
)


def kind_of(kernel: KernelFeatures) -> Kind:
    """The kind of a kernel, by its products or else by the operator that it is named for."""
    if kernel.attention:
        return "attention"
    if kernel.products:
        first = kernel.products[0]
        return "depthwise" if first.depthwise else "convolution" if first.convolution else "matmul"
    return next((kind for operators, kind in BY_OPERATOR if kernel.op in operators), "other")


def factor_name(kind: Kind) -> str:
    """The coefficient that corrects a kind."""
    return f"{kind}_factor"
