"""A LiDAR stream that learns the maps of another network's, and streams that keep what they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevlite.data.config import DataConfig
from bevlite.data.index import Index, load_index
from bevlite.data.teacher import LIDAR_MAP, MAP, TURN
from bevlite.errors import BevliteError, ConfigError, DataError
from bevlite.grid import BEVGrid
from bevlite.models.auxiliary import collected
from bevlite.models.detector import Detector
from bevlite.models.distillation import LidarMapLoss
from bevlite.models.samples import dataset_of, outline
from bevlite.training.loop import train, training_set
from bevlite.training.recipe import Recipe, known_losses
from tests.tiny import lidar_only, short_recipe, tiny

GRID = BEVGrid(x_range_m=(-8.0, 8.0), y_range_m=(-8.0, 8.0), cell_m=1.0)
SILENT = dict.fromkeys(known_losses(), 0.0)
"""Without any loss but the teacher's."""


@pytest.fixture(scope="module")
def maps(world: DataConfig, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What another network of the same shape makes of the training samples, by token."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(7)
    teacher = Detector(lidar_only()).train()  # its batch norms have no statistics yet
    dataset = dataset_of(lidar_only(), world.root, index, index.rows_of_split(str(world.train_split)), truth=False)
    samples = [dataset[i] for i in range(len(dataset))]
    batch = dataset.collate(samples)
    with torch.no_grad(), collected() as found:
        assert teacher.lidar is not None
        teacher.lidar(batch)
    for sample, bev in zip(samples, found[LIDAR_MAP].numpy(), strict=True):
        np.save(folder / f"{sample['token']}.npy", bev.astype(np.float16))
    return folder


def turned(kind: str, bev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A map (C, ny, nx) and the matrix that leads there: rows are y, columns x."""
    matrix = np.eye(4, dtype=np.float32)
    if kind == "y mirrored":
        matrix[1, 1] = -1
        return matrix, bev[:, ::-1].copy()
    if kind == "x mirrored":
        matrix[0, 0] = -1
        return matrix, bev[:, :, ::-1].copy()
    if kind == "turned":
        matrix[:2, :2] = [[0, -1], [1, 0]]  # x to y, y to -x
        return matrix, np.rot90(bev, -1, axes=(1, 2)).copy()
    return matrix, bev


@pytest.mark.parametrize("kind", ["as it is", "y mirrored", "x mirrored", "turned"])
def test_the_teachers_map_is_turned_as_the_sample(kind: str) -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=(3, GRID.ny, GRID.nx)).astype(np.float32)
    matrix, seen = turned(kind, given)
    loss = LidarMapLoss("nowhere", 3, GRID)
    batch = {MAP: torch.from_numpy(given)[None], TURN: torch.from_numpy(matrix)[None]}
    assert float(loss(torch.from_numpy(seen)[None], batch)) < 1e-9
    assert float(loss(torch.zeros(1, 3, GRID.ny, GRID.nx), batch)) == pytest.approx(1.0, abs=1e-5)
    assert float(loss(torch.from_numpy(3 * seen)[None], batch)) == pytest.approx(4.0, abs=1e-4)


def test_what_lies_outside_the_teachers_map_is_not_taught() -> None:
    """Half the size: the border of the sample was never in the teacher's map."""
    matrix = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0]))[None]
    loss = LidarMapLoss("nowhere", 1, GRID)
    student = torch.ones(1, 1, GRID.ny, GRID.nx)
    student[..., :4], student[..., -4:], student[..., :4, :], student[..., -4:, :] = 9.0, 9.0, 9.0, 9.0
    assert float(loss(student, {MAP: torch.ones(1, 1, GRID.ny, GRID.nx), TURN: matrix})) == pytest.approx(0, abs=1e-6)


def test_a_stream_learns_the_maps_and_the_rest_keeps_what_it_has(world: DataConfig, maps: Path, tmp_path: Path) -> None:
    recipe = short_recipe(
        epochs=16, learning_rate=2e-2, losses=SILENT | {LIDAR_MAP: 1.0}, teacher=str(maps), only=["lidar"],
        save_every_s=60,
    )  # fmt: skip
    torch.manual_seed(3)
    start = Detector(lidar_only()).state_dict()
    run = train(lidar_only(), world, recipe, tmp_path / "run", weights=start, progress=False)
    losses = [json.loads(line)["loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert losses[0][LIDAR_MAP] > 0.9 and losses[-1][LIDAR_MAP] < 0.5 * losses[0][LIDAR_MAP]
    assert all(value == 0 for name, value in losses[-1].items() if name != LIDAR_MAP)
    weights = run.weights()
    for name, value in weights.items():
        if not name.startswith("lidar."):
            assert torch.equal(value, start[name]), name  # statistics of batch norms as well
    assert any(not torch.equal(value, start[name]) for name, value in weights.items() if name.startswith("lidar."))


def test_the_recipe_says_which_losses_there_are(maps: Path) -> None:
    assert LIDAR_MAP not in Recipe().of(lidar_only()).losses
    assert Recipe(teacher=str(maps)).of(lidar_only()).losses[LIDAR_MAP] == 1.0
    assert Recipe(teacher=str(maps), losses={LIDAR_MAP: 0.5}).of(lidar_only()).losses[LIDAR_MAP] == 0.5


def refused(world: DataConfig, teacher: Path) -> str:
    with pytest.raises(DataError) as caught:
        training_set(lidar_only(), world, short_recipe(teacher=str(teacher)))
    return str(caught.value)


def test_unusable_maps(world: DataConfig, maps: Path, tmp_path: Path) -> None:
    """Said before anything is trained."""
    channels = outline(lidar_only()).lidar_channels
    assert refused(world, tmp_path / "none").startswith(f"teacher: found no folder {tmp_path / 'none'}")
    copies = tmp_path / "maps"
    copies.mkdir()
    index = load_index(world)
    tokens = [str(index.tokens[row]) for row in index.rows_of_split(str(world.train_split))]
    assert f"found no map of 6 of 6 samples, the first {tokens[0]}.npy" in refused(world, copies)
    for token in tokens:
        (copies / f"{token}.npy").write_bytes((maps / f"{token}.npy").read_bytes())
    first = copies / f"{tokens[0]}.npy"
    arrays: list[tuple[Any, str]] = [
        (np.zeros((2, 3, 4), np.float16), f"found 2 x 3 x 4 of float16; accepted: {channels} x "),
        (np.full(np.load(first).shape, np.nan, np.float32), "found NaN or infinity"),
        (np.load(first).astype(np.float64), "of float64; accepted"),
        (np.array([{"a": 1}], dtype=object), "cannot be read"),
    ]
    for array, said in arrays:
        np.save(first, array, allow_pickle=True)
        assert said in refused(world, copies)
    first.write_bytes(first.read_bytes()[:40])
    assert "cannot be read" in refused(world, copies)


def test_networks_that_cannot(world: DataConfig, maps: Path, tmp_path: Path) -> None:
    with pytest.raises(BevliteError, match=r"^teacher: found a network without LiDAR"):
        train(
            tiny(lidar=None, heads={"occupancy": None}),
            world,
            short_recipe(teacher=str(maps)),
            tmp_path / "a",
            progress=False,
        )
    with pytest.raises(BevliteError, match=r"^only: found camera, .* accepted: lidar, fusion_heads$"):
        train(lidar_only(), world, short_recipe(only=["camera"]), tmp_path / "b", progress=False)
    with pytest.raises((ConfigError, ValueError), match="only"):
        Recipe.model_validate({"only": []})
