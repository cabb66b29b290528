"""Raw points to depth images, for a lift-splat that is told LiDAR depth."""

from __future__ import annotations

import numpy as np

from bevlite.kernels.step import THREADS, Arrays, Builder, Floats, Step, blocks_of
from bevlite.runtime.depth import CLOSEST_M, depth_images
from bevlite.runtime.sweeps import EGO_RADIUS_M, compensated


def depth_step(
    cameras: int,
    size: tuple[int, int],
    sweeps: int,
    points: int,
    stride: int = 1,
    name: str = "depth_out",
    floats: Floats = "float32",
) -> Step:
    """The nearest depth in every patch, to the last bit that of `bevlite.runtime.depth`.

    Inputs: `points`, `first`, `poses` and `lags` as of `bevlite.kernels.pillars.pillar_step`; `bev_to_pixel` (N, 3, 4)
    float32, BEV metres to u * depth, v * depth, depth. Output, by the name given: (N, 1, height, width) in m.

    Args:
        cameras: N.
        size: (height, width) px of the network's images.
        sweeps: room for so many.
        points: room for so many points of all sweeps.
        stride: px a patch.
        name: of the output.
        floats: of the output.
    """
    height, width = size[0] // stride, size[1] // stride
    plan = Builder("depth_images")
    read = plan.buffer("points", "float32", (points, 5), "input")
    read += plan.buffer("first", "int32", (sweeps + 1,), "input")
    read += plan.buffer("poses", "float32", (sweeps, 3, 4), "input")
    plan.buffer("lags", "float32", (sweeps,), "input")
    read += plan.buffer("bev_to_pixel", "float32", (cameras, 3, 4), "input")
    scratch = plan.buffer("nearest", "int32", (cameras, height, width), "scratch")
    made = plan.buffer(name, floats, (cameras, 1, height, width), "output")
    plan.zero("nearest")
    plan.launch(
        "depth.depth_points", (blocks_of(points),), (THREADS,),
        ("points", "first", "poses", "lags", sweeps, EGO_RADIUS_M, points, "bev_to_pixel", cameras, CLOSEST_M,
         float(stride), width, height, "nearest"),
        read=read, written=min(4 * points, scratch),
    )  # fmt: skip
    pixels = cameras * height * width
    finish = ("nearest", pixels, name, int(floats == "float16"))
    plan.launch("depth.depth_finish", (blocks_of(pixels),), (THREADS,), finish, read=scratch, written=made)

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        cloud = compensated(inputs["points"], inputs["first"], inputs["poses"], inputs["lags"])
        return {name: depth_images(cloud, inputs["bev_to_pixel"], size, stride)[:, None].astype(floats)}

    return Step(plan.plan(), reference)
