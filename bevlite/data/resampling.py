"""The warp of a camera image: resize, crop, flip, rotation and brightness. Preprocessing on the board has to match it.

What Pillow makes, to the last bit and several times faster. Only what the crop keeps is computed, and the three
colours of a pixel go together: an image is packed as (H, W) int32 with red in the lowest byte, then green and blue;
the highest byte is anything.
"""

from __future__ import annotations

from math import cos, radians, sin

import numpy as np
from numba import njit
from PIL import Image

from bevlite.data.augment import ImageWarp
from bevlite.runtime.resizing import BITS, taps


def warp_image(image: Image.Image, warp: ImageWarp) -> np.ndarray:
    """Apply a warp: (3, H, W) uint8 RGB. Resizing is bilinear with anti-aliasing; outside is black.

    To the last bit what Pillow's resize, crop, flip, rotation and brightness make one after the other.
    """
    height, width = warp.size
    left, top = warp.crop
    columns = left + (np.arange(width)[::-1] if warp.flip else np.arange(width))
    small = resized(
        packed(image),
        taps(image.width, warp.resized[0], columns),
        taps(image.height, warp.resized[1], top + np.arange(height)),
    )
    return rotated(small, warp.rotate_deg, warp.gain)


def packed(image: Image.Image) -> np.ndarray:
    """An RGB image as (H, W) int32, red in the lowest byte."""
    return np.frombuffer(image.tobytes("raw", "RGBX"), "<i4").reshape(image.height, image.width)


def resized(
    image: np.ndarray, columns: tuple[np.ndarray, np.ndarray], rows: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """A packed image by the `taps` of the columns and of the rows that are wanted: (rows, columns) int32."""
    low, high = (int(rows[0].min()), int(rows[0].max()) + 1) if rows[0].size else (0, 0)
    out = np.empty((rows[0].shape[1], columns[0].shape[1]), np.int32)
    _resize(image[low:high], *columns, rows[0] - np.int32(low), rows[1], out)
    return out


@njit(cache=True, nogil=True)
def _resize(image, column, column_weight, row, row_weight, out):  # type: ignore[no-untyped-def]
    """Along the rows first, rounded to 8 bits, then along the columns."""
    width = out.shape[1]
    red, green, blue = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.int32)
    half = np.int32(1 << (BITS - 1))
    between = np.empty((image.shape[0], width), np.int32)
    for y in range(image.shape[0]):
        red[:], green[:], blue[:] = half, half, half
        for k in range(column.shape[0]):
            for x in range(width):
                pixel, weight = image[y, np.uint32(column[k, x])], column_weight[k, x]
                red[x] += (pixel & np.int32(255)) * weight
                green[x] += ((pixel >> np.int32(8)) & np.int32(255)) * weight
                blue[x] += ((pixel >> np.int32(16)) & np.int32(255)) * weight
        for x in range(width):
            between[y, x] = _packed(red[x], green[x], blue[x])
    for y in range(out.shape[0]):
        red[:], green[:], blue[:] = half, half, half
        for k in range(row.shape[0]):
            source, weight = between[row[k, y]], row_weight[k, y]
            if weight == 0:
                continue
            for x in range(width):
                pixel = source[x]
                red[x] += (pixel & np.int32(255)) * weight
                green[x] += ((pixel >> np.int32(8)) & np.int32(255)) * weight
                blue[x] += ((pixel >> np.int32(16)) & np.int32(255)) * weight
        for x in range(width):
            out[y, x] = _packed(red[x], green[x], blue[x])


@njit(cache=True, nogil=True, inline="always")
def _packed(red, green, blue):  # type: ignore[no-untyped-def]
    """Three sums of weighted colours as one pixel."""
    bits = np.int32(BITS)
    return (red >> bits) | ((green >> bits) << np.int32(8)) | ((blue >> bits) << np.int32(16))


def rotated(image: np.ndarray, degrees: float, gain: float) -> np.ndarray:
    """A packed image (H, W), rotated anti-clockwise about its centre and made brighter: (3, H, W) uint8."""
    out = np.empty((3, *image.shape), np.uint8)
    table = np.minimum(np.arange(256, dtype=np.float32) * np.float32(gain), np.float32(255)).astype(np.uint8)
    if degrees % 360.0 == 0:
        _split(image, table, out)
    else:
        _rotate(image, _inverse(degrees, image.shape[1] / 2, image.shape[0] / 2), table, out)
    return out


