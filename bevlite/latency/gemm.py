"""The multiply-adds of a kernel as matrix products M x N x K, and their number by hand-checkable formulas."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from bevlite.latency.fusion import Group
from bevlite.latency.graph import Graph, Node

CHANNEL_ALIGNMENT = 8
"""16-bit tensor-core kernels read channels in eights; fewer are padded."""


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


def products(graph: Graph, group: Group) -> list[Product]:
    """The matrix products of a kernel: none, one, or the two of an attention."""
    nodes: tuple[Node, ...] = group.attention or (group.anchor,)
    return [p for p in (product(graph, node) for node in nodes) if p is not None]


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
    if node.op == "Conv":
        pixels, channels_in, channels_out = target[0] * prod(target[2:]), weight[1], weight[0] // groups
        m, n, k = pixels, channels_out, _aligned(channels_in) * window
    else:
        # every input pixel makes a window of output pixels
        pixels, channels_in, channels_out = source[0] * prod(source[2:]), weight[0] // groups, weight[1]
        m, n, k = pixels, channels_out * window, _aligned(channels_in)
    flops = 2.0 * pixels * groups * channels_in * channels_out * window
    return Product(groups, m, n, k, flops, convolution=True, depthwise=groups > 1 and channels_in == 1)


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
