"""Kinds of kernels, by the operator that decides what a kernel is: one table for the model and for reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bevlite.latency.onnx.operators import (
    CONV_OPS,
    COPY_OPS,
    GEMM_OPS,
    NORM_OPS,
    POINTWISE_OPS,
    POOL_OPS,
    QUANTIZE_OPS,
    REDUCE_OPS,
    RESIZE_OPS,
)

Kind = Literal[
    "convolution", "depthwise", "matmul", "attention", "elementwise", "copy", "reduction", "pool", "resize", "gather",
    "other",
]  # fmt: skip
"""What a calibration on one board can tell apart, and corrects by a factor each."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class KindRow:
    """Operators of one kind, and the words that a report has for them."""

    operators: frozenset[str]
    kind: Kind
    words: str


ROWS: tuple[KindRow, ...] = (
    KindRow(CONV_OPS, "convolution", "convolution"),
    KindRow(GEMM_OPS - CONV_OPS, "matmul", "matrix product"),
    KindRow(frozenset({"Attention"}), "attention", "attention"),
    KindRow(NORM_OPS | REDUCE_OPS, "reduction", "normalisation and reduction"),
    KindRow(POINTWISE_OPS, "elementwise", "elementwise"),
    KindRow(POOL_OPS, "pool", "pooling"),
    KindRow(COPY_OPS | {"Reformat"}, "copy", "copy and transpose"),
    KindRow(RESIZE_OPS, "resize", "resize and sampling"),
    KindRow(frozenset({"GridSample"}), "gather", "resize and sampling"),
    KindRow(
        frozenset({"Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements"}),
        "gather",
        "gather and scatter",
    ),
    KindRow(frozenset({"TopK", "NonMaxSuppression", "CumSum", "OneHot"}), "other", "gather and scatter"),
    KindRow(QUANTIZE_OPS, "other", "quantisation"),
)
"""Each operator in one row."""
OTHER = KindRow(frozenset(), "other", "other")


def kind_of_operator(op: str) -> KindRow:
    """The row of an operator."""
    return next((row for row in ROWS if op in row.operators), OTHER)
