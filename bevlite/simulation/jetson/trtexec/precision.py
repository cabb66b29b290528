"""In which precision the emulated builder runs each layer, and what that does to the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import Graph
from bevlite.simulation.jetson.trtexec.options import Options

INT8_KINDS = frozenset({"convolution", "depthwise", "matmul", "attention", "pool"})
FLOATS = {"FLOAT": "Float", "FLOAT16": "Half", "BFLOAT16": "Half", "DOUBLE": "Float"}
NAMES = {"fp32": "Float", "fp16": "Half", "int8": "Int8", "bf16": "Half"}
NOISE = {"Float": 2e-5, "Half": 6e-4, "Int8": 0.0}
CALIBRATED_NOISE, UNCALIBRATED_NOISE = 0.02, 0.6
"""Relative deviation of the outputs: of a good calibration cache, and of the random ranges of trtexec."""


def calibrated_tensors(path: Path) -> set[str]:
    """The tensors that a calibration cache names: `name: 8 hex digits` after the first line."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {line.rpartition(":")[0].strip() for line in lines if ":" in line}


def _asked(layer: Layer, options: Options) -> str | None:
    """The precision that `--layerPrecisions` wants for a layer."""
    if options.precision_constraints not in ("obey", "prefer"):
        return None
    names = [node.name for node in layer.nodes]
    found = [p for n, p in options.layer_precisions.items() if n in names] or [
        p for n, p in options.layer_precisions.items() if n == "*"
    ]
    return NAMES.get(found[0]) if found else None


def _is_quantized(graph: Graph, layer: Layer) -> bool:
    """Whether both operands of a product, or the input of a pooling, come out of DequantizeLinear."""
    given = [n for n in layer.head.inputs[:2] if n]
    return bool(given) and all(n in graph.dequantized for n in given)


def _strong(graph: Graph, layer: Layer) -> str:
    given = [n for n in layer.head.inputs if n and n not in graph.constants and n in graph.tensors]
    types = [graph.tensors[n].dtype for n in given] + [graph.tensors[layer.outputs[0]].dtype]
    return next((FLOATS[t] for t in types if t in FLOATS), "Float")


def assign(graph: Graph, layers: Sequence[Layer], options: Options, calibrated: set[str] | None) -> list[str]:
    """`Float`, `Half` or `Int8` for every layer.

    Args:
        calibrated: tensors of the calibration cache; None without a cache.
    """
    found = []
    for layer in layers:
        quantizable = layer.kind in INT8_KINDS
        if options.strongly_typed:
            int8 = quantizable and _is_quantized(graph, layer)
            found.append("Int8" if int8 else _strong(graph, layer))
            continue
        if graph.has_quantizers:
            int8 = quantizable and _is_quantized(graph, layer)
        elif layer.kind == "attention":
            int8 = False  # INT8 attention takes Q/DQ nodes
        elif calibrated is not None:
            int8 = quantizable and all(n in calibrated for n in layer.inputs)
        else:
            int8 = quantizable
        best = "Int8" if options.int8 and int8 else "Half" if options.fp16 else "Float"
        found.append(_asked(layer, options) or best)
    return found


def output_noise(precisions: Sequence[str], explicit: bool, calibrated: bool) -> float:
    """How far the outputs lie from the FP32 network, as a share of their spread."""
    noise = max((NOISE[p] for p in precisions), default=0.0)
    if "Int8" in precisions and not explicit:
        noise = max(noise, CALIBRATED_NOISE if calibrated else UNCALIBRATED_NOISE)
    return noise
