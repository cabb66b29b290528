"""Where the pixels of one camera land in BEV: the same question to any view transform, calibrated or learnt.

The features of one patch of the image are changed, and where the camera's BEV map answers is where the patch lands.
Nothing is known of the transform, so that attention and lift-splat are drawn alike; in a network that was not trained
depth is as good as uniform and attention means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bevlite.data.classes import CAMERAS
from bevlite.data.config import DataConfig
from bevlite.data.images import read_image
from bevlite.data.index import load_index
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.models.samples import dataset_of
from bevlite.models.state import Memory
from bevlite.models.streams import parted
from bevlite.reporting.reach import ReachPanel, reach_figure
from bevlite.reporting.scene import save_figure
from bevlite.run_folder import Run
from bevlite.variant import Variant

ROWS, COLUMNS = 2, 10
"""Patches of the image that are looked at."""


@dataclass(frozen=True)
class Source:
    """A network to look at: a variant with random weights, or a run's own."""

    variant: Variant
    run: Run | None = None

    def network(self) -> Detector:
        """In evaluation mode, on the CPU (raises BevliteError for a run without weights)."""
        torch.manual_seed(0)
        network = Detector(self.variant)
        if self.run is not None:
            network.load_state_dict(self.run.weights(self.variant))
        return network.eval()


def camera_reach(network: Detector, batch: Mapping[str, Any], camera: int) -> np.ndarray:
    """How much every cell of the camera's BEV map changes with every patch of an image.

    Args:
        network: with a camera stream, in evaluation mode.
        batch: one sample.
        camera: which image, by its place on the N axis.

    Returns:
        (ROWS, COLUMNS, ny, nx) float32, the mean absolute change over the channels.
    """
    assert network.camera is not None and network.view_transform is not None
    inputs = dict(batch)
    if network.states:
        inputs |= Memory(network.states).inputs(torch.ones(1, dtype=torch.bool), "cpu")
    with torch.inference_mode():
        features = network.camera(inputs["images"])
        before = parted(network.view_transform(features, inputs))[0]
        _, channels, height, width = features.shape
        rows, columns = (np.linspace(0, n, k + 1).round().astype(int) for n, k in ((height, ROWS), (width, COLUMNS)))
        # As large as the features are, with signs that differ from channel to channel.
        generator = torch.Generator().manual_seed(0)
        change = features.std(dim=(0, 2, 3)) * torch.randint(0, 2, (channels,), generator=generator).mul(2).sub(1)
        found = np.zeros((ROWS, COLUMNS, *before.shape[2:]), dtype=np.float32)
        for i in range(ROWS):
            for j in range(COLUMNS):
                changed = features.clone()
                changed[camera, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]] += change[:, None, None]
                after = parted(network.view_transform(changed, inputs))[0]
                found[i, j] = (after - before)[0].abs().mean(dim=0).numpy()
    return found


def draw_reach(sources: Sequence[Source], data: DataConfig, out: Path, *, sample: int, split: str, camera: str) -> None:
    """Write a PNG with the image and a panel for every network.

    Raises:
        BevliteError: no such camera or sample, a network without cameras, a run without weights.
    """
    if camera not in CAMERAS:
        raise BevliteError(f"--camera: found '{camera}'; accepted: {', '.join(CAMERAS)}")
    number = CAMERAS.index(camera)
    for source in sources:
        name, stream = source.variant.name, source.variant.camera
        if stream is None or number >= stream.images.cameras:
            raise BevliteError(f"{name}: has no camera {camera}; accepted: networks that see it")
    index = load_index(data)
    rows = index.rows_of_split(split)
    if not 0 <= sample < len(rows):
        raise BevliteError(f"--sample: found {sample}; accepted: 0 to {len(rows) - 1} (split {split})")
    row = int(rows[sample])
    panels = []
    for source in sources:
        dataset = dataset_of(source.variant, data.root, index, rows, truth=False)
        item: Any = (0, sample, True) if dataset.has_past else sample
        batch = dataset.collate([dataset[item]])
        trained = "trained" if source.run is not None else "not trained"
        assert source.variant.camera is not None
        title = f"{source.variant.name}: {source.variant.camera.view_transform.type}, {trained}"
        panels.append(ReachPanel(title, camera_reach(source.network(), batch, number), source.variant.bev))
    matrix = index.camera_to_bev[row, number]
    image = read_image(Path(data.root) / str(index.camera_files[row, number]))
    save_figure(reach_figure(camera, image, matrix, index.intrinsics[row, number], panels), out)
