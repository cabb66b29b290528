"""What makes the kernels of a graph: an engine builder, or a compiler. TensorRT is the one of the library.

A backend says how nodes are grouped, what work each kernel is, how long that takes, and which of its coefficients
measurements may move. One that differs by its rules alone is a `RuleBackend`; one of other habits derives from
`Fusion`, `Reader` and `KernelTable` and overrides where it differs (`benchmarks/inductor` does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bevlite.latency.coefficients import FITTABLE, Coefficients
from bevlite.latency.gpu.features import KernelFeatures, Precision, kernel_features
from bevlite.latency.gpu.fusion import FusedGraph, Rules, fuse, tensorrt_rules
from bevlite.latency.gpu.timing import KernelTable
from bevlite.latency.onnx.graph import Graph
from bevlite.tensorrt import Version


class Backend(Protocol):
    """How graphs become kernels, and kernels times."""

    @property
    def rules(self) -> Rules:
        """What it fuses."""
        ...

    @property
    def start(self) -> Coefficients:
        """Where a fit of its coefficients starts."""
        ...

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """The coefficients that a fit may move, with the lowest and the highest value of each."""
        ...

    def fuse(self, graph: Graph) -> FusedGraph:
        """Group the nodes of a graph into kernels."""
        ...

    def features(self, graph: Graph, fused: FusedGraph, precision: Precision) -> list[KernelFeatures]:
        """What decides the time of each kernel, in order of execution."""
        ...

    def table(self, kernels: Sequence[KernelFeatures]) -> KernelTable:
        """The features as arrays, which tell the times."""
        ...


@dataclass(frozen=True)
class RuleBackend:
    """A backend that its rules describe: TensorRT in each of its versions."""

    rules: Rules = field(default_factory=Rules)
    start: Coefficients = field(default_factory=Coefficients)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: FITTABLE)

    def fuse(self, graph: Graph) -> FusedGraph:
        """Group the nodes of a graph into kernels."""
        return fuse(graph, self.rules)

    def features(self, graph: Graph, fused: FusedGraph, precision: Precision) -> list[KernelFeatures]:
        """What decides the time of each kernel, in order of execution."""
        return kernel_features(graph, fused, precision)

    def table(self, kernels: Sequence[KernelFeatures]) -> KernelTable:
        """The features as arrays, which tell the times."""
        return KernelTable(kernels)


TENSORRT = RuleBackend()
"""The newest TensorRT."""


def tensorrt_backend(version: Version) -> RuleBackend:
    """TensorRT of a version."""
    return RuleBackend(tensorrt_rules(version))
