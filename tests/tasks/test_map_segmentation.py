"""The map segmentation task: its head as BEVFusion resamples, its truth, and a network that learns a map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bevlite import testing
from bevlite.data.config import DataConfig
from bevlite.data.index import Index
from bevlite.errors import DataError
from bevlite.grid import BEVGrid
from bevlite.losses.terms import focal_loss
from bevlite.metrics.map_segmentation import map_counts
from bevlite.models.heads.map_segmentation.bevfusion import BEVFusionMapConfig
from bevlite.models.samples import dataset_of
from bevlite.tasks.contract import Scored
from bevlite.tasks.map_segmentation import MAP, MapSegmentation
from tests.expansion import crossroads
from tests.tiny import tiny

HEAD = BEVFusionMapConfig(channels=8)


@pytest.fixture
def mapped(index: Index, tmp_path: Path) -> Index:
    """The index of the small world, whose every sample lies on the crossroads."""
    file = crossroads().write(tmp_path / "map.json")
    poses = index.ego_to_global.copy()
    poses[:, :2, 3] = 200.0 + (poses[:, :2, 3] % 10)
    return replace(index, map_files=np.full(len(index), str(file)), ego_to_global=poses)


@pytest.mark.parametrize("cell_m", [0.4, 0.8, 1.6])
def test_the_map_is_sampled_as_bevfusion_does(cell_m: float) -> None:
    grid = BEVGrid(cell_m=cell_m)
    head = HEAD.build(3, grid).eval()
    x = torch.randn(2, 3, grid.ny, grid.nx)
    wanted = (torch.arange(200) + 0.5) * 0.5 - 50  # BEVGridTransform: where the output's centres lie in the input
    at = wanted / 51.2
    grid_xy = torch.stack(torch.meshgrid(at, at, indexing="ij")[::-1], dim=-1)[None].expand(2, -1, -1, -1)
    sampled = functional.grid_sample(x, grid_xy, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(head.along_y @ x @ head.along_x, sampled, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(head(x)[MAP], head.predict(head.convs(sampled)), atol=1e-4, rtol=1e-4)


def test_focal_loss_against_its_formula() -> None:
    logits, target = torch.randn(50, dtype=torch.float64), (torch.rand(50) < 0.3).double()
    p = logits.sigmoid()
    wanted = -(target * (1 - p) ** 2 * p.log() + (1 - target) * p**2 * (1 - p).log())
    torch.testing.assert_close(focal_loss(logits, target).double(), wanted, atol=1e-6, rtol=1e-5)


def test_a_grid_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"heads.map_segmentation: found a BEV grid of x \[-40.0, 40.0\] m; accepted"):
        HEAD.check(BEVGrid(x_range_m=(-40, 40), y_range_m=(-40, 40), cell_m=0.4))


def test_the_task_keeps_its_contract(world: DataConfig, mapped: Index) -> None:
    variant = tiny(heads={"detection": None, "occupancy": None, "map_segmentation": {"type": "bevfusion"}})
    dataset = dataset_of(variant, world.root, mapped, np.arange(2))
    batch = dataset.collate([dataset[0], dataset[1]])
    assert batch["map_truth"].shape == (2, 6, 200, 200)
    assert all(0.0005 < share < 0.5 for share in batch["map_truth"].float().mean(dim=(0, 2, 3)).tolist())
    testing.check_task(MapSegmentation(HEAD, variant.bev), batch)


def test_truth_fed_back_scores_one(world: DataConfig, mapped: Index) -> None:
    variant = tiny(heads={"detection": None, "occupancy": None, "map_segmentation": {"type": "bevfusion"}})
    dataset = dataset_of(variant, world.root, mapped, np.arange(1))
    batch = dataset.collate([dataset[0]])
    task = MapSegmentation(HEAD, variant.bev)
    logits = (batch["map_truth"].float() * 20 - 10).numpy()
    counts = task.result({MAP: logits}, batch, 0)["counts"]
    assert counts[..., 1:].sum() == 0 and counts[..., 0].all()
    truth, found = (raster.image for raster in task.picture({MAP: logits}, batch, 0.3).rasters)
    np.testing.assert_array_equal(truth, found)


def test_a_root_without_vector_maps_is_refused(world: DataConfig, mapped: Index) -> None:
    variant = tiny(heads={"map_segmentation": {"type": "bevfusion"}})
    bare = replace(mapped, map_files=np.full(len(mapped), ""))
    with pytest.raises(DataError, match=r"has no vector map .*accepted: .*heads.map_segmentation: null"):
        dataset_of(variant, world.root, bare, np.arange(2))


def test_scenes_once_each_are_the_score_and_one_alone_is_its_own(
    world: DataConfig, index: Index, tmp_path: Path
) -> None:
    task = MapSegmentation(HEAD, BEVGrid(cell_m=0.8))
    rows = index.rows_of_split("mini_train")  # two scenes of three samples
    rng = np.random.default_rng(0)
    shape = map_counts(np.zeros((6, 200, 200)), np.zeros((6, 200, 200))).shape
    results = {str(token): {"counts": rng.integers(1, 99, shape)} for token in index.tokens[rows]}
    scored = Scored(world, "mini_train", index, rows, tmp_path, True, False)
    figures = task.by_scene(results, scored)
    assert figures(np.ones(2, int))["map_miou"] == pytest.approx(task.score(results, scored)["map_miou"])
    second = rows[index.scenes[rows] == np.unique(index.scenes[rows])[1]]
    alone = task.score(results, replace(scored, rows=second))["map_miou"]
    assert figures(np.array([0, 3]))["map_miou"] == pytest.approx(alone)
