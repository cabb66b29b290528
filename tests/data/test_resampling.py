"""The warp of a camera image against Pillow's operations one after the other."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bevlite.data.augment import ImageAugmentation, ImageWarp, image_warp
from bevlite.data.resampling import warp_image

SOURCES = [(450, 800), (225, 400), (97, 113)]
SIZES = [(256, 704), (61, 37)]


def by_pillow(image: Image.Image, warp: ImageWarp) -> np.ndarray:
    """(3, H, W) uint8."""
    height, width = warp.size
    left, top = warp.crop
    out = image.resize(warp.resized, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))
    if warp.flip:
        out = out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    out = out.rotate(warp.rotate_deg, Image.Resampling.BILINEAR)
    return np.asarray(ImageEnhance.Brightness(out).enhance(warp.gain)).transpose(2, 0, 1)


def noise(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """An image in which no two pixels are alike."""
    return Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rotate_deg", [2.0, 45.0])
def test_augmented(source: tuple[int, int], size: tuple[int, int], rotate_deg: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):  # smaller than the network's image as well: black beside it
        warp = image_warp(source, size, ImageAugmentation(resize=(-0.3, 0.3), rotate_deg=rotate_deg), rng)
        image = noise(source, rng)
        np.testing.assert_array_equal(warp_image(image, warp), by_pillow(image, warp))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", SIZES)
def test_plain(source: tuple[int, int], size: tuple[int, int]) -> None:
    image, warp = noise(source, np.random.default_rng(4)), image_warp(source, size)
    np.testing.assert_array_equal(warp_image(image, warp), by_pillow(image, warp))


def test_much_smaller() -> None:
    image, warp = noise((450, 800), np.random.default_rng(5)), image_warp((450, 800), (32, 88))
    np.testing.assert_array_equal(warp_image(image, warp), by_pillow(image, warp))


def test_as_it_is() -> None:
    image = noise((40, 50), np.random.default_rng(6))
    warp = ImageWarp((40, 50), (50, 40), (0, 0), False, 0.0, (40, 50))
    np.testing.assert_array_equal(warp_image(image, warp), np.asarray(image).transpose(2, 0, 1))
    bright = ImageWarp((40, 50), (50, 40), (0, 0), True, 90.0, (40, 50), gain=1.7)
    np.testing.assert_array_equal(warp_image(image, bright), by_pillow(image, bright))


def test_beside_the_image_all_is_black() -> None:
    image = noise((40, 50), np.random.default_rng(7))
    warp = ImageWarp((20, 30), (50, 40), (80, 60), False, 0.0, (40, 50))
    np.testing.assert_array_equal(warp_image(image, warp), np.zeros((3, 20, 30), np.uint8))
