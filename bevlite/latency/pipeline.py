"""The steps around the engines that count in the budget: preprocessing and decoding, as published figures.

Each entry is a figure that somebody measured on Orin, with its source and with the spread of the figures found; what
nobody published says so. A step whose size differs from the published case is scaled, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class PipelineStep:
    """One step outside the engines: median, lowest and highest figure, the source, and whether that is published."""

    name: str
    latency_ms: float
    lower_ms: float
    upper_ms: float
    source: str
    published: bool = True


_BEVDET = "github:LCH1238/bevdet-tensorrt-cpp@3d5a1248 README, AGX Orin, TensorRT 8.5.2"
_CENTERPOINT = "github:NVIDIA-AI-IOT/Lidar_AI_Solution@787ad954 CUDA-CenterPoint README, DRIVE Orin, TensorRT 8.4"

PUBLISHED_CAMERAS = 6
PUBLISHED_SWEEPS = 10


def image_preprocessing(cameras: int = PUBLISHED_CAMERAS) -> PipelineStep:
    """Resize, crop and normalise 1600 x 900 images (published for six: 2.8, 2.816, 2.924 ms)."""
    scale = cameras / PUBLISHED_CAMERAS
    source = _BEVDET if scale == 1 else f"{_BEVDET}; scaled from six cameras to {cameras}"
    return PipelineStep("image_preprocessing", 2.816 * scale, 2.8 * scale, 2.924 * scale, source)


def pillarisation(sweeps: int = PUBLISHED_SWEEPS) -> PipelineStep:
    """Points to pillars on the GPU (published for ten nuScenes sweeps: 1.36 ms, of voxels).

    One figure has no spread: the interval is half and double of it. Fewer sweeps are not scaled down, because
    the fixed part is not known.
    """
    same = sweeps == PUBLISHED_SWEEPS
    source = _CENTERPOINT if same else f"{_CENTERPOINT}; for ten sweeps, not scaled to {sweeps}"
    return PipelineStep("pillarisation", 1.36, 0.68, 2.72, source)


def decoding() -> PipelineStep:
    """Decode boxes and NMS (published: 0.919, 0.982, 1.065 ms for BEVDet; 4.4 ms for CenterPoint)."""
    return PipelineStep("decoding", 1.065, 0.919, 4.4, f"{_BEVDET}; upper figure {_CENTERPOINT}")


def query_decoding() -> PipelineStep:
    """Decode 200 queries without NMS: our own code, timed on another processor, as nobody published it for Orin.

    numpy on one core of an AMD EPYC took 0.028 ms (`decode_queries`, median of 2,000). A core of Orin is taken to be
    three times slower, and ten times at the most.
    """
    source = "bevlite's decode_queries: 0.028 ms on one core of an AMD EPYC, times three; not measured on Orin"
    return PipelineStep("decoding", 0.084, 0.028, 0.28, source, published=False)


class Aim(NamedTuple):
    """What kernels of our own are taken to reach: a share of the measured bandwidth, and us of a kernel of few blocks.

    Aims, as nothing of ours has run on a board: what bytes alone take, and five times that, are the ends.
    """

    share: float
    narrow_us: float


LIKELY, BEST, WORST = Aim(0.4, 20.0), Aim(1.0, 5.0), Aim(0.2, 100.0)


def of_kernels(
    name: str, *, launches: int, narrow: int, traffic_bytes: int, gb_per_s: float, launch_us: float
) -> PipelineStep:
    """A step priced by the kernels of our own that do it: launches, and bytes over a share of the bandwidth.

    Args:
        name: of the step.
        launches: kernels and memory sets of a frame.
        narrow: those of so few blocks that their own latency counts.
        traffic_bytes: that they must read and write.
        gb_per_s: of the board, for copies.
        launch_us: a launch in a CUDA graph.
    """

    def took_ms(aim: Aim) -> float:
        return (launches * launch_us + narrow * aim.narrow_us + traffic_bytes / (1e3 * gb_per_s * aim.share)) / 1e3

    source = (
        f"kernels of our own, not yet run on a board: {launches} launches of {launch_us:g} us, {narrow} of few blocks, "
        f"{traffic_bytes / 1e6:.1f} MB at {LIKELY.share:.0%} of {gb_per_s:g} GB/s "
        f"({BEST.share:.0%} to {WORST.share:.0%})"
    )
    return PipelineStep(name, took_ms(LIKELY), took_ms(BEST), took_ms(WORST), source, published=False)


AFTER = {"decoding": decoding, "query_decoding": query_decoding}
"""Steps after the engines that tasks name."""


def steps_for(*, cameras: int = 0, sweeps: int = 0, after: Iterable[str] = ()) -> list[PipelineStep]:
    """The steps that a network needs: `cameras` and `sweeps` are 0 where it has no such stream."""
    steps = []
    if cameras:
        steps.append(image_preprocessing(cameras))
    if sweeps:
        steps.append(pillarisation(sweeps))
    return [*steps, *(AFTER[name]() for name in dict.fromkeys(after))]
