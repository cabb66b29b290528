"""Camera images: decode. What is done here, preprocessing on the board has to match."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from bevlite.errors import DataError

LARGEST_PX = 64_000_000
"""Pixels of an image: more than any camera of a car has. A header may claim gigapixels in a hundred bytes."""


def read_image(path: Path) -> Image.Image:
    """Decode a whole image as RGB (raises DataError for a missing, truncated, foreign or absurdly large file)."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > LARGEST_PX:  # nothing of that size is allocated
                raise DataError(
                    f"{path}: the image claims {width} x {height} px; accepted: at most {LARGEST_PX} pixels in all"
                )
            return image.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: the image file is missing") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: the image claims gigapixels; accepted: at most {LARGEST_PX} pixels in all") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: the image cannot be decoded, it is truncated or damaged ({error})") from None
