"""Where a camera's pixels land, held against projecting the cells into the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bevlite import show_reach
from bevlite.config import to_yaml
from bevlite.data.classes import CAMERAS
from bevlite.data.config import DataConfig
from bevlite.data.index import Index
from bevlite.errors import BevliteError
from bevlite.evaluation.reach import COLUMNS, Source, camera_reach
from bevlite.models.samples import dataset_of
from bevlite.reporting.reach import landed
from tests.tiny import lidar_only, tiny


@pytest.mark.parametrize("kind", ["lss", "lookup"])
def test_a_patch_lands_where_the_camera_looks_through_it(world: DataConfig, index: Index, kind: str) -> None:
    view: dict[str, object] = {"type": kind, "channels": 8}
    variant = tiny(camera={"view_transform": view}, lidar=None)
    dataset = dataset_of(variant, world.root, index, np.arange(1), truth=False)
    batch = dataset.collate([dataset[0]])
    camera = CAMERAS.index("CAM_BACK_LEFT")
    answers = camera_reach(Source(variant).network(), batch, camera)
    bev, images = variant.bev, variant.camera.images
    bev_to_pixel = np.linalg.inv(batch["pixel_to_bev"][0, camera].numpy() if "pixel_to_bev" in batch else
                                 _pixel_to_bev(dataset, camera))  # fmt: skip
    seen = 0
    for column in range(COLUMNS):
        iy, ix = np.nonzero(answers[:, column].max(axis=0) > 1e-4 * answers.max())
        seen += len(iy)
        x, y = (low + (i + 0.5) * bev.cell_m for low, i in ((bev.x_range_m[0], ix), (bev.y_range_m[0], iy)))
        points = np.stack([x, y, np.zeros_like(x), np.ones_like(x)])
        u, _, depth, _ = bev_to_pixel @ points
        # A cell of 1.6 m is answered to by a pixel that meets it anywhere, and a feature pixel spans 16.
        reach_px = 16 + bev.cell_m * images.width / np.maximum(depth, 1.0)
        left, right = (images.width * k / COLUMNS for k in (column, column + 1))
        assert (depth > -bev.cell_m).all()
        assert (
            (u / np.maximum(depth, 0.5) > left - reach_px) & (u / np.maximum(depth, 0.5) < right + reach_px)
        ).mean() > 0.98
    assert seen > 100


def _pixel_to_bev(dataset: object, camera: int) -> np.ndarray:
    images = dataset.images  # type: ignore[attr-defined]
    _, pixel_to_bev = dataset._images(images, 0, np.eye(4), None)  # type: ignore[attr-defined]
    found: np.ndarray = pixel_to_bev[camera]
    return found


def test_cells_take_the_colour_of_the_patch_that_they_answer_to_most() -> None:
    answers = np.zeros((2, 3, 2, 2), dtype=np.float32)
    answers[0, 0, 0, 0], answers[1, 2, 1, 1], answers[0, 1, 1, 1] = 1.0, 0.8, 0.1
    colours = landed(answers)
    assert np.array_equal(colours[0, 1], [1, 1, 1]) and not np.array_equal(colours[0, 0], colours[1, 1])
    assert colours[0, 0].argmax() == 0  # the first patch is red


def test_the_command_draws_variants_and_says_what_it_cannot(world: DataConfig, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(tiny(lidar=None, camera={"view_transform": {"type": "lookup", "channels": 8}})))
    show_reach([file], data=world, out=tmp_path / "reach.png", camera="CAM_BACK")
    assert Image.open(tmp_path / "reach.png").size[0] > 1000
    for given, message in (
        ({"camera": "CAM_SIDE"}, "--camera: found 'CAM_SIDE'; accepted: CAM_FRONT, "),
        ({"sample": 10**6}, "--sample: found 1000000; accepted: 0 to "),
    ):
        with pytest.raises(BevliteError, match=message):
            show_reach([file], data=world, out=tmp_path / "no.png", **given)  # type: ignore[arg-type]
    with pytest.raises(BevliteError, match="tiny-lidar: has no camera CAM_FRONT"):
        show_reach([lidar_only()], data=world, out=tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()
