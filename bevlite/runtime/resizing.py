"""Camera images to the network's input: the numpy reference of the kernel on the board, and the arithmetic of training.

Bilinear with anti-aliasing, as Pillow does it: a triangle as wide as a resized pixel, weights of 22 bits, rounded to 8
bits after each axis. `bevlite.data.resampling` makes the same images to the last bit, and warps them for training.
"""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple

import numpy as np

BITS = 22
"""Fraction bits of the weights, as in Pillow."""

YuvRange = Literal["full", "limited"]
"""Y and chroma over 0..255, as JPEG has them, or over 16..235 and 16..240, as video has them."""


class YuvMatrix(NamedTuple):
    """From Y, Cb, Cr to RGB in units of 2 ** -16: what Y is lowered by, then factors of Y, Cr for red, Cb and Cr for
    green, Cb for blue."""

    offset: int
    luma: int
    red_cr: int
    green_cb: int
    green_cr: int
    blue_cb: int


YUV: dict[YuvRange, YuvMatrix] = {
    "full": YuvMatrix(0, 65536, 91881, -22554, -46802, 116130),
    "limited": YuvMatrix(16, 76309, 104597, -25675, -53279, 132201),
}
"""ITU-R BT.601. `full` is that of JPEG (JFIF 1.02), and so of nuScenes' images."""


def covering(source: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How a camera image is brought to a network's: resized to cover it, cropped in the middle and at the top.

    Args:
        source: (height, width) px of the camera image.
        size: (height, width) px of the network's image.

    Returns:
        (width, height) px after the resize, and (left, top) px of the crop.
    """
    height, width = size
    scale = max(width / source[1], height / source[0])
    resized = (round(source[1] * scale), round(source[0] * scale))
    return resized, ((resized[0] - width) // 2, resized[1] - height)


def pixel_matrix(source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(3, 3) float64: camera image px to network image px; an integer coordinate is the centre of a pixel."""
    resized, (left, top) = covering(source, size)
    sx, sy = resized[0] / source[1], resized[1] / source[0]
    return np.array([[sx, 0, 0.5 * sx - 0.5 - left], [0, sy, 0.5 * sy - 0.5 - top], [0, 0, 1.0]])


def taps(source: int, resized: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What pixels along one axis are resized from, by a triangle as wide as a resized pixel and two at least.

    Args:
        source: px before.
        resized: px after.
        places: (P,) pixels after the resize that are wanted.

    Returns:
        Source pixels (K, P) int32, and their weights (K, P) int32 in units of 2 ** -22: all 0 for a place outside the
        image.
    """
    scale = source / resized
    support = max(scale, 1.0)
    centre = (places + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.int64), source)
    pixels = first + np.arange(ceil(support) * 2 + 1)[:, None]
    weights = np.maximum(1 - np.abs((pixels - centre + 0.5) * (1 / support)), 0)
    weights[pixels >= stop] = 0
    total = np.zeros(len(places))
    for row in weights:  # in this order, or the last bit differs
        total += row
    weights = np.where((places >= 0) & (places < resized), weights / np.where(total > 0, total, 1), 0)
    used = weights.any(axis=1)
    fixed = (weights[used] * (1 << BITS) + 0.5).astype(np.int32)
    return np.clip(pixels[used], 0, source - 1).astype(np.int32), fixed


def resized_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Camera images (N, H, W, 3) uint8 RGB to the network's (N, 3, height, width) uint8; `size` is (height, width)."""
    height, width = size
    resized, (left, top) = covering((images.shape[1], images.shape[2]), size)
    column, column_weight = taps(images.shape[2], resized[0], left + np.arange(width))
    row, row_weight = taps(images.shape[1], resized[1], top + np.arange(height))
    low, high = int(row.min()), int(row.max()) + 1
    out = np.empty((len(images), 3, height, width), np.uint8)
    for image, made in zip(images, out):
        between = _along(image[low:high], column, column_weight[..., None], axis=1)
        made[:] = _along(between, row - low, row_weight[..., None, None], axis=0).transpose(2, 0, 1)
    return out


def _along(image: np.ndarray, pixels: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """An image (H, W, 3) uint8 resized along one axis."""
    shape = list(image.shape)
    shape[axis] = pixels.shape[1]
    total = np.full(shape, 1 << (BITS - 1), np.int32)
    for places, weight in zip(pixels, weights):
        total += image.take(places, axis=axis) * weight
    return (total >> BITS).astype(np.uint8)


def nv12_to_rgb(frames: np.ndarray, matrix: YuvMatrix) -> np.ndarray:
    """NV12 frames (N, H + H / 2, W) uint8, rows of Y and then rows of Cb, Cr, to RGB (N, H, W, 3) uint8.

    The colour of two by two pixels is that of all four: nothing is interpolated. H and W are even.
    """
    height = frames.shape[1] * 2 // 3
    luma = (frames[:, :height].astype(np.int32) - matrix.offset) * matrix.luma + 32768
    chroma = frames[:, height:].reshape(len(frames), height // 2, -1, 2).astype(np.int32) - 128
    cb, cr = chroma.repeat(2, axis=1).repeat(2, axis=2).transpose(3, 0, 1, 2)
    colours = (
        luma + matrix.red_cr * cr,
        luma + matrix.green_cb * cb + matrix.green_cr * cr,
        luma + matrix.blue_cb * cb,
    )
    return np.stack([np.clip(colour >> 16, 0, 255) for colour in colours], axis=-1).astype(np.uint8)
