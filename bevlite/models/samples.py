"""Which samples a variant takes: what its parts read from a frame, and what its tasks are taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from bevlite.data.augment import Augmentation
from bevlite.data.dataset import BEVDataset, CameraInput
from bevlite.data.frame import Reader
from bevlite.data.index import Index
from bevlite.models.auxiliary import AuxiliaryLoss
from bevlite.models.contracts import Host, TensorSpec
from bevlite.models.detector import Detector
from bevlite.models.modules import Module, modules_of
from bevlite.registry import when_changed
from bevlite.tasks.contract import Task
from bevlite.variant import Variant


@dataclass(frozen=True)
class Outline:
    """A network without its weights: what it takes, makes and remembers."""

    modules: tuple[Module, ...]
    hosts: tuple[Host, ...]
    states: tuple[TensorSpec, ...]
    auxiliaries: tuple[AuxiliaryLoss, ...]
    tasks: tuple[Task, ...]

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
    return Outline(tuple(modules_of(network)), network.hosts, network.states, network.auxiliaries, network.tasks)


when_changed(_outline.cache_clear)


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

    Raises:
        DataError: a task lacks its truth.
    """
    network = outline(variant)
    readers: list[Reader] = [*network.hosts]
    if truth:
        readers += [task.truth for task in network.tasks]
    readers += [loss.truth for loss in auxiliaries]
    images = None
    if variant.camera is not None:
        wanted = variant.camera.images
        images = CameraInput(wanted.height, wanted.width, wanted.cameras, variant.camera.view_transform.ego_motion)
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
