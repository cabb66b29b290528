"""The kind of a kernel, and the coefficient that a calibration on one board corrects it by."""

from __future__ import annotations

from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.onnx.kinds import Kind, kind_of_operator

BY_PRODUCTS: frozenset[Kind] = frozenset({"convolution", "matmul", "attention"})
"""Kinds that a kernel's products tell: one without them is of no such kind, whatever its operator."""


def kind_of(kernel: KernelFeatures) -> Kind:
    """The kind of a kernel, by its products or else by the operator that it is named for."""
    if kernel.attention:
        return "attention"
    if kernel.products:
        first = kernel.products[0]
        return "depthwise" if first.depthwise else "convolution" if first.convolution else "matmul"
    kind = kind_of_operator(kernel.op).kind
    return "other" if kind in BY_PRODUCTS else kind


def factor_name(kind: Kind) -> str:
    """The coefficient that corrects a kind."""
    return f"{kind}_factor"
