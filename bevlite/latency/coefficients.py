"""Every number of the latency model that is not a ceiling of the board, in one typed place.

A ceiling belongs to the device file. A coefficient says how close a kernel comes to it. Those marked
*fitted* were searched on the calibration rows of `benchmarks/data/published_agx_orin.csv` (18 rows, three
sources); those marked *assumed* come from reading the hardware, and no published row decides them. A later
calibration on a board replaces the whole object.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bevlite.config import Config

PREDICTOR_VERSION = "0.1-roofline"
"""Changes whenever the same graph would get another prediction."""

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Tile(Config):
    """One output tile of a tensor-core kernel, and the share of the GEMM ceiling that it can reach."""

    m: int
    n: int
    efficiency: Share


class Coefficients(Config):
    """How close each kind of kernel comes to the ceilings of the board."""

    tiles: tuple[Tile, ...] = (
        Tile(m=128, n=128, efficiency=1.0),
        Tile(m=128, n=64, efficiency=0.85),
        Tile(m=64, n=64, efficiency=0.7),
        Tile(m=128, n=32, efficiency=0.6),
        Tile(m=64, n=32, efficiency=0.5),
    )
    """Assumed. Smaller tiles reuse less of what they load; a layer takes the one that is quickest for it."""
    split_k: tuple[int, ...] = (1, 2, 4, 8)
    """Ways to cut the reduction so that small maps fill all multiprocessors."""
    launch_share: Share = 0.84
    """Share of the board's launch figure that a kernel pays; the figures are upper bounds. Fitted."""
    conv_efficiency: Share = 0.95
    """Convolution against GEMM of the same size. Fitted."""
    gemm_efficiency: Share = 0.80
    """Matrix products against the large cuBLAS GEMM of the ceiling. Assumed."""
    attention_efficiency: Share = 0.45
    """Fused attention against the GEMM ceiling. Assumed (softmax runs between the two products)."""
    int8_ratio: Positive = 2.0
    """INT8 over 16-bit rate of a product, the tensor core's own. Whole networks gain 1.06 to 1.65, never 2:
    launches, depthwise layers and activations in FP16 do not shrink."""
    depthwise_efficiency: Share = 0.15
    """Depthwise convolution against the FP32 FMA ceiling (no tensor cores). Fitted."""
    tf32_ratio: Share = 0.5
    """TF32 over 16-bit compute rate (the tensor core's ratio)."""
    overlap: Share = 0.7
    """How much of the shorter of compute and memory time hides behind the longer. Fitted."""
    dram_efficiency: Share = 1.0
    """Share of the measured streaming bandwidth that a layer reaches. Fitted."""
    l2_speedup: Positive = 2.0
    """L2 over DRAM bandwidth for activations that still lie in the cache. Fitted."""
    l2_resident_share: Share = 0.37
    """Share of the L2 that one tensor may fill and still be found there by the next kernel. Fitted."""
    sector_bytes: int = 32
    """Memory moves in sectors of this size: a gathered row that is shorter still costs one."""
    gather_efficiency: Share = 0.4
    """Random rows against streaming. Assumed: no published Gather figure for Orin exists."""
    grid_sample_efficiency: Share = 0.25
    """Four scattered taps an output. Assumed; TensorRT#4246 reports bilinear as unusually slow on Orin."""
    topk_passes: int = 8
    """Kernels that a TopK takes. Assumed."""
    band_below: Share = 0.25
    """How far below the prediction the truth may lie (`benchmarks/latency_published.py`)."""
    band_above: Positive = 0.35
    """How far above. Not symmetric: what a model leaves out makes a network slower, never faster."""
    band_above_int8: Positive = 0.60
    """How far above in INT8. Wider: published gains over FP16 go down to 1.06, by where Q/DQ nodes stand."""
    uncertain_band: Share = 1.0
    """Half width for kernels that no published row covers (gathers, GridSample, TopK, unknown)."""


DEFAULT = Coefficients()
"""The coefficients of this version."""
