"""Samples of an index as the network and its tasks want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

from bevlite.data.augment import Augmentation, bev_matrix, image_warp
from bevlite.data.batches import stacked
from bevlite.data.frame import Frame, Reader
from bevlite.data.images import read_image
from bevlite.data.index import Index
from bevlite.data.lidar import accumulate_sweeps
from bevlite.data.resampling import warp_image

Sample = dict[str, Any]
Item = int | tuple[int, int] | tuple[int, int, bool]
"""Number of a sample; with the epoch in front where augmentation is on; with whether a sequence begins there."""


@dataclass(frozen=True)
class CameraInput:
    """The images that a network takes: height and width in px, cameras, and whether ego motion between camera and LiDAR
    times is corrected in `pixel_to_bev`. Cameras that are `dark`, by number, give black images."""

    height: int
    width: int
    cameras: int
    ego_motion: bool = False
    dark: frozenset[int] = frozenset()


class BEVDataset(Dataset[Sample]):
    """Samples of an index, as far as the readers want them.

    A sample holds `row` and `token`; with `images`, `images` (N, 3, H, W) uint8; `first` and `ego_motion` (4, 4) where
    a reader needs the past, or with `past`; and whatever the readers give.
    """

    def __init__(
        self,
        root: str | Path,
        index: Index,
        rows: np.ndarray,
        readers: Sequence[Reader],
        *,
        images: CameraInput | None = None,
        sweeps: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        past: bool = False,
    ) -> None:
        self.root, self.index, self.rows, self.readers = Path(root), index, rows, tuple(readers)
        self.images, self.sweeps, self.augmentation, self.seed = images, sweeps, augmentation, seed
        needs = {need for reader in self.readers for need in reader.needs}
        self.needs = frozenset(needs | {"past"} if past else needs)
        self.ragged = {name: how for reader in self.readers for name, how in reader.ragged.items()}
        for reader in self.readers:
            reader.check(self.root, index, rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_past(self) -> bool:
        """Whether samples must come scene by scene."""
        return "past" in self.needs

    def begins(self, item: int) -> bool:
        """Whether a sample has no sample before it: the first of its scene, or of those that were chosen."""
        row = self.rows[item]
        follows = item > 0 and self.rows[item - 1] == row - 1
        return not (follows and self.index.scenes[row] == self.index.scenes[row - 1])

    def __getitem__(self, item: Item) -> Sample:
        """One sample (see `Item`, and bevlite.data.sampler)."""
        epoch, number, begins = _parts(item)
        row = int(self.rows[number])
        first = self.begins(number) if begins is None else begins
        augmentation = self.augmentation
        # One generator per sample and epoch: the same whatever the number of workers, and after a resume.
        rng = np.random.default_rng((self.seed, epoch, row)) if augmentation else None
        bev = bev_matrix(augmentation.bev if augmentation else None, self._scene_rng(epoch, row) or rng)
        sample: Sample = {"row": row, "token": str(self.index.tokens[row])}
        points = self._points(row, bev) if "points" in self.needs else None
        pixel_to_bev = None
        if self.images is not None:
            sample["images"], pixel_to_bev = self._images(self.images, row, bev, rng)
        if self.has_past:
            sample["first"], sample["ego_motion"] = first, self._ego_motion(row, bev, first)
        frame = Frame(
            self.root,
            self.index,
            row,
            bev,
            points,
            pixel_to_bev,
            (self.images.height, self.images.width) if self.images is not None else None,
            sample.get("ego_motion"),
            first,
        )
        for reader in self.readers:
            sample |= reader.sample(frame)
        return sample

    def collate(self, samples: list[Sample]) -> dict[str, Any]:
        """Stack samples to a batch; ragged arrays are padded to the longest."""
        batch: dict[str, Any] = {key: [s[key] for s in samples] for key in ("token", "row")}
        for key in samples[0]:
            if key in batch:
                continue
            batch[key] = stacked([np.asarray(s[key]) for s in samples], self.ragged.get(key))
        return batch

    def _scene_rng(self, epoch: int, row: int) -> np.random.Generator | None:
        """Frames of a sequence share their BEV augmentation, or what is remembered would jump."""
        if not self.has_past or self.augmentation is None:
            return None
        return np.random.default_rng((self.seed, epoch, crc32(str(self.index.scenes[row]).encode())))

    def _points(self, row: int, bev: np.ndarray) -> np.ndarray:
        start, stop = self.index.sweep_start[row : row + 2]
        stop = min(stop, start + self.sweeps)
        files = [self.root / name for name in self.index.sweep_files[start:stop]]
        points = accumulate_sweeps(files, self.index.sweep_to_bev[start:stop], self.index.sweep_lag_s[start:stop])
        points[:, :3] = points[:, :3] @ bev[:3, :3].T.astype(np.float32)
        return points

    def _images(
        self, camera: CameraInput, row: int, bev: np.ndarray, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, 3, H, W) uint8 and pixel_to_bev (N, 4, 4)."""
        augmentation = self.augmentation.image if self.augmentation else None
        poses = self.index.camera_to_bev if camera.ego_motion else self.index.camera_to_ego
        images, pixel_to_bev = [], []
        for n in range(camera.cameras):
            image = read_image(self.root / str(self.index.camera_files[row, n]))
            warp = image_warp((image.height, image.width), (camera.height, camera.width), augmentation, rng)
            seen = warp_image(image, warp)
            images.append(np.zeros_like(seen) if n in camera.dark else seen)
            unproject = np.eye(4)
            unproject[:3, :3] = np.linalg.inv(warp.matrix() @ self.index.intrinsics[row, n])
            pixel_to_bev.append(bev @ poses[row, n] @ unproject)
        return np.stack(images), np.stack(pixel_to_bev)

    def _ego_motion(self, row: int, bev: np.ndarray, first: bool) -> np.ndarray:
        if first:
            return np.eye(4)
        poses = self.index.ego_to_global
        motion = np.linalg.inv(poses[row]) @ poses[row - 1]
        moved: np.ndarray = bev @ motion @ np.linalg.inv(bev)
        return moved


def _parts(item: Item) -> tuple[int, int, bool | None]:
    """Epoch, number, and whether a sequence begins there (None: as the data say)."""
    if not isinstance(item, tuple):
        return 0, item, None
    return (*item, None) if len(item) == 2 else item


def single_thread(worker: int) -> None:
    """Start of a loader process: one core each, or their matrix products fight over all of them."""
    threadpool_limits(1)
    torch.set_num_threads(1)


def single(batch: Mapping[str, Any], i: int) -> dict[str, np.ndarray]:
    """The arrays of one sample of a batch."""
    return {name: value[i].numpy() for name, value in batch.items() if isinstance(value, torch.Tensor)}
