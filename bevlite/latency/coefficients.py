"""Every number of the latency model that is not a ceiling of the board, in one typed place.

A ceiling belongs to the device file; a coefficient says how close a kernel comes to it. The defaults here are where a
calibration starts. What ships is `calibrations/orin.yaml`, fitted to published latencies by
`benchmarks/latency_orin.py`; a calibration on a board replaces the whole object (`calibration/fitting.py`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bevlite.config import Config, load_config, stable_hash
from bevlite.errors import ConfigError

PREDICTOR_VERSION = "0.5-layers"
"""Changes whenever the same graph and coefficients would get another prediction."""

SHIPPED = Path(__file__).parent / "calibrations" / "orin.yaml"

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Tile(Config):
    """One output tile of a tensor-core kernel: rows by columns."""

    m: int
    n: int


TILES = ((256, 128), (128, 256), (128, 128), (256, 64), (128, 64), (64, 64), (128, 32), (64, 32), (32, 32))
NARROW_TILES = ((128, 16), (64, 16))


class Coefficients(Config):
    """How close each kind of kernel comes to the ceilings of the board."""

    tiles: tuple[Tile, ...] = tuple(Tile(m=m, n=n) for m, n in (*TILES, *NARROW_TILES))
    """Output tiles; a layer takes the one that is quickest for it. Structure, never fitted."""
    split_k: tuple[int, ...] = (1, 2, 4, 8)
    """Ways to cut the reduction so that small maps fill all multiprocessors. Structure, never fitted."""
    operand_bytes_per_cycle: Positive = 60.0
    """Bytes a clock at which a multiprocessor loads the operands of matrix products through the L2 (its path is 64)."""
    tiles_together: int = 4
    """Small tiles that a multiprocessor works on at a time, at most. Assumed; structure, never fitted."""
    conv_operand_share: Share = 0.5
    """The same for convolutions, whose windows are gathered, against matrix products."""
    launch_share: Positive = 1.0
    """What a kernel costs beyond its work, as a share of the board's launch figure."""
    product_fill_cycles: NotNegative = 1500.0
    """Clocks to fill and drain the pipeline of a tile of a matrix product. Assumed (an H200 fits 4,300 to 4,600)."""
    k_step_cycles: NotNegative = 150.0
    """Clocks that one step of 64 elements of K takes a tile of a matrix product at least. The start is assumed."""
    conv_latency: Positive = 1.5
    """How much longer than a matrix product's a convolution's tile takes to fill, and for each step. The start is that
    of an H200."""
    reduce_cycles: NotNegative = 900.0
    """Clocks that a reduction waits for its partial results. The start is that of an H200."""
    conv_efficiency: Positive = 0.9
    """Convolution against the GEMM ceiling, tiles apart."""
    gemm_efficiency: Positive = 0.8
    """Matrix product against the GEMM ceiling, tiles apart."""
    attention_efficiency: Positive = 0.5
    """Fused attention against the GEMM ceiling (softmax runs between its two products)."""
    stem_efficiency: Share = 0.3
    """Convolution of an image (up to four channels) against other convolutions. The start is assumed."""
    transposed_efficiency: Share = 0.7
    """Transposed convolution against other convolutions. The start is assumed."""
    depthwise_efficiency: Share = 0.15
    """Depthwise convolution against the FP32 FMA ceiling (no tensor cores)."""
    int8_ratio: Positive = 2.0
    """INT8 over 16-bit rate of a product. The start is the tensor core's own; whole networks gain 1.06 to 1.65."""
    tf32_ratio: Share = 0.5
    """TF32 over 16-bit rate of a product. The start is the tensor core's own."""
    dram_efficiency: Positive = 1.0
    """Share of the measured streaming bandwidth that a kernel reaches."""
    l2_speedup: Annotated[float, Field(ge=1)] = 2.0
    """L2 over DRAM bandwidth, for activations that still lie in the cache."""
    l2_resident_share: Share = 0.3
    """A tensor of this share of the L2 is half still there for the next kernel. Assumed."""
    l2_edge: Positive = 2.0
    """How sharply what is larger is lost: the power of the size. Assumed."""
    gather_efficiency: Share = 0.4
    """Random rows against streaming. Assumed: no published Gather figure for Orin exists."""
    gather_hit_cost: Positive = 0.3
    """A row read from a table that stays in the cache, against streaming it from memory. The start is that of an
    H200, which fits 0.43 where kernels were tuned in place."""
    grid_sample_efficiency: Share = 0.25
    """Four scattered taps an output. Assumed; TensorRT#4246 reports bilinear as unusually slow on Orin."""
    nms_launches: NotNegative = 10.0
    """EfficientNMS plugin: kernels that it starts."""
    nms_flop_per_anchor: NotNegative = 1e5
    """EfficientNMS plugin: work an anchor at the FMA ceiling (80 classes)."""
    convolution_factor: Positive = 1.0
    depthwise_factor: Positive = 1.0
    matmul_factor: Positive = 1.0
    attention_factor: Positive = 1.0
    elementwise_factor: Positive = 1.0
    copy_factor: Positive = 1.0
    reduction_factor: Positive = 1.0
    pool_factor: Positive = 1.0
    resize_factor: Positive = 1.0
    gather_factor: Positive = 1.0
    other_factor: Positive = 1.0
    """How much longer each kind of kernel takes on a board than published rows say (`bevlite latency calibrate`)."""
    emulated: bool = False
    """Fitted to the answers of an emulated board: whatever is predicted with it says so."""
    band_below: Share = 0.25
    """How far below the prediction the truth lies at most, at 80 % (cross-validated)."""
    band_above: Positive = 0.35
    """How far above, likewise."""
    band_below_int8: Share = 0.25
    """How far below in INT8."""
    band_above_int8: Positive = 0.60
    """How far above in INT8. Wider where no row tells: gains over FP16 go down to 1.06, by where Q/DQ nodes stand."""
    uncertain_band: Share = 1.0
    """Half width for kernels that no published row covers (gathers, GridSample, TopK, unknown)."""
    windowed_band: Share = 0.45
    """Half width for windowed attention with its partitions: there is no trustworthy row on Orin."""


