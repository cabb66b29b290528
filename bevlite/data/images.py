"""Camera images: decode and warp. What is done here, preprocessing on the board has to match."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

from bevlite.data.augment import ImageWarp
from bevlite.errors import DataError


def read_image(path: Path) -> Image.Image:
    """Decode a whole image as RGB (raises DataError for a missing, truncated or foreign file)."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: the image file is missing") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: the image cannot be decoded, it is truncated or damaged ({error})") from None


def warp_image(image: Image.Image, warp: ImageWarp) -> np.ndarray:
    """Apply a warp: (3, H, W) uint8 RGB. Resizing is bilinear with anti-aliasing; outside is black."""
    height, width = warp.size
    out = image.resize(warp.resized, Image.Resampling.BILINEAR)
    left, top = warp.crop
    out = out.crop((left, top, left + width, top + height))
    if warp.flip:
        out = out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if warp.rotate_deg:
        out = out.rotate(warp.rotate_deg, Image.Resampling.BILINEAR)
    if warp.gain != 1.0:
        out = ImageEnhance.Brightness(out).enhance(warp.gain)
    return np.ascontiguousarray(np.asarray(out).transpose(2, 0, 1))
