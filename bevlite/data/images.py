"""Camera images: decode. What is done here, preprocessing on the board has to match."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

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