def _inverse(degrees: float, cx: float, cy: float) -> np.ndarray:
    """(6,): from a pixel after the rotation to one before, as Pillow rounds it."""
    angle = -radians(degrees % 360.0)
    c, s = round(cos(angle), 15), round(sin(angle), 15)
    return np.array([c, s, c * -cx + s * -cy + cx, -s, c, -s * -cx + c * -cy + cy])


@njit(cache=True, nogil=True)
def _split(image, table, out):  # type: ignore[no-untyped-def]
    """The colours of a packed image, by a table."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            pixel = image[y, x]
            for colour in range(3):
                out[colour, y, x] = table[np.uint8((pixel >> np.int32(8 * colour)) & np.int32(255))]


@njit(cache=True, nogil=True)
def _rotate(image, inverse, table, out):  # type: ignore[no-untyped-def]
    """Bilinear, outside black; a row at a time in small loops, of which most become vector instructions."""
    height, width = image.shape
    framed = _framed(image)
    flat = framed.reshape(-1)
    right, down = np.empty(width), np.empty(width)
    place, inside, line = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.int32)
    corners = np.empty((4, width), np.int32)
    for y in range(height):
        _places(inverse, y, height, place, right, down, inside)
        _corners(flat, place, np.uint32(width + 2), corners)
        for colour in range(3):
            _blend(corners, np.int32(8 * colour), right, down, inside, line)
            _look_up(table, line, out[colour, y])


@njit(cache=True, nogil=True)
def _look_up(table, line, out):  # type: ignore[no-untyped-def]
    """Entries of a table: a function of its own, or its loop keeps the others from becoming vector instructions."""
    for x in range(len(line)):
        out[x] = table[np.uint32(line[x])]


@njit(cache=True, nogil=True)
def _framed(image):  # type: ignore[no-untyped-def]
    """An image with its outermost pixels once more around it."""
    framed = np.empty((image.shape[0] + 2, image.shape[1] + 2), np.int32)
    framed[1:-1, 1:-1] = image
    framed[0, 1:-1], framed[-1, 1:-1] = image[0], image[-1]
    framed[:, 0], framed[:, -1] = framed[:, 1], framed[:, -2]
    return framed


@njit(cache=True, nogil=True)
def _places(inverse, y, height, place, right, down, inside):  # type: ignore[no-untyped-def]
    """Where the pixels of row y come from: the upper left of four pixels of the framed image, how far right and down of
    it, and -1 where that is inside the image, else 0."""
    width = len(place)
    a, b, c, d, e, f = inverse
    for x in range(width):
        u, v = a * (x + 0.5) + b * (y + 0.5) + c, d * (x + 0.5) + e * (y + 0.5) + f
        inside[x] = -1 if (u >= 0.0) & (u < width) & (v >= 0.0) & (v < height) else 0
        u, v = min(max(u, 0.0), float(width)) - 0.5, min(max(v, 0.0), float(height)) - 0.5
        left, top = np.int32(u + 1.0), np.int32(v + 1.0)  # of the framed image; above -1, cutting off is a floor
        right[x], down[x] = u - (left - np.int32(1)), v - (top - np.int32(1))
        place[x] = top * np.int32(width + 2) + left


@njit(cache=True, nogil=True)
def _corners(flat, place, stride, corners):  # type: ignore[no-untyped-def]
    """The four pixels of each place, left before right and upper before lower."""
    for x in range(len(place)):
        upper = np.uint32(place[x])
        lower = upper + stride
        corners[0, x], corners[1, x] = flat[upper], flat[upper + np.uint32(1)]
        corners[2, x], corners[3, x] = flat[lower], flat[lower + np.uint32(1)]


@njit(cache=True, nogil=True)
def _blend(corners, shift, right, down, inside, line):  # type: ignore[no-untyped-def]
    """One colour between four packed pixels."""
    upper, upper_right, lower, lower_right = corners[0], corners[1], corners[2], corners[3]
    byte = np.int32(255)
    for x in range(len(line)):
        first, second = (upper[x] >> shift) & byte, (upper_right[x] >> shift) & byte
        above = first + (second - first) * right[x]
        first, second = (lower[x] >> shift) & byte, (lower_right[x] >> shift) & byte
        below = first + (second - first) * right[x]
        line[x] = np.int32(above + (below - above) * down[x]) & inside[x]
