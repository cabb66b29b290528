"""The time of one kernel: a roofline of compute and memory, with tiles, caches and fixed costs.

FLOPs are two a multiply-add. Times are microseconds, traffic is bytes of DRAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.device import DeviceConfig
from bevlite.latency.fusion import FusedGraph, Group
from bevlite.latency.gemm import Product, products
from bevlite.latency.graph import Graph, Tensor
from bevlite.latency.operators import KNOWN_OPS, UNCERTAIN_OPS

Precision = Literal["fp32", "fp16", "int8"]
Bound = Literal["compute", "memory", "launch"]


@dataclass(frozen=True)
class Ceilings:
    """What the board can do in one power mode: FLOP/us, bytes/us, us."""

    tensor_flop_per_us: float
    fma_flop_per_us: float
    read_bytes_per_us: float
    copy_bytes_per_us: float
    launch_us: float
    sm_count: int
    l2_bytes: float


def ceilings(device: DeviceConfig, power_mode: str | None = None, cuda_graph: bool = True) -> Ceilings:
    """The ceilings of a board in a power mode: compute follows the GPU's clock, memory its own."""
    _, mode = device.mode(power_mode)
    _, measured = device.mode(None)
    clock = mode.gpu_clock_mhz / measured.gpu_clock_mhz
    compute = clock * mode.sm_count / measured.sm_count
    memory = mode.emc_clock_mhz / measured.emc_clock_mhz
    launch_us = device.launch_graph_us.value if cuda_graph else device.launch_stream_us.value
    return Ceilings(
        tensor_flop_per_us=device.gemm_16bit_tflops.value * 1e6 * compute,
        fma_flop_per_us=device.fma_fp32_tflops.value * 1e6 * compute,
        read_bytes_per_us=device.dram_read_gb_per_s.value * 1e3 * memory,
        copy_bytes_per_us=device.dram_copy_gb_per_s.value * 1e3 * memory,
        launch_us=launch_us / clock,
        sm_count=mode.sm_count,
        l2_bytes=device.l2_cache_mb.value * 1e6,
    )


@dataclass(frozen=True)
class KernelCost:
    """One kernel: its time, what bounds it, and how sure that is."""

    name: str
    op: str
    nodes: tuple[str, ...]
    latency_us: float
    compute_us: float
    memory_us: float
    launch_us: float
    flops: float
    traffic_bytes: float
    precision: Precision
    bound: Bound
    uncertain: str = ""


