"""The ceilings of a board in one power mode, in the units that kernels are timed in."""

from __future__ import annotations

from dataclasses import dataclass

from bevlite.latency.device import DeviceConfig


@dataclass(frozen=True)
class Ceilings:
    """What the board can do in one power mode: FLOP/us, bytes/us, us."""

    tensor_flop_per_us: float
    fma_flop_per_us: float
    read_bytes_per_us: float
    copy_bytes_per_us: float
    launch_us: float
    clock_mhz: float
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
        clock_mhz=mode.gpu_clock_mhz,
        sm_count=mode.sm_count,
        l2_bytes=device.l2_cache_mb.value * 1e6,
    )
