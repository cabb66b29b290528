"""Which nodes of a graph torch's compiler runs as one kernel: the declared backend of the method's test on a GPU.

Convolutions, matrix products and attention are kernels of libraries that take nothing along but a constant bias of a
matrix product. All between them is generated: elementwise work, copies, gathers, resizing and small pools are written
into the kernel that reads them when nothing else does, and behind the kernel that they follow when they run over the
same elements; a reduction takes along what feeds it and what follows it (torch/_inductor/scheduler.py, ir.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import cast

from bevlite.latency.gpu.fusion import FusedGraph, Fusion, Rules
from bevlite.latency.gpu.gemm import CHANNEL_ALIGNMENT
from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Graph, Node, Tensor
from bevlite.latency.onnx.operators import CONV_OPS, COPY_OPS, NORM_OPS, POINTWISE_OPS, REDUCE_OPS, RESIZE_OPS

from .library import groups_of, is_pointwise, loops_over_groups, rearranges

INDUCTOR = Rules(gemm_epilogue=False, builder=False)
"""What the library kernels take along: nothing."""

REDUCTIONS = REDUCE_OPS | NORM_OPS | {"GlobalAveragePool", "GlobalMaxPool"}
SLICED = 3
"""Kernels a group of a convolution that runs group by group: cut out, convolved, put back."""
REARRANGED, REARRANGING = 5, 4
"""Kernels of a convolution whose groups are put behind each other, and as how many scattered reads that counts."""
UNPADDED_CHANNELS = 32
"""From so few channels to an odd number of them there are kernels that pad nothing."""
GROUP_NORM = 4
"""Kernels of a normalisation over many elements: their moments in three steps, and the values."""
SPLIT_OPS = REDUCE_OPS | {"GlobalAveragePool", "GlobalMaxPool"}
INLINED = POINTWISE_OPS | COPY_OPS | RESIZE_OPS | {"Gather", "GatherElements", "MaxPool", "AveragePool", "GridSample"}
LARGE_POOL = 16
"""A pool over more elements than this reads a map that was written."""
SPLIT_OUTER, SPLIT_INNER, SPLIT_OUTPUTS = 128, 8192, 8192
"""A reduction over so many elements of outer axes, or of the last one, with so few results runs in two kernels."""


def fuse_inductor(graph: Graph) -> FusedGraph:
    """Group the nodes of a graph into the kernels of torch's compiler."""
    return _Inductor(graph, INDUCTOR).run()


@dataclass
class CompiledGroup(Group):
    """A kernel of the compiler, with what it does otherwise than the kernels of an engine."""

    launches: int = 1
    """Kernels that are really started for it."""
    reads: int = 1
    """How often its maps are read."""
    strided: bool = False
    """It reduces values that do not lie together, by a kernel that reads them one by one."""
    copies: int = 0
    """Further kernels that copy the output: padding, or a bias that is added by itself."""


