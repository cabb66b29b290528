"""Camera images to the network's images: resized to cover them, and cropped at the top. The numpy reference.

To the last bit what Pillow's bilinear resize with anti-aliasing makes, as in training.
"""

from __future__ import annotations

from math import ceil

import numpy as np

BITS = 22
"""Fraction bits of the weights, as in Pillow."""


def covering(source: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """How a camera image becomes the network's: size after the resize, and the corner that the crop begins at.

    Args:
        source: (height, width) px of the camera image.
        size: (height, width) px of the network's image.

    Returns:
        (width, height) px after the resize, and (left, top) px of the network's image in it.
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


def network_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A camera image (H, W, 3) uint8 RGB as the network takes it: (3, height, width) uint8; outside is black."""
    (wide, high), (left, top) = covering((image.shape[0], image.shape[1]), size)
    columns, column_weights = taps(image.shape[1], wide, left + np.arange(size[1]))
    rows, row_weights = taps(image.shape[0], high, top + np.arange(size[0]))
    low, stop = int(rows.min()), int(rows.max()) + 1
    between = _summed(image[low:stop], columns, column_weights, axis=1)
    return np.ascontiguousarray(_summed(between, rows - low, row_weights, axis=0).transpose(2, 0, 1))


def _summed(image: np.ndarray, places: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """(H, W, 3) uint8 along one axis: weighted pixels (K, P) added up and rounded to 8 bits."""
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = np.full((1, 1, 1), 1 << (BITS - 1), np.int32)
    for place, weight in zip(places, weights):
        total = total + np.take(image, place, axis=axis).astype(np.int32) * weight.reshape(shape)
    return (total >> BITS).astype(np.uint8)


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
