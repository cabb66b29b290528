"""What the tables and bars of a latency report are made of: kinds of kernels, sums, and figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def launching(report: LatencyReport) -> str:
    """What starting the kernels costs: what a launch is charged, and how long all of them take until their work begins,
    which holds the filling of their pipelines as well."""
    launch_ms = sum(kernel.launch_ms for row in report.modules for kernel in row.kernels)
    each = f" ({report.ceilings.launch_us:.3g} us a launch)" if report.ceilings is not None else ""
    return f"started in {launch_ms:.3f} ms{each}"


def summary_lines(report: LatencyReport) -> list[str]:
    """Where the time goes, in two sentences: by kind of kernel, and by what bounds it. Shares are of the total."""
    kernels: Sequence[Kernel] = [kernel for row in report.modules for kernel in row.kernels]
    if not kernels or not report.total_ms or len(kernels) < sum(row.kernel_count for row in report.modules):
        return []
    kinds = {row.name: row.latency_ms for row in sums_by_kind(kernels)}
    around = f"; steps around the engines {percent(report.share(report.steps_ms))}" if report.pipeline else ""
    return [
        f"by kind of kernel: {_shares(report, kinds)}{around}",
        f"bound by: {_shares(report, sum_of('', kernels).ms_by_bound)}; {kernels_text(len(kernels))} "
        f"{launching(report)}",
    ]


def _shares(report: LatencyReport, ms_by_name: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {percent(report.share(ms))}" for name, ms in ms_by_name.items())
