"""Where each layer of a graph runs when an engine is built for the DLA, with the GPU for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bevlite.latency.dla.rules import refusal
from bevlite.latency.gpu.fusion import fuse
from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import QUANTIZE_OPS
from bevlite.tensorrt import Version

Unit = Literal["DLA", "GPU"]


@dataclass(frozen=True)
class PlacedNode:
    """One node that runs: where, and why not on the DLA."""

    name: str
    op: str
    unit: Unit
    reason: str = ""


@dataclass(frozen=True)
class Placement:
    """All nodes in order of execution, how often the work changes sides, and the two sides as graphs.

    `loadables` are the parts that the DLA gets, each compiled by itself; `crossings` are the tensors that go from one
    side to the other, each reformatted and waited for.
    """

    nodes: tuple[PlacedNode, ...]
    loadables: int
    gpu_parts: int
    crossings: int
    dla: Graph
    gpu: Graph

    @property
    def fallbacks(self) -> tuple[PlacedNode, ...]:
        """The nodes that stay on the GPU."""
        return tuple(node for node in self.nodes if node.unit == "GPU")


def place(graph: Graph, version: Version) -> Placement:
    """Place every node: the DLA takes what NVIDIA's rules allow, the GPU the rest."""
    constants = fuse(graph).constants
    known = set(constants)
    units: dict[int, Unit] = {}
    writer: dict[str, int] = {}
    nodes: list[PlacedNode] = []
    for index, node in enumerate(graph.nodes):
        if set(node.outputs) <= known:  # folded when the engine is built
            continue
        writer.update((name, index) for name in node.outputs)
        if node.op in QUANTIZE_OPS:  # scales for the side that they stand on: nothing runs
            units[index] = next((units[writer[n]] for n in node.inputs if n in writer), "DLA")
            continue
        reason = refusal(graph, node, constants, version)
        units[index] = "GPU" if reason else "DLA"
        nodes.append(PlacedNode(node.name, node.op, units[index], reason))
    parts = _parts(graph, units, writer)
    crossing = {
        name
        for index in units
        for name in graph.nodes[index].inputs
        if name in writer and units[writer[name]] != units[index]
    }
    sides = {unit: [i for i, u in units.items() if u == unit] for unit in ("DLA", "GPU")}
    folded = [i for i in range(len(graph.nodes)) if i not in units]
    return Placement(
        nodes=tuple(nodes),
        loadables=parts.count("DLA"),
        gpu_parts=parts.count("GPU"),
        crossings=len(crossing),
        dla=_side(graph, sides["DLA"], folded),
        gpu=_side(graph, sides["GPU"], folded),
    )


def _parts(graph: Graph, units: dict[int, Unit], writer: dict[str, int]) -> list[Unit]:
    """The unit of each connected part that can run as a whole.

    Two neighbours on one side belong together unless a way between them leads over the other side: then the first
    must end before the second begins. The level of a node counts such changes on the way to it.
    """
    level: dict[int, int] = {}
    leader: dict[int, int] = {}

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    for index, unit in units.items():
        before = {writer[name] for name in graph.nodes[index].inputs if name in writer}
        level[index] = max((level[i] + (units[i] != unit) for i in before), default=0)
        leader[index] = index
        for other in before:
            if units[other] == unit and level[other] == level[index]:
                leader[find(other)] = find(index)
    return [units[index] for index in units if leader[index] == index]


def _side(graph: Graph, mine: Sequence[int], folded: Sequence[int]) -> Graph:
    """The nodes of one side as a graph; what comes from the other side is an input of it."""
    own = set(mine)
    kept: list[Node] = [graph.nodes[i] for i in sorted({*mine, *folded})]
    made = {name for i in mine for name in graph.nodes[i].outputs}
    elsewhere = {n for i, node in enumerate(graph.nodes) if i not in own for n in node.inputs}
    calculated = {name for node in graph.nodes for name in node.outputs} | set(graph.inputs)
    read = dict.fromkeys(name for i in mine for name in graph.nodes[i].inputs)
    folded_names = {name for i in folded for name in graph.nodes[i].outputs}
    consumers: dict[str, list[int]] = {}
    for position, node in enumerate(kept):
        for name in node.inputs:
            consumers.setdefault(name, []).append(position)
    return replace(
        graph,
        nodes=tuple(kept),
        inputs=tuple(n for n in read if n in calculated and n not in made and n not in folded_names),
        outputs=tuple(n for n in graph.tensors if n in made and (n in elsewhere or n in graph.outputs)),
        consumers={name: tuple(positions) for name, positions in consumers.items()},
    )