class _Inductor(Fusion):
    group_type = CompiledGroup

    def run(self) -> FusedGraph:
        """Group all nodes as torch's compiler does: masks and attention first, then what it merges."""
        for node in self.graph.nodes:
            self.place(node)
        self._join_masks()
        self.join_attention()
        self._absorb_into_attention()
        self._merge()
        self.renumber()
        self.find_traffic()
        for group in cast("list[CompiledGroup]", self.groups):
            group.copies = self._copies(group)
            group.launches = self._launches(group)
            group.reads = self._reads(group)
            group.strided = (
                group.anchor.op == "Split"
                or self._reads_often(group)
                or self._rearranges(group)
                or (group.launches == 1 and self._reduces_outer(group))
            )
        return FusedGraph(tuple(self.groups), self.has_qdq, frozenset(self.constants), self.rules)

    def host_of(self, node: Node, real: list[str]) -> Group | None:
        """Only a bias goes into a matrix product at once; the rest is merged when all readers are known."""
        producers = [self.group_of[name] for name in real if name in self.group_of]
        if len(producers) != 1 or node.op != "Add":
            return None
        host = self.groups[producers[0]]
        bias = [name for name in real if name in self.constants]
        row = len(bias) == 1 and self.graph.tensor(bias[0]).numel == self.graph.tensor(node.outputs[0]).shape[-1]
        return host if row and host.anchor.op in ("MatMul", "Gemm") and len(host.nodes) == 1 else None

    def _join_masks(self) -> None:
        """What stands between the products of queries and keys and their Softmax: scale, bias, mask."""
        readers = self.readers()
        for group in self.groups:
            if group.anchor.op != "Softmax":
                continue
            chain, sources = [], self._sources(group)
            while len(sources) == 1 and self._plain(sources[0]) and len(self._consumers(sources[0], readers)) == 1:
                chain.append(sources[0])
                sources = self._sources(sources[0])
            alone = len(sources) == 1 and sources[0].anchor.op == "MatMul" and len(sources[0].nodes) == 1
            if alone and self._is_scaled(sources[0]):
                for member in reversed(chain):
                    self._absorb(member, sources[0])

    def is_attention(self, scores: Group, values: Group) -> bool:
        """Only torch's own function, whose export scales queries and keys; one written out stays as it is."""
        return self._is_scaled(scores)

    def _is_scaled(self, scores: Group) -> bool:
        made = {name: node.op for group in self.groups for node in group.nodes for name in node.outputs}
        return all(made.get(self.resolve(name)) == "Mul" for name in scores.anchor.inputs)

    def _absorb_into_attention(self) -> None:
        """Scaling, splitting and turning queries, keys and values, and adding a mask, belong to the attention."""
        changed = True
        while changed:
            changed = False
            readers = self.readers()
            for group in self.groups:
                if not group.nodes or not self._plain(group):
                    continue
                consumers = self._consumers(group, readers)
                if len(consumers) == 1 and -1 not in consumers:
                    target = self.groups[next(iter(consumers))]
                    if target.attention is not None and target.anchor.op == "MatMul":
                        self._absorb(group, target)
                        changed = True

    def _merge(self) -> None:
        readers = self.readers()
        for group in self.groups:
            if not group.nodes or not (self._plain(group) or self._reduces(group)):
                continue
            for source in self._sources(group):
                consumers = self._consumers(source, readers)
                if self._plain(source) and consumers == {group.index} and not self._reads_often(group):
                    self._absorb(source, group)
                    readers = self.readers()
            sources = self._sources(group)
            host = max(sources, key=lambda g: g.index, default=None)
            if host is not None and self._follows(group, host):
                self._absorb(group, host)
                readers = self.readers()

    def _follows(self, group: Group, host: Group) -> bool:
        """Whether a kernel runs over the same elements as the one in front of it, so that both are one loop."""
        if not (self._plain(host) or self._reduces(host)) or self._reads_often(group):
            return False
        if self._reduces(group) and self._reduces(host):
            return self._loop(group) == self._loop(host)
        return self._loop(group) in (self._loop(host), host.output_numel)

    def _loop(self, group: Group) -> int:
        """Elements that a kernel runs over: what it reduces, or what it writes."""
        for node in group.nodes:
            if node.op in REDUCTIONS:
                return self.graph.tensor(node.inputs[0]).numel
        return group.output_numel

    def _reads_often(self, group: Group) -> bool:
        """Whether a kernel needs its input in memory, because a large window reads each element many times."""
        pools = (n for n in group.nodes if n.op in ("MaxPool", "AveragePool"))
        return any(prod(n.attribute("kernel_shape", [1])) > LARGE_POOL for n in pools)

    def _reads(self, group: Group) -> int:
        """How often a kernel reads its input: a large window each element of it; a position goes along with a value."""
        if group.attention is not None:
            return 1
        if self._rearranges(group):
            return REARRANGING
        if self._reads_often(group):
            return max(prod(n.attribute("kernel_shape", [1])) for n in group.nodes)
        return 2 if group.anchor.op in ("Softmax", "LogSoftmax", "ArgMax", "ArgMin") else 1

    def _rearranges(self, group: Group) -> bool:
        return group.anchor.op in CONV_OPS and rearranges(self.graph, group)

    def _plain(self, group: Group) -> bool:
        return bool(group.nodes) and group.attention is None and all(n.op in INLINED for n in group.nodes)

    def _reduces(self, group: Group) -> bool:
        return any(n.op in REDUCTIONS for n in group.nodes) and group.attention is None

    def _sources(self, group: Group) -> list[Group]:
        names = {self.group_of.get(self.resolve(name), -1) for node in group.nodes for name in node.inputs if name}
        return [self.groups[index] for index in sorted(names - {-1, group.index})]

    def _consumers(self, group: Group, readers: dict[str, set[int]]) -> set[int]:
        found = {reader for node in group.nodes for name in node.outputs for reader in readers.get(name, ())}
        return found - {group.index}

    def _absorb(self, source: Group, target: Group) -> None:
        """All nodes of one kernel go into another, in the order of execution."""
        before = source.index < target.index
        target.nodes = [*source.nodes, *target.nodes] if before else [*target.nodes, *source.nodes]
        if not before:
            target.output_numel = source.output_numel
        for node in source.nodes:
            for name in node.outputs:
                self.group_of[name] = target.index
        reducing = [n for n in target.nodes if n.op in REDUCTIONS]
        if target.attention is None and (self._plain(target) or reducing):
            target.anchor = reducing[0] if reducing else target.nodes[-1]
        source.nodes = []

    def _launches(self, group: Group) -> int:
        if group.attention is not None:
            return 2  # a library kernel, and its semaphores set to zero
        if group.anchor.op == "Split":
            return len(group.anchor.outputs)
        if group.anchor.op in CONV_OPS and loops_over_groups(self.graph, group):
            return SLICED * groups_of(group)
        if self._rearranges(group):
            return REARRANGED
        if group.anchor.op == "InstanceNormalization":
            return GROUP_NORM if prod(self._ends(group)[0].shape[2:]) >= SPLIT_INNER else 1
        if group.anchor.op not in SPLIT_OPS:
            return 1
        source, results = self._ends(group)
        limit = SPLIT_OUTER if self._reduces_outer(group) or len(source.shape) == 4 else SPLIT_INNER
        return 2 if source.numel >= limit * results.numel and results.numel <= SPLIT_OUTPUTS else 1

    def _ends(self, group: Group) -> tuple[Tensor, Tensor]:
        return self.graph.tensor(group.anchor.inputs[0]), self.graph.tensor(group.anchor.outputs[0])

    def _reduces_outer(self, group: Group) -> bool:
        """Whether what is reduced does not lie together: the last axis stays, or the channels of a map."""
        if group.anchor.op not in REDUCE_OPS:
            return group.anchor.op.startswith("Global")
        source, results = self._ends(group)
        if len(source.shape) == 4 and source.numel == results.numel * source.shape[1]:
            return False  # maps lie with their channels together
        return source.shape[-1] > 1 and source.shape[-1] == results.shape[-1]

    def _copies(self, group: Group) -> int:
        """Further kernels of the size of the output: padded channels, and a bias that nothing elementwise follows."""
        node = group.anchor
        if node.op not in CONV_OPS:
            return 0
        channels = self.graph.tensor(node.outputs[0]).shape[1]
        wide = self.graph.tensor(node.inputs[1]).shape[1] > UNPADDED_CHANNELS
        if channels % CHANNEL_ALIGNMENT and wide and not is_pointwise(self.graph, node):
            return 4
        if len(node.inputs) < 3:
            return 0
        readers = self.readers()
        after = self._consumers(group, readers)
        followed = after and -1 not in after and all(
            self._plain(self.groups[i]) or self._reduces(self.groups[i]) for i in after)  # fmt: skip
        return 0 if followed else 1
