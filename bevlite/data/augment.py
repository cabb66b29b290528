"""Augmentation of images and of the BEV frame, as matrices: what is drawn here is applied everywhere alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from bevlite.config import Config
from bevlite.runtime.resizing import covering


class ImageAugmentation(Config):
    """Per image: resize by 1 + U(resize), crop at random, flip with probability 1/2, rotate by U(+-rotate_deg)."""

    resize: tuple[float, float] = (-0.06, 0.11)
    crop: bool = Field(default=True, description="place the crop at random; without, in the middle")
    rotate_deg: float = Field(default=5.4, ge=0, le=45)
    flip: bool = True
    brightness: float = Field(default=0.2, ge=0, lt=1)


class BEVAugmentation(Config):
    """Per sample: rotate about z by U(+-rotate_deg), scale by U(scale), mirror x and y with probability 1/2 each."""

    rotate_deg: float = Field(default=22.5, ge=0, le=180)
    scale: tuple[float, float] = (0.95, 1.05)
    flip_x: bool = True
    flip_y: bool = True


class Augmentation(Config):
    """What training varies; null switches a part off."""

    image: ImageAugmentation | None = ImageAugmentation()
    bev: BEVAugmentation | None = BEVAugmentation()

    def unwarped(self) -> Augmentation:
        """With images whose pixels look where they always do, for networks that are not told where that is."""
        if self.image is None:
            return self
        still = {"resize": (0.0, 0.0), "crop": False, "rotate_deg": 0.0, "flip": False}
        return self.model_copy(update={"image": self.image.model_copy(update=still)})


@dataclass(frozen=True)
class ImageWarp:
    """From a camera image to the network's image: resize, crop, flip, rotate, in this order.

    resized: (width, height) px after the resize; crop: (left, top) px of the network's image in it, may be outside.
    """

    size: tuple[int, int]  # (height, width) of the network's image
    resized: tuple[int, int]
    crop: tuple[int, int]
    flip: bool
    rotate_deg: float
    source: tuple[int, int]  # (height, width) of the camera image
    gain: float = 1.0

    def matrix(self) -> np.ndarray:
        """(3, 3): camera image px to network image px; an integer coordinate is the centre of a pixel."""
        height, width = self.size
        sx, sy = self.resized[0] / self.source[1], self.resized[1] / self.source[0]
        resize = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        crop = np.array([[1, 0, -self.crop[0]], [0, 1, -self.crop[1]], [0, 0, 1.0]])
        flip = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]]) if self.flip else np.eye(3)
        cx, cy = (width - 1) / 2, (height - 1) / 2
        cos, sin = np.cos(np.deg2rad(self.rotate_deg)), np.sin(np.deg2rad(self.rotate_deg))
        # Anti-clockwise as seen, with v pointing down (the convention of PIL's rotate).
        rotate = np.array([[cos, sin, cx - cos * cx - sin * cy], [-sin, cos, cy + sin * cx - cos * cy], [0, 0, 1]])
        return rotate @ flip @ crop @ resize


def image_warp(
    source: tuple[int, int],
    size: tuple[int, int],
    augmentation: ImageAugmentation | None = None,
    rng: np.random.Generator | None = None,
) -> ImageWarp:
    """The warp of one image: at test time resized to cover the network's image, and cropped at the top.

    Args:
        source: (height, width) px of the camera image.
        size: (height, width) px of the network's image.
        augmentation: what to vary (with `rng`), or None.
        rng: the source of randomness.
    """
    if augmentation is None or rng is None:
        return ImageWarp(size, *covering(source, size), False, 0.0, source)
    height, width = size
    scale = max(width / source[1], height / source[0])
    scale *= 1 + rng.uniform(*augmentation.resize)
    resized = (round(source[1] * scale), round(source[0] * scale))
    left = (resized[0] - width) // 2
    if augmentation.crop:
        left = int(rng.uniform(min(0, resized[0] - width), max(0, resized[0] - width)))
    return ImageWarp(
        size=size,
        resized=resized,
        crop=(left, resized[1] - height),
        flip=bool(augmentation.flip and rng.integers(2)),
        rotate_deg=float(rng.uniform(-augmentation.rotate_deg, augmentation.rotate_deg)),
        source=source,
        gain=float(1 + rng.uniform(-augmentation.brightness, augmentation.brightness)),
    )


def bev_matrix(augmentation: BEVAugmentation | None, rng: np.random.Generator | None) -> np.ndarray:
    """(4, 4): ego frame to the augmented BEV frame. The upper 3 x 3 is mirror x rotation x scale."""
    matrix = np.eye(4)
    if augmentation is None or rng is None:
        return matrix
    angle = np.deg2rad(rng.uniform(-augmentation.rotate_deg, augmentation.rotate_deg))
    scale = rng.uniform(*augmentation.scale)
    cos, sin = np.cos(angle), np.sin(angle)
    mirror = np.diag(
        [
            -1.0 if augmentation.flip_x and rng.integers(2) else 1.0,
            -1.0 if augmentation.flip_y and rng.integers(2) else 1.0,
            1.0,
        ]
    )
    matrix[:3, :3] = mirror @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * scale
    return matrix


def transform_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes (A, 9) in the ego frame to the frame that `matrix` from `bev_matrix` leads to."""
    if not len(boxes):
        return boxes.copy()
    linear = matrix[:3, :3]
    scale = np.cbrt(abs(np.linalg.det(linear)))
    out = boxes.copy()
    out[:, :3] = boxes[:, :3] @ linear.T + matrix[:3, 3]
    out[:, 3:6] = boxes[:, 3:6] * scale
    heading = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=1) @ linear[:2, :2].T
    out[:, 6] = np.arctan2(heading[:, 1], heading[:, 0])
    out[:, 7:9] = boxes[:, 7:9] @ linear[:2, :2].T
    return out