class KernelModel:
    """Prices the kernels of one graph on one board."""

    def __init__(
        self, graph: Graph, fused: FusedGraph, top: Ceilings, precision: Precision, coefficients: Coefficients
    ) -> None:
        self.graph, self.top, self.precision, self.c = graph, top, precision, coefficients
        self.constants = fused.constants
        self.explicit_int8 = fused.quantized  # the file's own Q/DQ nodes decide what runs in INT8

    def cost(self, group: Group) -> KernelCost:
        """Price one kernel."""
        op = group.anchor.op
        work = products(self.graph, group)
        depthwise = bool(work) and all(p.depthwise for p in work)
        precision = self._precision(group, work, depthwise)
        launches = self.c.topk_passes if op == "TopK" else self._loop_steps(group) if op == "CumSum" else 1
        fixed_us = launches * self.top.launch_us * self.c.launch_share
        traffic = self._traffic(group, precision, op)
        memory_us = traffic / (self.top.read_bytes_per_us * self.c.dram_efficiency)
        compute_us = sum(self._product_us(p, precision, group.attention is not None) for p in work)
        if op == "DeformConv":
            compute_us = self._elementwise_us(group, 200)
        elif not work:
            compute_us = self._elementwise_us(group, 4 * len(group.nodes))
        long, short = max(compute_us, memory_us), min(compute_us, memory_us)
        body_us = long + (1 - self.c.overlap) * short
        bound: Bound = "launch" if fixed_us > body_us else "compute" if compute_us >= memory_us else "memory"
        uncertain = UNCERTAIN_OPS.get(op, "")
        if op not in KNOWN_OPS or group.anchor.domain:
            uncertain = f"operator {op} is unknown to the model: only its memory traffic counts"
        return KernelCost(
            name=group.anchor.name,
            op="Attention" if group.attention else op,
            nodes=tuple(node.name for node in group.nodes),
            latency_us=fixed_us + body_us,
            compute_us=compute_us,
            memory_us=memory_us,
            launch_us=fixed_us,
            flops=sum(p.flops for p in work),
            traffic_bytes=traffic,
            precision=precision,
            bound=bound,
            uncertain=uncertain,
        )

    def _loop_steps(self, group: Group) -> int:
        """Iterations of a CumSum, which TensorRT imports as a loop: the size of the summed axis."""
        source = self.graph.tensor(group.anchor.inputs[0])
        axis = self.graph.integers.get(group.anchor.inputs[1], (-1,))[0]
        return max(1, source.shape[axis]) if source.shape else 1

    def _precision(self, group: Group, work: list[Product], depthwise: bool) -> Precision:
        if self.explicit_int8:
            return "int8" if group.quantized else ("fp32" if self.precision == "fp32" else "fp16")
        weights = [name for name in group.anchor.inputs[1:2] if name in self.constants]
        eligible = bool(work) and bool(weights) and not depthwise and group.attention is None
        if self.precision == "int8":
            return "int8" if eligible else "fp16"  # NVIDIA leaves attention products and depthwise in FP16
        return self.precision

    def _bytes(self, tensor: Tensor, precision: Precision) -> float:
        if not tensor.is_float:
            return float(tensor.stored_bytes())
        wanted = {"fp32": 4, "fp16": 2, "int8": 1}[precision]
        declared = tensor.stored_bytes() / tensor.numel if tensor.numel else wanted
        return tensor.numel * float(min(wanted, declared))

    def _traffic(self, group: Group, precision: Precision, op: str) -> float:
        """Bytes of DRAM traffic; what the cache still holds counts by the cache's speed."""
        copy_ratio = self.top.read_bytes_per_us / self.top.copy_bytes_per_us
        total = 0.0
        for name, tensor in group.inputs.items():
            if op.startswith("Gather") and name == group.anchor.inputs[0]:
                total += self._gathered_bytes(group, tensor, precision)
            elif op == "GridSample" and name == group.anchor.inputs[0]:
                total += self._sampled_bytes(group, precision)
            else:
                size = self._bytes(tensor, precision)
                total += size if name in self.constants else self._cached(size)
        for tensor in group.outputs.values():
            total += self._cached(self._bytes(tensor, precision)) * copy_ratio
        return total

    def _cached(self, size: float) -> float:
        return size / self.c.l2_speedup if size <= self.top.l2_bytes * self.c.l2_resident_share else size

    def _gathered_bytes(self, group: Group, table: Tensor, precision: Precision) -> float:
        """Rows of a table in random order: whole sectors, at the speed of random access."""
        out = sum(t.numel for t in group.outputs.values())
        axis = int(group.anchor.attribute("axis", 0)) if group.anchor.op == "Gather" else len(table.shape) - 1
        row = max(1, prod(table.shape[axis + 1 :])) if axis >= 0 and group.anchor.op == "Gather" else 1
        element = self._bytes(table, precision) / max(1, table.numel)
        sectors = ceil(row * element / self.c.sector_bytes) * self.c.sector_bytes
        return out / row * sectors / self.c.gather_efficiency

    def _sampled_bytes(self, group: Group, precision: Precision) -> float:
        taps = 1 if group.anchor.attribute("mode", "bilinear") == "nearest" else 4
        out = self.graph.tensor(group.anchor.outputs[0])
        return taps * self._bytes(out, precision) / self.c.grid_sample_efficiency

    def _elementwise_us(self, group: Group, flops_per_element: float) -> float:
        elements = sum(t.numel for t in (*group.inputs.values(), *group.outputs.values()))
        return elements * flops_per_element / self.top.fma_flop_per_us

    def _product_us(self, product: Product, precision: Precision, attention: bool) -> float:
        """Time of a product on the tensor cores: the quickest tile and split, in whole waves."""
        if product.depthwise:
            return product.flops / (self.top.fma_flop_per_us * self.c.depthwise_efficiency)
        if attention:
            efficiency = self.c.attention_efficiency
        else:
            efficiency = self.c.conv_efficiency if product.convolution else self.c.gemm_efficiency
        rate = self.top.tensor_flop_per_us * efficiency
        rate *= {"fp32": self.c.tf32_ratio, "fp16": 1.0, "int8": self.c.int8_ratio}[precision]
        step = 32 if precision == "int8" else 16
        per_sm = rate / self.top.sm_count
        best = float("inf")
        for tile in self.c.tiles:
            count = product.batch * ceil(product.m / tile.m) * ceil(product.n / tile.n)
            for split in self.c.split_k:
                if split > 1 and product.k < 2 * step * split:
                    break
                k = ceil(product.k / split / step) * step
                waves = _waves(count * split / self.top.sm_count)
                time_us = waves * tile.m * tile.n * k * 2 / (per_sm * tile.efficiency)
                if split > 1:  # partial sums in FP32 go through the cache once each way
                    partial = 2 * 4 * split * product.batch * product.m * product.n
                    time_us += partial / (self.top.read_bytes_per_us * self.c.l2_speedup)
                best = min(best, time_us)
        return best


def _waves(load: float) -> float:
    """Waves over the multiprocessors: a last, partly filled wave costs half of what it leaves empty."""
    return max(1.0, (load + ceil(load)) / 2)
