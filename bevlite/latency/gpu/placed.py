"""Where the Q and DQ nodes of a graph go: into the kernels around them, or into kernels of their own.

What NVIDIA's compiler (tensorrt-rtx) does with small graphs of each kind, and what TensorRT's documentation on explicit
quantisation says of residual additions (tests/latency/gpu/test_quantizers.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import TensorProto

from bevlite.errors import BevliteError
from bevlite.latency.onnx.graph import Graph, Node, Tensor
from bevlite.latency.onnx.operators import (
    COMMUTING_OPS,
    CONV_OPS,
    COPY_OPS,
    GATHER_OPS,
    GEMM_OPS,
    NORM_OPS,
    POINTWISE_OPS,
    POOL_OPS,
    QUANTIZE_OPS,
    REDUCE_OPS,
    RESIZE_OPS,
)

STORES_INT8 = frozenset().union(
    GEMM_OPS, POINTWISE_OPS, REDUCE_OPS, NORM_OPS, COPY_OPS, POOL_OPS, RESIZE_OPS, GATHER_OPS, QUANTIZE_OPS
)
"""Kernels that write their result quantised where nobody wants it in float: NVIDIA's compiler quantises in the kernel
that makes, moves or picks values (seen with tensorrt-rtx on graphs of each kind)."""
READS_INT8 = frozenset().union(POINTWISE_OPS, REDUCE_OPS, NORM_OPS, COPY_OPS, RESIZE_OPS, GATHER_OPS, QUANTIZE_OPS)
"""Kernels other than products that dequantise what they read."""


@dataclass
class Group:
    """Nodes that run as one kernel; `anchor` is the node that decides what kind of kernel it is."""

    index: int
    anchor: Node
    nodes: list[Node]
    output_numel: int
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    quantized: bool = False
    attention: tuple[Node, Node] | None = None
    siblings: list[Node] = field(default_factory=list)
    """Other convolutions of the same map that run in it."""
    launches: int = 1
    """Copies that it stands for."""
    elided: bool = False
    """A concatenation whose inputs are written in place by the kernels in front of it, or a part that only those read:
    no kernel."""


IMPOSSIBLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading attributes and sizes runs into that do not fit their operator."""


def unreadable(graph: Graph, node: Node, error: Exception) -> BevliteError:
    """One line for a node whose attributes or sizes do not fit its operator."""
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return BevliteError(
        f"{graph.name}: node '{node.name[:80]}' ({node.op}) cannot be read ({reason}); accepted: attributes and shapes "
        "that fit its operator"
    )


def is_reformatted(tensor: Tensor) -> bool:
    """Whether an input of the engine is rewritten before anything reads it: maps that come in as FP32."""
    return len(tensor.shape) == 4 and tensor.elem_type == TensorProto.FLOAT


