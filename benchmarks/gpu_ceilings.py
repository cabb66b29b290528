"""What a GPU is, and what it does at best."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

from cuda_graphs import capture


@cache
def _nvml_device() -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def sm_clock_mhz() -> int | str:
    """Clock of the multiprocessors now, or nothing where it cannot be read."""
    try:
        import pynvml

        return int(pynvml.nvmlDeviceGetClockInfo(_nvml_device(), pynvml.NVML_CLOCK_SM))
    except Exception:
        return ""


def gpu_ceilings() -> dict[str, Any]:
    """What the device can do at most, each the median of repeated runs, on random data."""
    import torch

    def median_ms(function: Callable[[], Any], repeats: int, inner: int = 1) -> float:
        for _ in range(3):
            function()
        torch.cuda.synchronize()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        events[0].record()
        for event in events[1:]:
            for _ in range(inner):
                function()
            event.record()
        torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) / inner for a, b in pairwise(events))

    result: dict[str, Any] = {}
    for size in (8192, 4096):
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
        ms = median_ms(lambda a=a, b=b: a @ b, 20)  # type: ignore[misc]
        result[f"gemm_fp16_{size}_tflops"] = 2 * size**3 / ms / 1e9
    result["sm_mhz_after_gemm"] = sm_clock_mhz()
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(4096, 4096, device="cuda") for _ in range(2))
    result["gemm_fp32_without_tf32_4096_tflops"] = 2 * 4096**3 / median_ms(lambda: a @ b, 10) / 1e9
    big = torch.randn(2**30, device="cuda", dtype=torch.float16)  # 2 GiB, 34 times the L2
    other = torch.empty_like(big)
    result["dram_read_gb_per_s"] = big.nbytes / median_ms(lambda: big.sum(), 10) / 1e6
    result["dram_copy_gb_per_s_read_plus_write"] = 2 * big.nbytes / median_ms(lambda: other.copy_(big), 10) / 1e6
    small, target = big[: 2**22], other[: 2**22]  # 8 MiB each
    graph = capture(lambda: torch.add(small, 1.0, out=target), 100)
    result["l2_add_8mib_to_8mib_gb_per_s_read_plus_write"] = 2 * small.nbytes * 100 / median_ms(graph.replay, 20) / 1e6
    one = torch.zeros(1, device="cuda")
    chain = {count: capture(lambda: one.add_(1.0), count) for count in (1, 200, 1000)}
    cost = {count: median_ms(graph.replay, 50) * 1e3 for count, graph in chain.items()}
    result["graph_of_1_tiny_kernel_us"] = cost[1]
    result["graph_of_200_tiny_kernels_us"] = cost[200]
    result["tiny_kernel_in_graph_us"] = (cost[1000] - cost[200]) / 800
    return result


def gpu_environment() -> dict[str, Any]:
    """Device, driver and versions."""
    import torch
    import triton

    properties = torch.cuda.get_device_properties(0)
    found: dict[str, Any] = {
        "device": properties.name,
        "sm_count": properties.multi_processor_count,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "memory_bytes": properties.total_memory,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
    try:
        import pynvml

        handle = _nvml_device()
        found["driver"] = pynvml.nvmlSystemGetDriverVersion()
        found["power_limit_w"] = pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
        for name, clock in (("sm", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM)):
            found[f"max_{name}_mhz"] = pynvml.nvmlDeviceGetMaxClockInfo(handle, clock)
    except Exception as error:
        found["driver"] = f"not read: {error}"
    return found
