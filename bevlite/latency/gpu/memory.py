"""What an engine takes of a board's memory: its weights, and the scratch space in which its kernels hand on tensors."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.latency.gpu.fusion import FusedGraph
from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Graph, Tensor

FLOAT_BYTES = {"fp32": 4, "fp16": 2, "int8": 2}
"""Of a float between kernels, by the precision of the engine; what is quantized on the way is counted as FP16."""


def engine_memory_mb(graph: Graph, fused: FusedGraph, precision: str) -> float:
    """Megabytes (1e6 bytes) of weights and of activations at their peak, as TensorRT holds them in one context.

    A tensor lives from the kernel that writes it to the last one that reads it; what kernels keep inside costs
    nothing. Inputs and outputs of the engine count, since whoever runs it has to hold them. Not in it: workspaces of
    kernels, the CUDA context and the libraries, which all engines share. Not checked against a board.

    Args:
        graph: the module.
        fused: its kernels in order of execution.
        precision: of the engine.
    """
    each = FLOAT_BYTES[precision]
    return (_weights(fused, each) + _peak(graph, fused, each)) / 1e6


def _weights(fused: FusedGraph, each: int) -> int:
    """Kernel by kernel: each has its weights in an order of its own, shared ones too."""
    return sum(
        tensor.numel if _in_int8(group, tensor) else _bytes(tensor, each)
        for group in fused.groups
        for name, tensor in group.inputs.items()
        if name in fused.constants
    )


def _in_int8(group: Group, tensor: Tensor) -> bool:
    return group.quantized and tensor.is_float and len(tensor.shape) > 1  # a bias stays as it is


def _peak(graph: Graph, fused: FusedGraph, each: int) -> int:
    last: dict[str, int] = {}
    for place, group in enumerate(fused.groups):
        for name in group.inputs:
            last[name] = place
    ends = len(fused.groups)
    last |= dict.fromkeys(graph.outputs, ends)
    inputs = [name for name in graph.inputs if name not in fused.constants and name in graph.tensors]
    held: dict[str, int] = {name: _bytes(graph.tensors[name], each) for name in inputs}
    peak = sum(held.values())
    for place, group in enumerate(fused.groups):
        written: Mapping[str, Tensor] = group.outputs
        held |= {name: _bytes(tensor, each) for name, tensor in written.items()}
        peak = max(peak, sum(held.values()))
        for name in [name for name in held if last.get(name, place) <= place]:
            del held[name]
    return peak


def _bytes(tensor: Tensor, each: int) -> int:
    return tensor.numel * each if tensor.is_float else tensor.stored_bytes()