class Placed:
    """A graph part of which is in kernels already: what is where, and in which form.

    Attributes:
        graph: all of it.
        groups: the kernels so far.
        group_of: the kernel that makes a tensor.
        alias: views, casts of constants and Q/DQ -> the tensor in memory.
        constants: tensors that are known when the engine is built.
        dequantized: tensors that come out of DequantizeLinear, behind layers that pick or move values too.
        quantizer: tensors that are stored quantised, with the scale.
        maker: the node that writes a tensor.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.groups: list[Group] = []
        self.group_of: dict[str, int] = {}
        self.alias: dict[str, str] = {}
        self.constants = {name for name, tensor in graph.tensors.items() if tensor.constant}
        self.dequantized: set[str] = set()
        self.quantizer: dict[str, float | str] = {}
        self.maker = {name: node for node in graph.nodes for name in node.outputs if name}

    def resolve(self, name: str) -> str:
        """The tensor in memory behind a chain of views."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def is_taken_in(self, node: Node, source: str) -> bool:
        """Whether a Q or DQ node goes into the kernel before or behind it, or takes back what the other one did.

        A result is quantised in the store of its kernel if nobody reads it in float; one that is read in both forms,
        and what comes into the engine in 16 bits, by a kernel of its own. It is dequantised where it is read: by
        products in INT8, elementwise work, reductions and copies; what else reads it needs it in float in memory.
        """
        if node.op == "QuantizeLinear":
            if source in self.quantizer:  # the same values for another reader
                return self.quantizer[source] == self._scale(node)
            self.quantizer[source] = self._scale(node)
            readers = [self.graph.nodes[i] for i in self._readers_over_views(node.inputs[0])]
            alone = all(reader.op == "QuantizeLinear" for reader in readers) and source not in self.graph.outputs
            alone = alone and len({self._scale(reader) for reader in readers}) == 1
            writer = self.group_of.get(source)
            if writer is None:
                return alone and is_reformatted(self.graph.tensor(source))
            host = self.groups[writer]
            return alone and host.anchor.op in STORES_INT8 and not self._adds_floats(host)
        readers = [self.graph.nodes[i] for i in self._readers_over_views(node.outputs[0])]
        return all(self._reads_int8(reader) for reader in readers) and node.outputs[0] not in self.graph.outputs

    def _adds_floats(self, host: Group) -> bool:
        """Whether a convolution in INT8 adds a skip branch that is in float: its result then is in float too."""
        additions = [n for n in host.nodes[1:] if n.op in ("Add", "Sum") and self.reads_foreign(n, host)]
        additions = [n for n in additions if not self.reads_back(n, host)]
        return host.quantized and any(
            name not in self.dequantized and self.resolve(name) not in self.constants
            for node in additions
            for name in node.inputs
            if self.group_of.get(self.resolve(name)) != host.index
        )

    def _reads_int8(self, node: Node) -> bool:
        if node.op in GEMM_OPS and len(node.inputs) > 1:
            return all(self._comes_dequantized(name) for name in node.inputs[:2])
        return node.op in READS_INT8

    def _comes_dequantized(self, name: str) -> bool:
        """Whether a tensor is behind DequantizeLinear and layers that only pick or move values."""
        node = self.maker.get(name)
        while node is not None and node.op != "DequantizeLinear":
            node = self.maker.get(node.inputs[0]) if node.op in COMMUTING_OPS and node.inputs else None
        return node is not None

    def _readers_over_views(self, name: str) -> list[int]:
        """Who reads a tensor, over layers that only pick or move its values."""
        found: list[int] = []
        for index in self.graph.consumers.get(name, ()):
            reader = self.graph.nodes[index]
            if reader.op in COMMUTING_OPS | {"Concat"} and reader.op not in POINTWISE_OPS and reader.outputs:
                found += self._readers_over_views(reader.outputs[0])
            else:
                found.append(index)
        return found

    def _scale(self, node: Node) -> float | str:
        """The scale of a Q node: its value, or its name where that is not known."""
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        return self.graph.scalars.get(name, name)

    def reads_back(self, node: Node, host: Group) -> bool:
        """Whether a node reads what a kernel has quantised in its store."""
        return any(n in self.dequantized and self.group_of.get(self.resolve(n)) == host.index for n in node.inputs)

    def other_convolution(self, node: Node, host: Group) -> bool:
        """Whether one operand of an addition is the result of another convolution, in float, for it alone."""
        names = [name for name in node.inputs if name not in self.dequantized and self.resolve(name) in self.group_of]
        groups = [self.groups[self.group_of[self.resolve(name)]] for name in names]
        alone = all(len(self.graph.consumers.get(name, ())) == 1 for name in names)
        return bool(groups) and alone and all(g.anchor.op in CONV_OPS and g is not host for g in groups)

    def reads_foreign(self, node: Node, host: Group) -> bool:
        """Whether a node reads what another kernel makes."""
        sources = [self.resolve(n) for n in node.inputs if n]
        return any(n not in self.constants and self.group_of.get(n) != host.index for n in sources)
