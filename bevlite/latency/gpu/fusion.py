"""Which nodes of a graph TensorRT runs as one kernel: a simple, conservative picture of its fusions.

Constants are folded; reshapes are free; BatchNorm, bias, activation and residual addition go into the
convolution or matrix product in front of them; chains of elementwise work become one kernel; a decomposed
LayerNorm is one kernel; attention is one kernel where the version fuses it. Q/DQ nodes say which products run in INT8
and go into the kernels around them; where none takes them in they are kernels of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import TensorProto

from bevlite.latency.onnx.graph import Graph, Node, Tensor
from bevlite.latency.onnx.operators import (
    COMMUTING_OPS,
    CONV_OPS,
    COPY_OPS,
    GATHER_OPS,
    GEMM_OPS,
    LINEAR_OPS,
    MOVE_OPS,
    NORM_OPS,
    POINTWISE_OPS,
    POOL_OPS,
    QUANTIZE_OPS,
    REDUCE_OPS,
    RESIZE_OPS,
    UNCERTAIN_OPS,
    VIEW_OPS,
)
from bevlite.tensorrt import Version, fuses_attention, fuses_gemm_epilogues

STORES_INT8 = frozenset().union(
    GEMM_OPS, POINTWISE_OPS, REDUCE_OPS, NORM_OPS, COPY_OPS, POOL_OPS, RESIZE_OPS, GATHER_OPS, QUANTIZE_OPS
)
"""Kernels that write their result quantised where nobody wants it in float: NVIDIA's compiler quantises in the kernel
that makes, moves or picks values (seen with tensorrt-rtx on graphs of each kind)."""
READS_INT8 = frozenset().union(POINTWISE_OPS, REDUCE_OPS, NORM_OPS, COPY_OPS, RESIZE_OPS, GATHER_OPS, QUANTIZE_OPS)
"""Kernels other than products that dequantise what they read."""
INT8_GROUP = 4
"""Channels of a group of an INT8 convolution come in fours (reference: TensorRT's rules for explicit quantisation)."""


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
    elided: bool = False
    """A concatenation whose inputs are written in place by the kernels in front of it: no kernel."""


@dataclass(frozen=True)
class Rules:
    """What a builder fuses beyond convolutions with their epilogues and elementwise chains."""

    attention: bool = True
    """MatMul, Softmax and MatMul in one kernel."""
    gemm_epilogue: bool = True
    """Elementwise work behind a matrix product in its store; without it only a constant bias is."""
    layer_norm: bool = True
    """LayerNormalization as one kernel; without it as two reductions and the elementwise work after each."""


@dataclass(frozen=True)
class FusedGraph:
    """The kernels of a graph in order of execution; `quantized` tells whether the file carries Q/DQ nodes."""

    groups: tuple[Group, ...]
    quantized: bool
    constants: frozenset[str]
    rules: Rules


def tensorrt_rules(version: Version) -> Rules:
    """The rules of a TensorRT version on Orin: 8.6 brought fused attention and normalisation, 10 GEMM epilogues."""
    attention = fuses_attention(version)
    return Rules(attention=attention, gemm_epilogue=fuses_gemm_epilogues(version), layer_norm=attention)


def is_reformatted(tensor: Tensor) -> bool:
    """Whether an input of the engine is rewritten before anything reads it: maps that come in as FP32."""
    return len(tensor.shape) == 4 and tensor.elem_type == TensorProto.FLOAT


def takes_int8(graph: Graph, convolution: Node) -> bool:
    """Whether there are INT8 kernels for a convolution: groups have a multiple of four channels."""
    groups = int(convolution.attribute("group", 1))
    return groups == 1 or graph.tensor(convolution.inputs[1]).shape[1] % INT8_GROUP == 0


def fuse(graph: Graph, rules: Rules | None = None) -> FusedGraph:
    """Group the nodes of a graph into kernels (by default with all that the newest TensorRT fuses)."""
    return Fusion(graph, rules or Rules()).run()


class Fusion:
    """Groups the nodes of one graph; a backend of other habits overrides where a node goes."""

    group_type: type[Group] = Group

    def __init__(self, graph: Graph, rules: Rules) -> None:
        self.graph = graph
        self.rules = rules
        self.alias: dict[str, str] = {}  # views, casts of constants and Q/DQ -> the tensor in memory
        self.constants = {name for name, tensor in graph.tensors.items() if tensor.constant}
        self.dequantized: set[str] = set()
        self.quantizer: dict[str, float | str] = {}  # tensors that are stored quantised -> by which scale
        self.maker = {name: node for node in graph.nodes for name in node.outputs if name}
        self.group_of: dict[str, int] = {}
        self.groups: list[Group] = []
        self.has_qdq = any(n.op in QUANTIZE_OPS for n in graph.nodes)

    def run(self) -> FusedGraph:
        """Group all nodes, and find what goes in and out of each kernel."""
        for node in self.graph.nodes:
            self.place(node)
        if self.rules.attention:
            self.join_attention()
        self.find_traffic()
        for group in self.groups:
            group.elided = self._is_elided(group)
        return FusedGraph(tuple(self.groups), self.has_qdq, frozenset(self.constants), self.rules)

    def resolve(self, name: str) -> str:
        """The tensor in memory behind a chain of views."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def place(self, node: Node) -> None:
        """Fold a node, read it as a view, or put it into a kernel: that of its inputs, or one of its own."""
        real = [self.resolve(name) for name in node.inputs if name]
        if node.op in ("Shape", "Size") or all(name in self.constants for name in real):
            # Shapes are static, so all of this is folded when the engine is built.
            self.constants.update(node.outputs)
            if node.op == "DequantizeLinear":
                self.dequantized.add(node.outputs[0])
            return
        if node.op in VIEW_OPS or self._is_free(node) or (node.op in QUANTIZE_OPS and self._is_taken_in(node, real[0])):
            self._make_view(node, real[0])
            return
        if node.op == "DequantizeLinear":
            self.dequantized.add(node.outputs[0])
        if node.op in COMMUTING_OPS and node.inputs[0] in self.dequantized:
            self.dequantized.update(node.outputs)
        host = self.host_of(node, real)
        if host is not None:
            host.nodes.append(node)
            host.output_numel = self._numel(node)
        else:
            quantized = self._is_quantized(node)
            host = self.group_type(len(self.groups), node, [node], self._numel(node), quantized=quantized)
            self.groups.append(host)
        for name in node.outputs:
            if name:
                self.group_of[name] = host.index

    def _make_view(self, node: Node, source: str) -> None:
        for name in node.outputs:
            if name:
                self.alias[name] = source
                # A quantised tensor stays one when it is reshaped.
                reshaped = node.op not in QUANTIZE_OPS and node.inputs[0] in self.dequantized
                if reshaped or node.op == "DequantizeLinear":
                    self.dequantized.add(name)

    def _is_taken_in(self, node: Node, source: str) -> bool:
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
        additions = [n for n in host.nodes[1:] if n.op in ("Add", "Sum") and self._reads_foreign(n, host)]
        additions = [n for n in additions if not self._reads_back(n, host)]
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

    def _is_free(self, node: Node) -> bool:
        """Copies that copy nothing: a transpose that only moves axes of size 1, a slice of the outer axis."""
        source = self.graph.tensor(node.inputs[0])
        if node.op == "Transpose":
            order = node.attribute("perm", list(range(len(source.shape)))[::-1])
            kept = [axis for axis in order if source.shape[axis] != 1]
            return kept == sorted(kept)
        if node.op in ("Slice", "Split"):
            target = self.graph.tensor(node.outputs[0]).shape
            changed = [i for i, (a, b) in enumerate(zip(source.shape, target, strict=True)) if a != b]
            outer = changed[0] if changed else 0
            if len(source.shape) == 4 and outer == 1:
                return False  # feature maps lie with their channels together: a part of them is a copy
            return len(changed) <= 1 and all(size == 1 for size in source.shape[:outer])
        if node.op in ("Concat", "Expand", "Tile", "Pad"):
            return source.numel == self._numel(node)
        return False

    def _is_quantized(self, node: Node) -> bool:
        """A product runs in INT8 when both of its operands come out of DequantizeLinear, and there is a kernel."""
        operands = node.inputs[:2]
        fits = node.op not in CONV_OPS or takes_int8(self.graph, node)
        return node.op in GEMM_OPS and len(operands) == 2 and set(operands) <= self.dequantized and fits

    def host_of(self, node: Node, real: list[str]) -> Group | None:
        """The kernel that takes the node in, if one does.

        It is always the latest kernel among those that the inputs come from, so all other inputs are ready
        before it starts: the order of execution can have no cycle.
        """
        producers = [self.group_of[name] for name in real if name in self.group_of]
        if not producers:
            return None
        host = self.groups[max(producers)]
        kind = host.anchor.op
        if (node.repeats, node.inside) != (host.anchor.repeats, host.anchor.inside):
            return None  # a body and what is around it are kernels of their own
        if node.op in QUANTIZE_OPS or kind in QUANTIZE_OPS:  # there and back at once is one kernel
            return host if (kind, node.op) == ("QuantizeLinear", "DequantizeLinear") else None
        if self._reads_back(node, host):
            # What it reads was quantised in the store of that kernel. Of two convolutions the other one adds: which of
            # both runs last makes no difference to the time.
            return host if node.op == "Add" and self._other_convolution(node, host) else None
        if kind in UNCERTAIN_OPS or kind == "Concat":
            return None
        if node.op in MOVE_OPS:
            return host if self._moves_along(node, host) else None
        if node.op in POINTWISE_OPS:
            if kind in CONV_OPS and not self._fits_epilogue(node, host):
                return None
            if kind in GEMM_OPS - CONV_OPS and not self._fits_product(node, host):
                return None
            if kind in REDUCE_OPS:  # the rest of a decomposed LayerNorm: (x - mean)^2, ... broadcast back
                source = self.graph.tensor(host.anchor.inputs[0]).numel
                return host if self._numel(node) in (host.output_numel, source) else None
            return host if self._numel(node) == host.output_numel else None
        # the second reduction of a decomposed LayerNorm works on rows that the kernel holds already
        return host if node.op in REDUCE_OPS and kind in REDUCE_OPS and len(host.nodes) > 1 else None

    def _reads_back(self, node: Node, host: Group) -> bool:
        """Whether a node reads what a kernel has quantised in its store."""
        return any(n in self.dequantized and self.group_of.get(self.resolve(n)) == host.index for n in node.inputs)

    def _other_convolution(self, node: Node, host: Group) -> bool:
        """Whether one operand of an addition is the result of another convolution, in float, for it alone."""
        names = [name for name in node.inputs if name not in self.dequantized and self.resolve(name) in self.group_of]
        groups = [self.groups[self.group_of[self.resolve(name)]] for name in names]
        alone = all(len(self.graph.consumers.get(name, ())) == 1 for name in names)
        return bool(groups) and alone and all(g.anchor.op in CONV_OPS and g is not host for g in groups)

    def _moves_along(self, node: Node, host: Group) -> bool:
        """Whether a copy is only another order in which an elementwise kernel, that nothing else reads, writes."""
        plain = all(n.op in POINTWISE_OPS or n.op in MOVE_OPS for n in host.nodes)
        return plain and len(self.graph.consumers.get(node.inputs[0], ())) == 1

    def _fits_epilogue(self, node: Node, host: Group) -> bool:
        """Whether a convolution takes an elementwise node into its store.

        It takes BatchNorm and bias, then one residual, then an activation of its own result, of however many
        nodes (SiLU, h-swish, GELU). What comes after the activation from elsewhere is a kernel of its own.
        """
        others = [self.resolve(n) for n in node.inputs if n]
        foreign = [n for n in others if n not in self.constants and self.group_of.get(n) != host.index]
        if not foreign:
            return True
        plain = all(n.op in LINEAR_OPS for n in host.nodes[1:])
        residual = any(n.op in ("Add", "Sum") and self._reads_foreign(n, host) for n in host.nodes[1:])
        return node.op in ("Add", "Sum") and len(foreign) == 1 and plain and not residual

    def _fits_product(self, node: Node, host: Group) -> bool:
        """Whether a matrix product takes an elementwise node into its store."""
        return self.rules.gemm_epilogue or (node.op in LINEAR_OPS and not self._reads_foreign(node, host))

    def _reads_foreign(self, node: Node, host: Group) -> bool:
        sources = [self.resolve(n) for n in node.inputs if n]
        return any(n not in self.constants and self.group_of.get(n) != host.index for n in sources)

    def _numel(self, node: Node) -> int:
        return self.graph.tensor(node.outputs[0]).numel

    def join_attention(self) -> None:
        """MatMul, Softmax, MatMul in a row, without another reader between them: one kernel."""
        readers = self.readers()
        for group in self.groups:
            if group.anchor.op != "Softmax":
                continue
            before = self._single_source(group)
            after = [g for name in group.anchor.outputs for g in readers.get(name, set()) if g != group.index]
            if before is None or len(after) != 1 or len(group.nodes) != 1:
                continue
            first, last = self.groups[before], self.groups[after[0]]
            both = first.anchor.op == last.anchor.op == "MatMul" and first.attention is None is last.attention
            scores = [name for node in first.nodes for name in node.outputs]
            if (
                not both
                or not self.is_attention(first)
                or any(readers.get(name, set()) - {before, group.index} for name in scores)
            ):
                continue
            last.attention = (first.anchor, last.anchor)
            last.nodes = [*first.nodes, *group.nodes, *last.nodes]
            for member in (*first.nodes, *group.nodes):
                for name in member.outputs:
                    self.group_of[name] = last.index
            first.nodes, group.nodes = [], []
        self.renumber()

    def is_attention(self, scores: Group) -> bool:
        """Whether a backend knows the products of queries and keys as the begin of an attention."""
        return True

    def renumber(self) -> None:
        """Drop the kernels that have gone into others."""
        self.groups = [g for g in self.groups if g.nodes]
        renumbered = {g.index: position for position, g in enumerate(self.groups)}
        self.group_of = {name: renumbered[index] for name, index in self.group_of.items()}
        for position, group in enumerate(self.groups):
            group.index = position

    def _single_source(self, group: Group) -> int | None:
        sources = {self.group_of.get(self.resolve(n)) for n in group.anchor.inputs if n}
        return next(iter(sources)) if len(sources) == 1 else None

    def readers(self) -> dict[str, set[int]]:
        """The kernels that read each tensor in memory (-1: it is an output of the graph)."""
        readers: dict[str, set[int]] = {self.resolve(name): {-1} for name in self.graph.outputs}
        for group in self.groups:
            for node in group.nodes:
                for name in node.inputs:
                    if name:
                        readers.setdefault(self.resolve(name), set()).add(group.index)
        return readers

    def find_traffic(self) -> None:
        """The tensors that each kernel reads from and writes to memory."""
        readers = self.readers()
        for group in self.groups:
            for node in group.nodes:
                for name in node.inputs:
                    real = self.resolve(name)
                    if name and self.group_of.get(real) != group.index:
                        # what a folded constant was made from is gone: its own shape counts
                        group.inputs[real] = self.graph.tensor(real)
                for name in node.outputs:
                    if name and readers.get(name, set()) - {group.index}:
                        group.outputs[name] = self.graph.tensor(name)

    def _is_elided(self, group: Group) -> bool:
        """Whether a Concat costs nothing, because each of its inputs is written where it is needed."""
        if group.anchor.op != "Concat" or len(group.nodes) != 1:
            return False
        writers = [self.group_of.get(name) for name in group.inputs]
        return all(w is not None and self.groups[w].anchor.op not in COPY_OPS for w in writers)
