"""How long a layer takes on an AGX Orin: a launch, and the slower of arithmetic and memory.

Ceilings at MAXN of the 64 GB module: 33.7 TFLOPS in FP16 (dense, what a well written kernel reaches), double in INT8,
half in TF32; 150 GB/s of memory that a kernel reaches. They scale with clocks and TPCs of the power mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bevlite.simulation.jetson.modules import PowerMode
from bevlite.simulation.jetson.timing.fusion import Layer
from bevlite.simulation.jetson.timing.graph import BYTES, Graph, Node

TFLOPS = {"Half": 33.7, "Int8": 67.4, "Float": 16.85}
CUDA_CORE_TFLOPS = 4.2
BANDWIDTH_GB_S = 150.0
LAUNCH_US = {True: 4.0, False: 6.5}
"""Per layer with and without a CUDA graph."""
EFFICIENCY = {"convolution": 0.62, "matmul": 0.58, "attention": 0.33, "depthwise": 0.7, "other": 0.3}
MEMORY_EFFICIENCY = {"gather": 0.35, "copy": 0.7, "reduction": 0.6, "resize": 0.6, "other": 0.3}
ELEMENT_BYTES = {"Half": 2, "Int8": 1, "Float": 4}
FULL_TPCS, FULL_GPU_MHZ, FULL_EMC_MHZ = 8, 1300.5, 3199.0


@dataclass(frozen=True)
class Work:
    """What a layer has to do: floating point operations, elements moved, weights, rows and columns of the product."""

    flops: float
    elements: float
    weights: float
    rows: int
    columns: int


def _node_flops(graph: Graph, node: Node) -> tuple[float, int, int]:
    out = graph.tensors.get(node.outputs[0])
    if out is None:
        return 0.0, 1, 1
    if node.op in ("Conv", "ConvTranspose"):
        weight = graph.tensors[node.inputs[1]].shape
        per_output = math.prod(weight[1:]) if node.op == "Conv" else math.prod(weight[2:]) * weight[0]
        if node.op == "ConvTranspose":
            per_output = per_output / math.prod(node.attributes.get("strides", [1]))
            per_output /= int(node.attributes.get("group", 1))
        channels = out.shape[1] if len(out.shape) > 1 else 1
        return 2.0 * out.elements * per_output, out.elements // max(channels, 1), channels
    if node.op in ("MatMul", "Gemm"):
        left = graph.tensors.get(node.inputs[0])
        depth = 1 if left is None else left.shape[0 if node.attributes.get("transA") else -1]
        return 2.0 * out.elements * depth, out.elements // max(out.shape[-1], 1), out.shape[-1]
    return float(out.elements), 1, 1


def work_of(graph: Graph, layer: Layer) -> Work:
    """Count the work of a layer."""
    counted = [_node_flops(graph, node) for node in layer.nodes]
    moved = sum(graph.elements(n) for n in layer.outputs)
    if layer.kind == "gather":  # a gather reads what it writes, not the whole table
        moved *= 2
    else:
        moved += sum(graph.elements(n) for n in layer.inputs)
    weights = sum(graph.elements(n) for node in layer.nodes for n in node.inputs if n in graph.constants)
    return Work(sum(c[0] for c in counted), moved, weights, counted[0][1], counted[0][2])


def _utilisation(work: Work, tpcs: int) -> float:
    """Share of the tensor cores that a product of this size keeps busy (tiles of 128 x 64 on two SMs a TPC)."""
    waves = math.ceil(work.rows / 128) * math.ceil(work.columns / 64) / (2 * tpcs)
    narrow = min(1.0, work.columns / 32)
    return max(0.08, waves / math.ceil(waves) * (0.5 + 0.5 * narrow))


def layer_ms(
    work: Work, kind: str, precision: str, mode: PowerMode, factors: Mapping[str, float], cuda_graph: bool
) -> float:
    """Milliseconds of one layer in a precision (`Float`, `Half`, `Int8`) in a power mode."""
    clock = mode.tpcs / FULL_TPCS * mode.gpu_mhz / FULL_GPU_MHZ
    if kind in ("convolution", "matmul", "attention"):
        rate = TFLOPS[precision] * EFFICIENCY[kind] * _utilisation(work, mode.tpcs)
    else:
        rate = CUDA_CORE_TFLOPS * EFFICIENCY.get(kind, 0.5)
    bandwidth = BANDWIDTH_GB_S * mode.emc_mhz / FULL_EMC_MHZ * MEMORY_EFFICIENCY.get(kind, 0.85)
    size = ELEMENT_BYTES[precision]
    arithmetic = work.flops / (rate * clock * 1e12)
    memory = (work.elements + work.weights) * size / (bandwidth * 1e9)
    launch = LAUNCH_US[cuda_graph] * 1e-6 * math.sqrt(FULL_GPU_MHZ / mode.gpu_mhz)
    return factors[kind] * (launch + max(arithmetic, memory)) * 1e3


def transfer_ms(elements_bytes: float, mode: PowerMode) -> float:
    """A copy between host and device memory, which are the same DRAM."""
    return 0.006 + elements_bytes / (22e9 * mode.emc_mhz / FULL_EMC_MHZ) * 1e3


def binding_bytes(dtype: str) -> int:
    """Bytes of one element of an input or output."""
    return BYTES[dtype]
