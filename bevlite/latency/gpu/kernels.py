"""The kernels of one graph with their prices, as a report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.backend import TENSORRT, Backend
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures, Precision

Bound = Literal["compute", "memory", "launch"]
BOUNDS: tuple[Bound, ...] = ("launch", "compute", "memory")
"""In the order of `KernelTimes.bound`."""


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
    possible_us: float = 0.0
    """Of an operator that the model does not know: what it may take beyond that, without tensor cores."""


def kernel_costs(
    kernels: Sequence[KernelFeatures], top: Ceilings, coefficients: Coefficients, backend: Backend = TENSORRT
) -> list[KernelCost]:
    """The kernels with their times on a board."""
    times = backend.table(kernels).times(top, coefficients)
    return [
        KernelCost(
            name=kernel.name,
            op=kernel.op,
            nodes=kernel.nodes,
            latency_us=float(times.total[i]),
            compute_us=float(times.compute[i]),
            memory_us=float(times.memory[i]),
            launch_us=float(times.launch[i]),
            flops=kernel.flops,
            traffic_bytes=float(times.traffic[i]),
            precision=kernel.precision,
            bound=BOUNDS[int(times.bound[i])],
            uncertain=kernel.uncertain,
            possible_us=kernel.repeats * kernel.possible_flops / top.fma_flop_per_us,
        )
        for i, kernel in enumerate(kernels)
    ]
