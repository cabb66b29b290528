"""What the tables and bars of a latency report are made of: kinds of kernels, sums, and figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bevlite.devices.report.latency import Kernel, LatencyReport
from bevlite.latency.onnx.kinds import kind_of_operator

BOUNDS = ("compute", "memory", "launch")


@dataclass(frozen=True)
class PlacedKernel:
    """A kernel and the module that it is in; `rank` counts from 1, the costliest of the network."""

    rank: int
    module: str
    kernel: Kernel


@dataclass
class Sum:
    """The kernels that share a name (of a module, or a kind): their time by what bounds them."""

    name: str
    count: int = 0
    flops: float = 0.0
    traffic_bytes: float = 0.0
    ms_by_bound: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))

    @property
    def latency_ms(self) -> float:
        """The whole time of these kernels."""
        return sum(self.ms_by_bound.values())

    def add(self, kernel: Kernel) -> None:
        """Count one kernel in."""
        self.count += 1
        self.flops += kernel.flops
        self.traffic_bytes += kernel.traffic_bytes
        self.ms_by_bound[kernel.bound] += kernel.latency_ms


def ranked(report: LatencyReport) -> list[PlacedKernel]:
    """The kernels of all modules that the report holds, costliest first."""
    pairs = [(row.name, kernel) for row in report.modules for kernel in row.kernels]
    pairs.sort(key=lambda pair: -pair[1].latency_ms)
    return [PlacedKernel(rank, module, kernel) for rank, (module, kernel) in enumerate(pairs, start=1)]


def sums_by_kind(kernels: Iterable[Kernel]) -> list[Sum]:
    """One sum a kind, the longest first."""
    sums: dict[str, Sum] = {}
    for kernel in kernels:
        kind = kind_of_operator(kernel.op).words
        sums.setdefault(kind, Sum(kind)).add(kernel)
    return sorted(sums.values(), key=lambda row: -row.latency_ms)


def sum_of(name: str, kernels: Iterable[Kernel]) -> Sum:
    """All these kernels as one sum."""
    total = Sum(name)
    for kernel in kernels:
        total.add(kernel)
    return total


def gflops(flops: float) -> str:
    """FLOPs in 1e9 with three digits; a dash where a kernel multiplies no matrices."""
    return _three_digits(flops / 1e9) if flops else "-"


def megabytes(size: float) -> str:
    """Bytes in 1e6 with three digits."""
    return _three_digits(size / 1e6)


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def kernels_text(count: int) -> str:
    """`1 kernel`, `23 kernels`."""
    return f"{count} kernel" if count == 1 else f"{count} kernels"


def flagged(kernel: Kernel) -> str:
    """The operator of a kernel, with a star where its time is unsure and widens the interval."""
    return f"{kernel.op} *" if kernel.note else kernel.op


def percent(share: float) -> str:
    """A share with one decimal: `12.3 %`."""
    return f"{share * 100:.1f} %"


def tail(text: str, width: int) -> str:
    """The end of a long name, which says more than its beginning."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def summary_lines(report: LatencyReport) -> list[str]:
    """Where the time goes, in two sentences: by kind of kernel, and by what bounds it."""
    kernels: Sequence[Kernel] = [kernel for row in report.modules for kernel in row.kernels]
    engines_ms = sum(kernel.latency_ms for kernel in kernels)
    if not engines_ms or len(kernels) < sum(row.kernel_count for row in report.modules):
        return []
    kinds = ", ".join(f"{row.name} {percent(row.latency_ms / engines_ms)}" for row in sums_by_kind(kernels))
    bounds = sum_of("", kernels).ms_by_bound
    shares = ", ".join(f"{name} {percent(ms / engines_ms)}" for name, ms in bounds.items())
    launch_ms = sum(kernel.launch_ms for kernel in kernels)
    return [
        f"by kind of kernel: {kinds}",
        f"bound by: {shares}; launching {kernels_text(len(kernels))} takes {launch_ms:.3f} ms of it",
    ]
