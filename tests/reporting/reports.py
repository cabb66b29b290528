"""Latency reports made by hand, so that tables and plots can be checked against what was put in."""

from __future__ import annotations

from typing import Any

from bevlite.devices.report.latency import Ceilings, Conditions, Kernel, LatencyReport, ModuleRow, PipelineRow

CEILINGS = Ceilings(
    tensor_tflops={"fp32": 10.0, "fp16": 20.0, "int8": 40.0}, fma_fp32_tflops=5.0, memory_gb_per_s=100.0, launch_us=4.0
)


def kernel(name: str, latency_ms: float, bound: str = "compute", op: str = "Conv", **values: Any) -> Kernel:
    return Kernel.model_validate(
        {"name": name, "op": op, "latency_ms": latency_ms, "bound": bound, "precision": "fp16"} | values
    )


def report(modules: dict[str, list[Kernel]], steps: dict[str, float] | None = None, **values: Any) -> LatencyReport:
    """A predicted report: each interval is from half to double."""
    rows = []
    for name, kernels in modules.items():
        time = sum(k.latency_ms for k in kernels)
        listed = tuple(sorted(kernels, key=lambda k: -k.latency_ms))
        rows.append(
            ModuleRow(name=name, latency_ms=time, lower_ms=time / 2, upper_ms=time * 2, kernel_count=len(kernels),
                      gflops=sum(k.flops for k in kernels) / 1e9, kernels=listed)
        )  # fmt: skip
    pipeline = tuple(
        PipelineRow(name=name, latency_ms=ms, lower_ms=ms / 2, upper_ms=ms * 2, source="a paper")
        for name, ms in (steps or {}).items()
    )
    total = sum(row.latency_ms for row in (*rows, *pipeline))
    fields: dict[str, Any] = {
        "kind": "predicted",
        "device": "board",
        "precision": "fp16",
        "conditions": Conditions(power_mode="MAXN", tensorrt="10.3", cuda_graph=True),
        "predictor": "test",
        "ceilings": CEILINGS,
        "total_ms": total,
        "lower_ms": total / 2,
        "upper_ms": total * 2,
        "notes": ("interval: by hand",),
    }
    return LatencyReport(modules=tuple(rows), pipeline=pipeline, **(fields | values))
