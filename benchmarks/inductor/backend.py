"""Torch's compiler on a GPU as a `Backend` of the latency model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.features import KernelFeatures, Precision
from bevlite.latency.gpu.fusion import FusedGraph, Rules
from bevlite.latency.onnx.graph import Graph

from .coefficients import COMPILER_FITTABLE, CompilerCoefficients
from .features import CompiledReader
from .fusion import INDUCTOR, fuse_inductor
from .timing import CompiledTable


@dataclass(frozen=True)
class Inductor:
    """The kernels of torch's compiler, of cuDNN and of cuBLAS (see `bevlite.latency.gpu.backend.Backend`)."""

    rules: Rules = INDUCTOR
    start: Coefficients = field(default_factory=CompilerCoefficients)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: COMPILER_FITTABLE)

    def fuse(self, graph: Graph) -> FusedGraph:
        """Group the nodes of a graph into kernels."""
        return fuse_inductor(graph)

    def features(self, graph: Graph, fused: FusedGraph, precision: Precision) -> list[KernelFeatures]:
        """What decides the time of each kernel, in order of execution."""
        return CompiledReader(graph, fused, precision).kernels()

    def table(self, kernels: Sequence[KernelFeatures]) -> CompiledTable:
        """The features as arrays, which tell the times."""
        return CompiledTable(kernels)
