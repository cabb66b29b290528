"""Products where cuDNN and cuBLAS run them: what these libraries do otherwise than an engine builder.

As profiles on an H200 show them (benchmarks/data/modules_h200_*_kernels.jsonl).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from bevlite.latency.fusion import Group
from bevlite.latency.gemm import CHANNEL_ALIGNMENT, Product, products
from bevlite.latency.graph import Graph, Node

LIBRARY_WINDOW = 25
"""Larger windows of depthwise convolutions fall back to a general kernel."""


def library_products(graph: Graph, group: Group) -> list[Product]:
    """The same for a backend that runs 1 x 1 convolutions as matrix products of a library, and pads no rows."""
    found = products(graph, group)
    if group.attention is not None or not found:
        return found
    first = found[0]
    gemm = group.anchor.op == "Conv" and is_pointwise(graph, group.anchor)
    if first.depthwise:
        return [replace(first, misaligned=group_window(graph, group) > LIBRARY_WINDOW)]
    if loops_over_groups(graph, group):
        return [replace(first, batch=1, flops=first.flops / groups_of(group)) for _ in range(groups_of(group))]
    if first.convolution and not gemm:
        return found
    rows = first.n % CHANNEL_ALIGNMENT != 0 and first.m > 1
    return [replace(first, convolution=False, misaligned=rows)]


def loops_over_groups(graph: Graph, group: Group) -> bool:
    """Whether a library runs a grouped convolution group by group: channels that no kernel of it is made for."""
    weight = graph.tensor(group.anchor.inputs[1]).shape
    each_in, each_out = weight[1], weight[0] // groups_of(group)
    return groups_of(group) > 1 and each_in > 1 and (each_in != each_out or each_in & (each_in - 1) != 0)


def groups_of(group: Group) -> int:
    """Groups of the convolution that a kernel is."""
    return int(group.anchor.attribute("group", 1)) if group.anchor.op in ("Conv", "ConvTranspose") else 1


def group_window(graph: Graph, group: Group) -> int:
    """Elements of the window of a convolution."""
    return prod(graph.tensor(group.anchor.inputs[1]).shape[2:])


def is_pointwise(graph: Graph, node: Node) -> bool:
    """Whether a convolution is a matrix product as it stands: window 1 x 1, stride 1, one group."""
    window = graph.tensor(node.inputs[1]).shape[2:]
    strides = node.attribute("strides", [1] * len(window))
    return node.op == "Conv" and prod(window) == 1 and prod(strides) == 1 and int(node.attribute("group", 1)) == 1
