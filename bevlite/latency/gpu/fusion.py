"""Which nodes of a graph TensorRT runs as one kernel: a simple, conservative picture of its fusions.

Constants are folded; reshapes are free; BatchNorm, bias, activation and residual addition go into the
convolution or matrix product in front of them; chains of elementwise work become one kernel; a decomposed
LayerNorm is one kernel; attention is one kernel where the version fuses it. Q/DQ nodes say which products run in INT8
and go into the kernels around them; where none takes them in they are kernels of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from bevlite.latency.gpu.concats import write_in_place
from bevlite.latency.gpu.placed import IMPOSSIBLE, Group, Placed, unreadable
from bevlite.latency.gpu.siblings import STORED_WITH_ANY, merge_siblings
from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import (
    COMMUTING_OPS,
    CONV_OPS,
    COPY_OPS,
    GEMM_OPS,
    LINEAR_OPS,
    MOVE_OPS,
    POINTWISE_OPS,
    QUANTIZE_OPS,
    REDUCE_OPS,
    UNCERTAIN_OPS,
    VIEW_OPS,
)
from bevlite.tensorrt import Version, fuses_attention, fuses_gemm_epilogues

STEM_CHANNELS = 4
"""A convolution that reads up to four channels (of an image, or one of its own) has kernels of another kind."""
INT8_GROUP = 4
"""Channels of a group of an INT8 convolution come in fours (reference: TensorRT's rules for explicit quantisation)."""


@dataclass(frozen=True)
class Rules:
    """What a builder fuses beyond convolutions with their epilogues and elementwise chains."""

    attention: bool = True
    """MatMul, Softmax and MatMul in one kernel."""
    gemm_epilogue: bool = True
    """Elementwise work behind a matrix product in its store; without it only a constant bias is."""
    layer_norm: bool = True
    """LayerNormalization as one kernel; without it as two reductions and the elementwise work after each."""
    builder: bool = True
    """Layers as an engine lists them: convolutions of one map in one kernel, concatenations copied input by input, and
    functions that a stem does not store as kernels of their own."""
    depthwise_functions: bool = True
    """Depthwise convolutions store functions of their result (SiLU, h-swish): not so in layer lists of version 10; that
    earlier ones do is inferred from published latencies of YOLOX-Nano."""


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
    epilogues = fuses_gemm_epilogues(version)
    return Rules(attention, epilogues, layer_norm=attention, depthwise_functions=not epilogues)


def takes_int8(graph: Graph, convolution: Node) -> bool:
    """Whether there are INT8 kernels for a convolution: groups have a multiple of four channels."""
    groups = int(convolution.attribute("group", 1))
    return groups == 1 or graph.tensor(convolution.inputs[1]).shape[1] % INT8_GROUP == 0


def fuse(graph: Graph, rules: Rules | None = None) -> FusedGraph:
    """Group the nodes of a graph into kernels (by default with all that the newest TensorRT fuses)."""
    return Fusion(graph, rules or Rules()).run()


class Fusion(Placed):
    """Groups the nodes of one graph; a backend of other habits overrides where a node goes."""

    group_type: type[Group] = Group

    def __init__(self, graph: Graph, rules: Rules) -> None:
        super().__init__(graph)
        self.rules = rules
        self.has_qdq = any(n.op in QUANTIZE_OPS for n in graph.nodes)

    def run(self) -> FusedGraph:
        """Group all nodes, and find what goes in and out of each kernel."""
        for node in self.graph.nodes:
            try:
                self.place(node)
            except IMPOSSIBLE as error:
                raise unreadable(self.graph, node, error) from None
        if self.rules.attention:
            self.join_attention()
        if self.rules.builder:
            merge_siblings(self)
        self.find_traffic()
        if self.rules.builder:
            write_in_place(self, self.readers())
        else:
            for group in self.groups:
                group.elided = self._is_elided(group)
        return FusedGraph(tuple(self.groups), self.has_qdq, frozenset(self.constants), self.rules)

    def place(self, node: Node) -> None:
        """Fold a node, read it as a view, or put it into a kernel: that of its inputs, or one of its own."""
        real = [self.resolve(name) for name in node.inputs if name]
        if node.op in ("Shape", "Size") or all(name in self.constants for name in real):
            # Shapes are static, so all of this is folded when the engine is built.
            self.constants.update(node.outputs)
            if node.op == "DequantizeLinear":
                self.dequantized.add(node.outputs[0])
            return
        if node.op in VIEW_OPS or self._is_free(node) or (node.op in QUANTIZE_OPS and self.is_taken_in(node, real[0])):
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
        if self.reads_back(node, host):
            # What it reads was quantised in the store of that kernel. Of two convolutions the other one adds: which of
            # both runs last makes no difference to the time.
            return host if node.op == "Add" and self.other_convolution(node, host) else None
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

    def _moves_along(self, node: Node, host: Group) -> bool:
        """Whether a copy is only another order in which an elementwise kernel, that nothing else reads, writes."""
        plain = all(n.op in POINTWISE_OPS or n.op in MOVE_OPS for n in host.nodes)
        return plain and len(self.graph.consumers.get(node.inputs[0], ())) == 1

    def _fits_epilogue(self, node: Node, host: Group) -> bool:
        """Whether a convolution takes an elementwise node into its store.

        It takes BatchNorm and bias, then one residual, then an activation of its own result, of however many
        nodes (SiLU, h-swish, GELU). What comes after the activation from elsewhere is a kernel of its own, but in an
        engine (`Rules.builder`), whose layer lists have `Conv + PWN(PWN(PWN(Sigmoid), Mul), Add)`.
        """
        if self.rules.builder and node.op not in STORED_WITH_ANY and self._stores_little(host.anchor):
            return False
        others = [self.resolve(n) for n in node.inputs if n]
        foreign = [n for n in others if n not in self.constants and self.group_of.get(n) != host.index]
        if not foreign:
            return True
        plain = self.rules.builder or all(n.op in LINEAR_OPS for n in host.nodes[1:])
        residual = any(n.op in ("Add", "Sum") and self.reads_foreign(n, host) for n in host.nodes[1:])
        return node.op in ("Add", "Sum") and len(foreign) == 1 and plain and not residual

    def _stores_little(self, convolution: Node) -> bool:
        """Whether the kernels of a convolution, of an image or channel by channel, store no function but a clip."""
        if convolution.op != "Conv" or self.graph.tensor(convolution.inputs[1]).shape[1] > STEM_CHANNELS:
            return False
        if int(convolution.attribute("group", 1)) > 1:
            return not self.rules.depthwise_functions
        return prod(self.graph.tensor(convolution.outputs[0]).shape[2:]) > 1  # not the layers that gate channels

    def _fits_product(self, node: Node, host: Group) -> bool:
        """Whether a matrix product takes an elementwise node into its store."""
        return self.rules.gemm_epilogue or (node.op in LINEAR_OPS and not self.reads_foreign(node, host))

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
                or not self.is_attention(first, last)
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

    def is_attention(self, scores: Group, values: Group) -> bool:
        """Whether a backend has a kernel for an attention: TensorRT's are for keys as long as values.

        The attention of YOLO10 and 11, keys of 32 and values of 64, is six kernels in a published list of its layers.
        """
        keys, result = (self.graph.tensor(group.anchor.inputs[1]).shape for group in (scores, values))
        return not self.rules.builder or len(keys) < 2 or len(result) < 2 or keys[-2] == result[-1]

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
                        group.inputs[self._own_name(group, node, real)] = self.graph.tensor(real)
                for name in node.outputs:
                    if name and readers.get(name, set()) - {group.index}:
                        group.outputs[name] = self.graph.tensor(name)

    def _own_name(self, group: Group, node: Node, real: str) -> str:
        """Each of the convolutions in a kernel has its weights and bias; an exporter makes one of equal ones."""
        if real not in self.constants or real not in group.inputs or node not in group.siblings:
            return real
        self.constants.add(f"{real} of {node.name}")
        return f"{real} of {node.name}"

    def _is_elided(self, group: Group) -> bool:
        """Whether a Concat costs nothing, because each of its inputs is written where it is needed."""
        if group.anchor.op != "Concat" or len(group.nodes) != 1:
            return False
        writers = [self.group_of.get(name) for name in group.inputs]
        return all(w is not None and self.groups[w].anchor.op not in COPY_OPS for w in writers)
