"""Images of the network against Pillow's own resize and crop."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bevlite.data.augment import image_warp
from bevlite.runtime.resizing import pixel_matrix, resized_images


@pytest.mark.parametrize(
    ("source", "size"), [((90, 160), (25, 70)), ((50, 40), (64, 96)), ((31, 57), (31, 57)), ((40, 200), (32, 64))]
)
def test_it_is_pillows_resize_and_crop(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    scale = max(size[1] / source[1], size[0] / source[0])
    wide, high = round(source[1] * scale), round(source[0] * scale)
    left, top = (wide - size[1]) // 2, high - size[0]
    whole = Image.fromarray(image).resize((wide, high), Image.Resampling.BILINEAR)
    expected = np.asarray(whole.crop((left, top, left + size[1], top + size[0]))).transpose(2, 0, 1)
    assert np.array_equal(resized_images(image[None], size)[0], expected)
    assert np.array_equal(pixel_matrix(source, size), image_warp(source, size).matrix())
