"""Resizing on the emulated GPU against Pillow itself."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bevlite.kernels.images import image_step
from bevlite.runtime.resizing import YUV, covering, nv12_to_rgb
from tests.kernels.emulation import emulate, needs_compiler

CASES = [((90, 160), (32, 88), 2), ((45, 81), (61, 37), 1), ((300, 40), (8, 70), 1), ((97, 113), (97, 113), 1)]


def by_pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    resized, (left, top) = covering(image.shape[:2], size)
    small = Image.fromarray(image).resize(resized, Image.Resampling.BILINEAR)
    return np.asarray(small.crop((left, top, left + size[1], top + size[0]))).transpose(2, 0, 1)


@needs_compiler
@pytest.mark.parametrize(("source", "size", "cameras"), CASES)
def test_rgb_is_pillow_s_to_the_last_bit(source: tuple[int, int], size: tuple[int, int], cameras: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (cameras, *source, 3), dtype=np.uint8)
    step = image_step(source, size, cameras)
    expected = np.stack([by_pillow(image, size) for image in images])
    assert np.array_equal(step.reference({"images": images})["images_small"], expected)
    assert np.array_equal(emulate(step.plan, {"images": images})["images_small"], expected)


@needs_compiler
@pytest.mark.parametrize("yuv", ["full", "limited"])
def test_nv12(yuv: str) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, 135, 160), dtype=np.uint8)
    step = image_step((90, 160), (32, 88), 2, "nv12", yuv)  # type: ignore[arg-type]
    expected = np.stack([by_pillow(image, (32, 88)) for image in nv12_to_rgb(frames, YUV[yuv])])  # type: ignore[index]
    assert np.array_equal(emulate(step.plan, {"images": frames}, seed=3)["images_small"], expected)
    assert np.array_equal(step.reference({"images": frames})["images_small"], expected)


def test_full_range_yuv_is_jpeg_s() -> None:
    """Smooth images, so that what a JPEG file loses of the chroma does not matter: Pillow's own conversion."""
    ramp = np.linspace(30, 220, 64)
    rgb = np.stack([ramp[None].repeat(64, 0), ramp[:, None].repeat(64, 1), 255 - ramp[None].repeat(64, 0)], -1)
    rgb = rgb.astype(np.uint8)
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    chroma = ycc[::2, ::2, 1:].reshape(32, 64)
    found = nv12_to_rgb(np.concatenate([ycc[..., 0], chroma])[None], YUV["full"])[0]
    assert np.abs(found.astype(int) - rgb).max() <= 8  # chroma of one pixel for four


def test_what_has_no_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="even sizes"):
        image_step((91, 160), (32, 88), 1, "nv12")
    with pytest.raises(ValueError, match="source rows"):
        image_step((40000, 40000), (8, 8), 1)
