"""Kernels of cuDNN, cuBLAS and torch's compiler: what they do otherwise than those of an engine builder.

As profiles on an H200 show them (benchmarks/data/modules_h200_*_kernels.jsonl), the figures too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from bevlite.latency.gpu.gemm import CHANNEL_ALIGNMENT, Product, products
from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import POINTWISE_OPS

LIBRARY_WINDOW, GENERAL_FLOPS = 25, 440.0
"""Depthwise convolutions with larger windows, or with windows that are not square, fall back to a general kernel: what
an output costs there, as operations of the others."""
NARROW_CHANNELS, NARROW_COLUMNS = 16, 32
"""Convolutions of few channels, too many for an image's kernels, run in tiles of few columns."""
VECTORS, SHORT_VECTORS = 1.4, 7.0
"""A row by a matrix, many times over: how many take the time of one tile, and of rows that no tensor core takes."""
LIBRARY_FLOPS = {
    "Erf": 45.0, "Gelu": 45.0, "Softplus": 60.0, "Mish": 60.0, "Exp": 15.0, "Sigmoid": 15.0, "Softmax": 85.0,
    "MaxPool": 12.0, "AveragePool": 12.0,
}  # fmt: skip
"""What a value costs beyond plain arithmetic in generated kernels; of pools each element of the window."""
LIBRARY_TAP = 9.5
"""What a node of an interpolating kernel costs at one tap."""
LOOPED_GROUPS = 2
"""So many groups run one after the other; more are rearranged."""
JOINED_NODES = 4
"""As many nodes as these an interpolation costs on the way into a concatenation, whose kernel computes every part."""


@dataclass(frozen=True)
class MisalignedProduct(Product):
    """A product whose rows have a length that is no multiple of eight: no library pads them."""


def library_products(graph: Graph, group: Group) -> list[Product]:
    """The matrix products of a kernel, where 1 x 1 convolutions are those of a library, and no rows are padded."""
    found = products(graph, group)
    if group.attention is not None or not found:
        return found
    first = found[0]
    gemm = group.anchor.op == "Conv" and is_pointwise(graph, group.anchor)
    if first.depthwise:
        general = GENERAL_FLOPS * graph.tensor(group.anchor.outputs[0]).numel
        return [replace(first, flops=max(first.flops, general))] if _is_general(graph, group) else found
    if first.k <= NARROW_CHANNELS and first.convolution and not first.stem:
        parts = ceil(first.n / NARROW_COLUMNS)
        return [replace(first, batch=first.batch * parts, n=min(first.n, NARROW_COLUMNS))]
    if loops_over_groups(graph, group):
        return [replace(first, batch=1, flops=first.flops / groups_of(group)) for _ in range(groups_of(group))]
    if first.convolution and not gemm:
        return found
    if first.m == 1 and first.batch > 1:
        together = SHORT_VECTORS if first.k < CHANNEL_ALIGNMENT else VECTORS
        return [replace(first, batch=ceil(first.batch / together))]
    rows = first.n % CHANNEL_ALIGNMENT != 0 and first.m > 1
    plain = replace(first, convolution=False)
    return [MisalignedProduct(**vars(plain)) if rows else plain]


def footprint_bytes(graph: Graph, group: Group, reads: dict[str, float], writes: list[float]) -> float:
    """What a kernel touches, in bytes: an elementwise kernel writes over what it reads, if that is no input."""
    plain = group.attention is None and all(node.op in POINTWISE_OPS for node in group.nodes)
    own = [size for name, size in reads.items() if name not in graph.inputs]
    shared = sum(writes) if plain and len(writes) == 1 and writes[0] in own else 0.0
    return sum(reads.values()) + sum(writes) - shared


def loops_over_groups(graph: Graph, group: Group) -> bool:
    """Whether a library runs a grouped convolution group by group: two of them, of odd channels."""
    window = graph.tensor(group.anchor.inputs[1]).shape[2:]
    return _is_odd(graph, group) and groups_of(group) == LOOPED_GROUPS and prod(window) > 1


def rearranges(graph: Graph, group: Group) -> bool:
    """Whether it puts the groups behind each other first: more of them than two, or of 1 x 1, and of odd channels."""
    return _is_odd(graph, group) and not loops_over_groups(graph, group)


def _is_odd(graph: Graph, group: Group) -> bool:
    """Whether the groups of a convolution have channels that no kernel is made for."""
    weight = graph.tensor(group.anchor.inputs[1]).shape
    each_in, each_out = weight[1], weight[0] // groups_of(group)
    return groups_of(group) > 1 and each_in > 1 and (each_in != each_out or each_in & (each_in - 1) != 0)


def groups_of(group: Group) -> int:
    """Groups of the convolution that a kernel is."""
    return int(group.anchor.attribute("group", 1)) if group.anchor.op in ("Conv", "ConvTranspose") else 1


def _is_general(graph: Graph, group: Group) -> bool:
    """Whether a depthwise convolution has a window that no kernel of a library is made for."""
    window = graph.tensor(group.anchor.inputs[1]).shape[2:]
    return prod(window) > LIBRARY_WINDOW or len(set(window)) > 1


def is_pointwise(graph: Graph, node: Node) -> bool:
    """Whether a convolution is a matrix product as it stands: window 1 x 1, stride 1, one group."""
    window = graph.tensor(node.inputs[1]).shape[2:]
    strides = node.attribute("strides", [1] * len(window))
    return node.op == "Conv" and prod(window) == 1 and prod(strides) == 1 and int(node.attribute("group", 1)) == 1
