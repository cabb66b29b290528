"""One sample on its way to the network, and the contract of what reads from it: inputs of parts, truth of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:  # loads the devkit
    from bevlite.data.index import Index

Need = Literal["images", "points", "past"]
"""What a reader wants of a frame: camera images with their calibration, LiDAR points, the frame before."""


@dataclass(frozen=True)
class Frame:
    """A sample of an index in the BEV frame that augmentation leads to. Metres.

    Attributes:
        root: the data root.
        index: all samples of the root.
        row: this one.
        bev: (4, 4), ego frame to the augmented BEV frame.
        points: (K, 5) float32 x, y, z, intensity 0..255, lag in s; None where nothing needs points.
        pixel_to_bev: (N, 4, 4), network image (u * depth, v * depth, depth, 1) to BEV metres; None without cameras.
        image_size: (height, width) px of the network's image.
        ego_motion: (4, 4), BEV frame of the frame before to this one's; the identity where there is none before.
        first: whether the frame has no past: the first of its scene.
    """

    root: Path
    index: Index
    row: int
    bev: np.ndarray
    points: np.ndarray | None = None
    pixel_to_bev: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    ego_motion: np.ndarray | None = None
    first: bool = True


class Ragged(NamedTuple):
    """An array whose length along `axis` differs from sample to sample: a batch pads it with `fill`."""

    axis: int
    fill: float


class Reader:
    """What a part or a task wants of a sample. The base wants nothing."""

    needs: frozenset[Need] = frozenset()
    ragged: Mapping[str, Ragged] = {}
    """Arrays of `sample` that a batch has to pad."""

    def check(self, root: Path, index: Index, rows: np.ndarray) -> None:
        """Before the long work: whether these samples have what it reads (raises DataError)."""

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """What one sample of a batch holds, by name (raises DataError)."""
        return {}
