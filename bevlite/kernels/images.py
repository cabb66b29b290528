"""Camera images to the network's uint8 input."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bevlite.kernels.step import Arrays, Builder, Step, blocks_of
from bevlite.runtime.resizing import YUV, YuvRange, covering, nv12_to_rgb, resized_images, taps

ImageForm = Literal["rgb", "nv12"]
COLUMNS, LINES = 64, 4
"""Threads of a block along x and y."""
TILE_ROWS = (16, 8, 4, 2, 1)
SHARED_BYTES = 48 << 10
"""Shared memory that every block may have on every GPU."""


def image_step(
    source: tuple[int, int],
    size: tuple[int, int],
    cameras: int,
    form: ImageForm = "rgb",
    yuv: YuvRange = "full",
) -> Step:
    """Resize and crop as training does it.

    Input `images`: (cameras, H, W, 3) uint8 RGB, or (cameras, H + H / 2, W) uint8 NV12. Output `images_small`:
    (cameras, 3, height, width) uint8, to the last bit that of `bevlite.runtime.resizing`.

    Args:
        source: (H, W) px of the cameras.
        size: (height, width) px of the network.
        cameras: how many.
        form: how the cameras give their images.
        yuv: range of NV12.

    Raises:
        ValueError: sizes that are not even for NV12, or images so large that a tile's rows fit no shared memory.
    """
    height, width = size
    if form == "nv12" and (source[0] % 2 or source[1] % 2):
        raise ValueError(f"images: found NV12 of {source[1]} x {source[0]} px; accepted: even sizes")
    resized, (left, top) = covering(source, size)
    column = taps(source[1], resized[0], left + np.arange(width))
    row = taps(source[0], resized[1], top + np.arange(height))
    tile, rows = _tile(row[0])
    used_rows = int(row[0].max()) + 1 - int(row[0].min())
    plan = Builder("image_preprocessing")
    shape = (cameras, *source, 3) if form == "rgb" else (cameras, source[0] * 3 // 2, source[1])
    plan.buffer("images", "uint8", shape, "input")
    plan.constant("matrix", np.array(YUV[yuv], np.int32))
    tables = 0
    for axis, (pixels, weights) in (("column", column), ("row", row)):
        tables += plan.constant(axis, pixels) + plan.constant(f"{axis}_weight", weights)
    made = plan.buffer("images_small", "uint8", (cameras, 3, height, width), "output")
    used_columns = int(column[0].max()) + 1 - int(column[0].min())
    pixel_bytes = 3.0 if form == "rgb" else 1.5
    pitch, camera_rows = source[1] * (3 if form == "rgb" else 1), shape[1]
    plan.launch(
        f"resize.resize_{form}",
        (blocks_of(width, COLUMNS), -(-height // tile), cameras),
        (COLUMNS, LINES),
        ("images", pitch, camera_rows, source[0], "matrix", "column", "column_weight", len(column[0]), "row",
         "row_weight", len(row[0]), width, height, tile, "images_small"),
        read=int(cameras * used_rows * used_columns * pixel_bytes) + tables,
        written=made,
        shared=rows * COLUMNS * 4,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        images = inputs["images"]
        return {"images_small": resized_images(images if form == "rgb" else nv12_to_rgb(images, YUV[yuv]), size)}

    return Step(plan.plan(), reference)


def _tile(row: np.ndarray) -> tuple[int, int]:
    """Result rows of a tile, and the most source rows (K, height) that one needs: the largest tile that fits."""
    height = row.shape[1]
    for tile in TILE_ROWS:
        starts = np.arange(0, height, tile)
        rows = int((row[-1, np.minimum(starts + tile, height) - 1] - row[0, starts]).max()) + 1
        if rows * COLUMNS * 4 <= SHARED_BYTES:
            return tile, rows
    raise ValueError(f"images: found {rows} source rows for one row; accepted: at most {SHARED_BYTES // COLUMNS // 4}")