FITTABLE: dict[str, tuple[float, float]] = {
    "launch_share": (0.1, 4.0),
    "product_fill_cycles": (10.0, 20000.0),
    "k_step_cycles": (5.0, 2000.0),
    "conv_latency": (0.5, 5.0),
    "reduce_cycles": (10.0, 20000.0),
    "conv_efficiency": (0.05, 1.4),
    "gemm_efficiency": (0.05, 1.4),
    "attention_efficiency": (0.02, 1.0),
    "stem_efficiency": (0.01, 1.0),
    "transposed_efficiency": (0.05, 1.0),
    "depthwise_efficiency": (0.005, 1.0),
    "gather_efficiency": (0.02, 1.0),
    "gather_hit_cost": (0.02, 5.0),
    "l2_speedup": (1.0, 6.0),
    "operand_bytes_per_cycle": (4.0, 400.0),
    "conv_operand_share": (0.1, 1.0),
    "int8_ratio": (1.0, 3.0),
    "tf32_ratio": (0.1, 1.0),
    "nms_launches": (0.1, 100.0),
    "nms_flop_per_anchor": (1e2, 1e7),
}
"""Coefficients of the model itself, with their bounds: fitted to published latencies of many networks."""


RETIRED = frozenset({"switch_share", "exposed_share", "stem_latency", "misaligned_efficiency", "strided_efficiency"})
"""Coefficients that older calibration files hold, and that no kernel of TensorRT ever reached: they are left out."""


class FamilyError(Config):
    """What predicting one family gave, when its rows were left out of the fit."""

    family: str
    rows: int
    networks: int
    mean_abs_error: float
    worst: float


class Calibration(Config):
    """Coefficients with where they come from: the content of a calibration file."""

    type: Literal["latency_calibration"] = "latency_calibration"
    predictor: str
    device: str
    fitted: tuple[str, ...]
    held: dict[str, str] = {}
    """Coefficients that the data does not bear, each with the reason; they stay at the start value."""
    rows: int
    networks: int
    data_sha256: str
    left_out: tuple[FamilyError, ...]
    """Cross-validation: each family predicted by a fit to all others."""
    coefficients: Coefficients

    @model_validator(mode="before")
    @classmethod
    def _without_retired(cls, given: Any) -> Any:
        found = given.get("coefficients") if isinstance(given, dict) else None
        if not isinstance(found, dict):
            return given
        return given | {"coefficients": {name: value for name, value in found.items() if name not in RETIRED}}


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        ConfigError: it is missing, is none, or was made for another version of the predictor.
    """
    found = load_config(path, Calibration)
    if found.predictor != PREDICTOR_VERSION:
        raise ConfigError(
            f"{path}: predictor: found '{found.predictor}'; accepted: '{PREDICTOR_VERSION}' (calibrate again)"
        )
    return found


@cache
def shipped() -> Coefficients:
    """The coefficients that come with this version."""
    return load_calibration(SHIPPED).coefficients


def predictor_name(coefficients: Coefficients) -> str:
    """The version, and which coefficients when they are not the shipped ones."""
    own = "" if coefficients == DEFAULT else f"+{stable_hash(coefficients)[:8]}"
    emulated = "+emulated" if coefficients.emulated else ""
    return PREDICTOR_VERSION + emulated + own


DEFAULT = shipped() if SHIPPED.is_file() else Coefficients()
"""The coefficients of this version."""
