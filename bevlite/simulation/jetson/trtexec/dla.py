"""Where the layers of an engine run: on the deep learning accelerator, or on the GPU; and what the builder says."""

from __future__ import annotations

from collections.abc import Sequence

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import Graph
from bevlite.simulation.jetson.trtexec.dla_layers import takes
from bevlite.simulation.jetson.trtexec.log import Failure, Log
from bevlite.simulation.jetson.trtexec.options import Options

CORES, SUBGRAPHS = 2, 16
SLOWER = 4.0
"""How much longer a layer takes on one DLA core than on the GPU at MAXN."""


def place(
    log: Log, graph: Graph, layers: Sequence[Layer], names: Sequence[str], options: Options, release: Release
) -> list[str]:
    """`GPU` or `DLA` for every layer; prints what falls back and the census.

    Raises:
        Failure: no DLA in this release, a Q/DQ network before 11, or a layer that falls and may not.
    """
    if options.dla_core is None:
        return ["GPU"] * len(layers)
    if not release.has_dla or options.dla_core >= CORES:
        raise Failure(f"Cannot create DLA engine, {options.dla_core} not available", "Engine set up failed")
    if graph.has_quantizers and release.major < 11:
        raise Failure("[TRT] Q/DQ layers are not supported on DLA", "Engine set up failed")
    where, subgraphs, before = [], 0, "GPU"
    for layer, name in zip(layers, names, strict=True):
        here = "DLA" if all(takes(graph, node, release) for node in layer.nodes) else "GPU"
        if here == "GPU":
            if not options.gpu_fallback:
                log.error(f"[TRT] Layer {name} is not supported on DLA and GPU fallback is not enabled.")
                raise Failure("Engine could not be created from network", "Building engine failed")
            log.warn(f"[TRT] Default DLA is enabled but layer {name} is not supported on DLA, falling back to GPU.")
        elif before == "GPU":
            subgraphs += 1
        if here == "DLA" and subgraphs > SUBGRAPHS:
            log.warn(f"[TRT] DLA supports only {SUBGRAPHS} subgraphs per DLA core. Switching to GPU for layer {name}")
            here = "GPU"
        where.append(here)
        before = here
    _census(log, names, where)
    return where


def _census(log: Log, names: Sequence[str], where: Sequence[str]) -> None:
    log.library("---------- Layers Running on DLA ----------")
    run: list[str] = []
    for name, here in [*zip(names, where, strict=True), ("", "GPU")]:
        if here == "DLA":
            run.append(name)
        elif run:
            log.library(f"[DlaLayer] {{ForeignNode[{run[0]}...{run[-1]}]}}")
            run = []
    log.library("---------- Layers Running on GPU ----------")
    log.library(*(f"[GpuLayer] {name}" for name, here in zip(names, where, strict=True) if here == "GPU"))
