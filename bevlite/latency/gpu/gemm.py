"""The multiply-adds of a kernel as matrix products M x N x K, and their number by hand-checkable formulas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Graph, Node

CHANNEL_ALIGNMENT = 8
"""16-bit tensor-core kernels read channels in eights; fewer are padded."""
STEM_CHANNELS = 4
"""A convolution of an image has kernels of its own, which read pixels of up to four channels."""
STEM_COLUMNS = 64
"""They are bound by gathering the windows: fewer output channels than this make them no quicker."""
PACKED_CHANNELS = 32
"""Channels that the groups of one tile of a grouped convolution have together."""
HEAD_ALIGNMENT = 64
"""Fused attention works on heads of this size or less, padded."""


@dataclass(frozen=True)
class Product:
    """`batch` products of (M x K) by (K x N). `flops` are the true ones, without padding."""

    batch: int
    m: int
    n: int
    k: int
    flops: float
    convolution: bool = False
    depthwise: bool = False
    transposed: bool = False
    stem: bool = False
    """A convolution that reads an image of up to four channels."""


def products(graph: Graph, group: Group) -> list[Product]:
    """The matrix products of a kernel: none, one, or the two of an attention."""
    if group.attention is not None:
        return [_attention(graph, *group.attention)]
    found = product(graph, group.anchor)
    if found is None:
        return []
    others = [work for node in group.siblings if (work := product(graph, node)) is not None]
    columns, flops = sum(work.n for work in others), sum(work.flops for work in others)
    return [replace(found, n=found.n + columns, flops=found.flops + flops) if others else found]


def product(graph: Graph, node: Node) -> Product | None:
    """The product behind one node, or None when the node multiplies no matrices."""
    if node.op in ("Conv", "ConvTranspose"):
        return _convolution(graph, node)
    if node.op == "MatMul":
        return _matmul(graph, node)
    if node.op == "Gemm":
        return _gemm(graph, node)
    return _einsum(graph, node) if node.op == "Einsum" else None


def _convolution(graph: Graph, node: Node) -> Product:
    """Implicit GEMM: M is output pixels, N output channels, K input channels times the window."""
    weight = graph.tensor(node.inputs[1]).shape
    source = graph.tensor(node.inputs[0]).shape
    target = graph.tensor(node.outputs[0]).shape
    groups = int(node.attribute("group", 1))
    window = prod(weight[2:])
    stem = node.op == "Conv" and groups == 1 and weight[1] <= STEM_CHANNELS
    if node.op == "Conv":
        pixels, channels_in, channels_out = target[0] * prod(target[2:]), weight[1], weight[0] // groups
        m, n, k = pixels, channels_out, (STEM_CHANNELS if stem else _aligned(channels_in)) * window
        if channels_in > 1 and groups > 1:  # small groups share a tile, which then multiplies their zeros too
            together = max(1, min(groups, PACKED_CHANNELS // max(channels_in, channels_out)))
            flops = 2.0 * pixels * groups * channels_in * channels_out * window
            return Product(-(-groups // together), m, n * together, k * together, flops, convolution=True)
        n = max(n, STEM_COLUMNS) if stem else n
    else:
        # every input pixel makes a window of output pixels
        pixels, channels_in, channels_out = source[0] * prod(source[2:]), weight[0] // groups, weight[1]
        m, n, k = pixels, channels_out * window, _aligned(channels_in)
    flops = 2.0 * pixels * groups * channels_in * channels_out * window
    return Product(
        groups,
        m,
        n,
        k,
        flops,
        convolution=True,
        depthwise=groups > 1 and channels_in == 1,
        stem=stem,
        transposed=node.op != "Conv",
    )


def _attention(graph: Graph, scores: Node, values: Node) -> Product:
    """Both products of a fused attention as one: M queries, N keys, K both sides of a padded head."""
    first, second = _matmul(graph, scores), _matmul(graph, values)
    head = -(-max(first.k, second.n) // HEAD_ALIGNMENT) * HEAD_ALIGNMENT
    return Product(first.batch, first.m, first.n, 2 * head, first.flops + second.flops)


def _matmul(graph: Graph, node: Node) -> Product:
    a, b = graph.tensor(node.inputs[0]).shape, graph.tensor(node.inputs[1]).shape
    a = (1, *a) if len(a) == 1 else a
    b = (*b, 1) if len(b) == 1 else b
    batch_b = prod(b[:-2])
    if batch_b == 1:  # a shared right side: all rows are one matrix
        batch, m = 1, prod(a[:-1])
    else:
        batch, m = max(batch_b, prod(a[:-2])), a[-2]
    n, k = b[-1], a[-1]
    return Product(batch, m, n, k, 2.0 * batch * m * n * k)


def _gemm(graph: Graph, node: Node) -> Product:
    a, b = graph.tensor(node.inputs[0]).shape, graph.tensor(node.inputs[1]).shape
    m, k = (a[1], a[0]) if node.attribute("transA", 0) else (a[0], a[1])
    n = b[0] if node.attribute("transB", 0) else b[1]
    return Product(1, m, n, k, 2.0 * m * n * k)


def _einsum(graph: Graph, node: Node) -> Product | None:
    """Two operands, no ellipsis: labels in both inputs and the output are the batch, and so on."""
    terms, _, output = str(node.attribute("equation", "")).replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != 2 or "." in terms or not output:
        return None
    sizes: dict[str, int] = {}
    for labels, name in zip(operands, node.inputs, strict=True):
        sizes.update(zip(labels, graph.tensor(name).shape, strict=True))
    first, second = set(operands[0]), set(operands[1])

    def size(labels: set[str]) -> int:
        return prod(sizes[label] for label in labels)

    batch, k = size(first & second & set(output)), size((first & second) - set(output))
    m, n = size((first - second) & set(output)), size((second - first) & set(output))
    return Product(batch, m, n, k, 2.0 * prod(sizes.values()))


def _aligned(channels: int) -> int:
    return -(-channels // CHANNEL_ALIGNMENT) * CHANNEL_ALIGNMENT
