"""Samples as tensors: what a variant takes, and the truth that its heads are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import Dataset

from bevlite.data.augment import Augmentation, bev_matrix, image_warp, transform_boxes
from bevlite.data.images import read_image, warp_image
from bevlite.data.index import Index
from bevlite.data.lidar import accumulate_sweeps, depth_map
from bevlite.data.occupancy import read_occupancy, transform_occupancy
from bevlite.errors import DataError
from bevlite.runtime.pillars import PillarGrid, group_pillars
from bevlite.variant import Variant

Sample = dict[str, Any]


class BEVDataset(Dataset[Sample]):
    """Samples of an index for one variant.

    A sample holds, as far as the variant needs them: `images` (N, 3, H, W) uint8, `pixel_to_bev` (N, 4, 4) float64,
    `pillars` (5, M, V), `pillar_index` (ny, nx); as truth `boxes` (K, 9) with `labels` (K,), `occupancy` and
    `occupancy_mask` (200 x, 200 y, 16 z), `depth` (N, h, w) m; and `token`, `row`.
    """

    def __init__(
        self,
        root: str | Path,
        index: Index,
        rows: np.ndarray,
        variant: Variant,
        pillars: PillarGrid | None,
        *,
        augmentation: Augmentation | None = None,
        depth_truth: bool = False,
        truth: bool = True,
        seed: int = 0,
    ) -> None:
        self.root, self.index, self.rows, self.variant = Path(root), index, rows, variant
        self.pillars, self.augmentation = pillars, augmentation
        self.depth_truth = depth_truth and variant.camera is not None
        self.truth, self.seed = truth, seed
        if truth and variant.heads.occupancy is not None and not all(index.occupancy_files[rows]):
            missing = index.tokens[rows][index.occupancy_files[rows] == ""][0]
            raise DataError(
                f"{root}: the variant has an occupancy head and sample {missing} has no labels "
                f"(gts/<scene>/{missing}/labels.npz); accepted: a root with Occ3D labels, or heads.occupancy: null"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        """One sample; (epoch, item) where augmentation is on (see bevlite.data.sampler)."""
        epoch, item = item if isinstance(item, tuple) else (0, item)
        row = int(self.rows[item])
        augmentation = self.augmentation
        # One generator per sample and epoch: the same whatever the number of workers, and after a resume.
        rng = np.random.default_rng((self.seed, epoch, row)) if augmentation else None
        matrix = bev_matrix(augmentation.bev if augmentation else None, rng)
        sample: Sample = {"row": row, "token": str(self.index.tokens[row])}
        points = self._points(row, matrix) if self.variant.lidar or self.depth_truth else None
        if self.variant.lidar is not None:
            assert self.pillars is not None and points is not None
            sample["pillars"], sample["pillar_index"] = group_pillars(points, self.pillars)
        if self.variant.camera is not None:
            self._add_images(sample, row, matrix, rng, points)
        if self.truth:
            self._add_truth(sample, row, matrix)
        return sample

    def _points(self, row: int, matrix: np.ndarray) -> np.ndarray:
        lidar = self.variant.lidar
        start, stop = self.index.sweep_start[row : row + 2]
        stop = min(stop, start + (lidar.sweeps if lidar else 1))
        files = [self.root / name for name in self.index.sweep_files[start:stop]]
        points = accumulate_sweeps(files, self.index.sweep_to_bev[start:stop], self.index.sweep_lag_s[start:stop])
        points[:, :3] = points[:, :3] @ matrix[:3, :3].T.astype(np.float32)
        return points

    def _add_images(
        self, sample: Sample, row: int, matrix: np.ndarray, rng: np.random.Generator | None, points: np.ndarray | None
    ) -> None:
        camera = self.variant.camera
        assert camera is not None
        size = (camera.images.height, camera.images.width)
        augmentation = self.augmentation.image if self.augmentation else None
        poses = self.index.camera_to_bev if camera.view_transform.ego_motion else self.index.camera_to_ego
        images, pixel_to_bev = [], []
        for n in range(camera.images.cameras):
            image = read_image(self.root / str(self.index.camera_files[row, n]))
            warp = image_warp((image.height, image.width), size, augmentation, rng)
            images.append(warp_image(image, warp))
            unproject = np.eye(4)
            unproject[:3, :3] = np.linalg.inv(warp.matrix() @ self.index.intrinsics[row, n])
            pixel_to_bev.append(matrix @ poses[row, n] @ unproject)
        sample["images"] = np.stack(images)
        sample["pixel_to_bev"] = np.stack(pixel_to_bev)
        if self.depth_truth:
            assert points is not None
            keyframe = points[points[:, 4] == 0][:, :3]
            sample["depth"] = depth_map(keyframe, np.linalg.inv(sample["pixel_to_bev"]), size, camera.neck.out_stride)

    def _add_truth(self, sample: Sample, row: int, matrix: np.ndarray) -> None:
        start, stop = self.index.box_start[row : row + 2]
        keep = self.index.usable_boxes(row)
        sample["boxes"] = transform_boxes(self.index.boxes[start:stop][keep], matrix).astype(np.float32)
        sample["labels"] = self.index.box_classes[start:stop][keep].astype(np.int64)
        if self.variant.heads.occupancy is not None:
            semantics, mask = read_occupancy(self.root / str(self.index.occupancy_files[row]))
            sample["occupancy"], sample["occupancy_mask"] = transform_occupancy(semantics, mask, matrix)


def single_thread(worker: int) -> None:
    """Start of a loader process: one core each, or their matrix products fight over all of them."""
    threadpool_limits(1)
    torch.set_num_threads(1)


def collate(samples: list[Sample]) -> dict[str, Any]:
    """Stack samples; pillars and boxes are padded to the longest (zeros; label -1)."""
    batch: dict[str, Any] = {"token": [s["token"] for s in samples], "row": [s["row"] for s in samples]}
    for key in ("images", "pixel_to_bev", "pillar_index", "depth", "occupancy", "occupancy_mask"):
        if key in samples[0]:
            batch[key] = torch.from_numpy(np.stack([s[key] for s in samples]))
    if "pillars" in samples[0]:
        most = max(1, *(s["pillars"].shape[2] for s in samples))
        first = samples[0]["pillars"]
        pillars = torch.zeros(len(samples), first.shape[0], first.shape[1], most)
        for target, sample in zip(pillars, samples, strict=True):
            target[..., : sample["pillars"].shape[2]] = torch.from_numpy(sample["pillars"])
        batch["pillars"] = pillars
    if "boxes" in samples[0]:
        most = max(1, *(len(s["boxes"]) for s in samples))
        batch["boxes"] = torch.zeros(len(samples), most, 9)
        batch["labels"] = torch.full((len(samples), most), -1, dtype=torch.int64)
        for i, sample in enumerate(samples):
            batch["boxes"][i, : len(sample["boxes"])] = torch.from_numpy(sample["boxes"])
            batch["labels"][i, : len(sample["labels"])] = torch.from_numpy(sample["labels"])
    return batch
