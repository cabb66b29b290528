"""Which samples a variant takes: what its parts read from a frame, and what its tasks are taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from bevlite.data.augment import Augmentation
from bevlite.data.classes import CAMERAS
from bevlite.data.dataset import BEVDataset, CameraInput
from bevlite.data.frame import Frame, Reader
from bevlite.data.index import Index
from bevlite.models.auxiliary import AuxiliaryLoss
from bevlite.models.contracts import Host, TensorSpec
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.registry import when_changed
from bevlite.tasks.contract import Task
from bevlite.variant import Variant

CAMERA_STREAM, LIDAR_STREAM = "camera", "lidar"
"""What `dataset_of` calls a whole stream that is missing; a single camera has the name of its channel."""


@dataclass(frozen=True)
class Outline:
    """A network without its weights: what it takes, makes and remembers; channels of its LiDAR's map, if it has one."""

    modules: tuple[Module, ...]
    hosts: tuple[Host, ...]
    states: tuple[TensorSpec, ...]
    auxiliaries: tuple[AuxiliaryLoss, ...]
    tasks: tuple[Task, ...]
    lidar_channels: int | None = None

    def deployed(self, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Inputs of the engines but states, from the arrays of one sample of a batch."""
        inputs = {"images": sample["images"][None]} if "images" in sample else {}
        for host in self.hosts:
            inputs |= host.deployed(sample)
        return inputs


def outline(variant: Variant) -> Outline:
    """The outline of a variant's network (raises ConfigError when its widths do not fit together)."""
    return _outline(variant.model_dump_json())


@lru_cache(maxsize=4)
def _outline(text: str) -> Outline:
    variant = Variant.model_validate_json(text)
    with torch.device("meta"):
        network = Detector(variant).eval()
    channels = network.lidar.out_channels if network.lidar is not None else None
    found = network.hosts, network.states, network.auxiliaries, network.tasks
    return Outline(tuple(modules_of(network)), *found, channels)


when_changed(_outline.cache_clear)


class WithoutPoints(Reader):
    """Reads what another reader reads, of a frame in which the LiDAR sees nothing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.needs, self.ragged = reader.needs, reader.ragged

    def check(self, root: Path, index: Index, rows: np.ndarray) -> None:
        """As the other one."""
        self._reader.check(root, index, rows)

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """As the other one, without points."""
        return self._reader.sample(frame if frame.points is None else replace(frame, points=frame.points[:0]))


def droppable(variant: Variant) -> tuple[str, ...]:
    """What a network can be scored without: a stream or a camera, if that leaves it one."""
    both = variant.camera is not None and variant.lidar is not None
    cameras = CAMERAS[: variant.camera.images.cameras] if variant.camera is not None else ()
    return (*((CAMERA_STREAM, LIDAR_STREAM) if both else ()), *(cameras if both or len(cameras) > 1 else ()))


def dataset_of(
    variant: Variant,
    root: str | Path,
    index: Index,
    rows: np.ndarray,
    *,
    truth: bool = True,
    augmentation: Augmentation | None = None,
    auxiliaries: Sequence[AuxiliaryLoss] = (),
    seed: int = 0,
    missing: str | None = None,
) -> BEVDataset:
    """Samples for the network of a variant.

    Args:
        variant: the network.
        root: the data root.
        index: its samples.
        rows: those that are wanted, in order.
        truth: with what its tasks are taught with.
        augmentation: what training varies.
        auxiliaries: auxiliary losses that are taught as well.
        seed: of the augmentation.
        missing: what gives nothing (`droppable`): the network sees black images or no points. Truth stays whole.

    Raises:
        DataError: a task lacks its truth.
    """
    network = outline(variant)
    readers: list[Reader] = [WithoutPoints(h) if missing == LIDAR_STREAM else h for h in network.hosts]
    if truth:
        readers += [task.truth for task in network.tasks]
    readers += [loss.truth for loss in auxiliaries]
    images = None
    if variant.camera is not None:
        wanted = variant.camera.images
        names = CAMERAS[: wanted.cameras]
        dark = frozenset(n for n, name in enumerate(names) if missing in (CAMERA_STREAM, name))
        corrected = variant.camera.view_transform.ego_motion
        images = CameraInput(wanted.height, wanted.width, wanted.cameras, corrected, dark)
    return BEVDataset(
        root,
        index,
        rows,
        readers,
        images=images,
        sweeps=variant.lidar.sweeps if variant.lidar is not None else 1,
        augmentation=augmentation,
        seed=seed,
        past=bool(network.states),
    )


def spread(dataset: BEVDataset, count: int) -> list[int]:
    """Samples of a data set in as many places as there are; frames on end where the network has a past."""
    count = min(count, len(dataset))
    if dataset.has_past:
        return list(range(count))
    return [round(i * (len(dataset) - 1) / max(1, count - 1)) for i in range(count)]
