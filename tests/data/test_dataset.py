from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevlite.data.augment import Augmentation, BEVAugmentation, ImageAugmentation, bev_matrix, image_warp
from bevlite.data.config import DataConfig
from bevlite.data.dataset import BEVDataset, Sample
from bevlite.data.index import Index
from bevlite.data.lidar import depth_map, read_points
from bevlite.data.occupancy import read_occupancy
from bevlite.data.sampler import EpochSampler, class_balanced_weights
from bevlite.errors import DataError
from bevlite.models.samples import dataset_of, outline
from bevlite.runtime.pillars import group_pillars
from bevlite.variant import Variant
from tests.tiny import lidar_only, tiny

BOTH = Augmentation(image=ImageAugmentation(brightness=0.0), bev=BEVAugmentation(rotate_deg=90))


def dataset(world: DataConfig, index: Index, variant: Variant | None = None, **options: Any) -> BEVDataset:
    variant = variant or tiny()
    rows = index.rows_of_split("mini_train")
    auxiliaries = outline(variant).auxiliaries
    return dataset_of(variant, options.pop("root", world.root), index, rows, auxiliaries=auxiliaries, **options)


def project(pixel_to_bev: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) px and (P,) depth in m."""
    matrix = np.linalg.inv(pixel_to_bev)
    raised = points @ matrix[:3, :3].T + matrix[:3, 3]
    return raised[:, :2] / raised[:, 2:], raised[:, 2]


def inside(points: np.ndarray, box: np.ndarray) -> int:
    offset = points[:, :3] - box[:3]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    along, across = cos * offset[:, 0] + sin * offset[:, 1], -sin * offset[:, 0] + cos * offset[:, 1]
    hit = (np.abs(along) < box[3] / 2) & (np.abs(across) < box[4] / 2) & (np.abs(offset[:, 2]) < box[5] / 2)
    return int(hit.sum())


def test_contents_of_a_sample(world: DataConfig, index: Index) -> None:
    sample = dataset(world, index)[2]
    assert sample["images"].shape == (6, 3, 64, 192) and sample["images"].dtype == np.uint8
    assert sample["images"].std(axis=(1, 2, 3)).min() > 5  # six pictures, none of them blank
    assert sample["pixel_to_bev"].shape == (6, 4, 4) and sample["depth"].shape == (6, 4, 12)
    assert sample["pillars"].shape[:2] == (5, 6) and sample["pillar_index"].max() == sample["pillars"].shape[2] > 500
    assert sample["occupancy"].shape == sample["occupancy_mask"].shape == (200, 200, 16)
    kept = (index.box_classes >= 0) & (index.box_points > 0)
    row = sample["row"]
    own = slice(*index.box_start[row : row + 2])
    assert len(sample["boxes"]) == len(sample["labels"]) == kept[own].sum() > 0
    assert sample["token"] == index.tokens[row]


@pytest.mark.parametrize("epoch", range(4))
def test_augmentation_keeps_everything_together(world: DataConfig, index: Index, epoch: int) -> None:
    plain, varied = dataset(world, index), dataset(world, index, augmentation=BOTH, seed=3)
    before, after = plain[1], varied[epoch, 1]
    row = before["row"]
    rng = np.random.default_rng((3, epoch, row))
    matrix = bev_matrix(BOTH.bev, rng)
    assert not np.allclose(matrix, np.eye(4))
    points_before, points_after = plain._points(row, np.eye(4)), varied._points(row, matrix)
    np.testing.assert_allclose(points_after[:, :3], points_before[:, :3] @ matrix[:3, :3].T, atol=1e-3)
    np.testing.assert_array_equal(points_after[:, 3:], points_before[:, 3:])
    # A point of the world is seen at the same pixel of the camera image.
    source = tuple(index.camera_sizes[row, 0])
    cloud = points_before[::50, :3].astype(np.float64)
    moved = cloud @ matrix[:3, :3].T
    for n in range(6):
        first = image_warp(source, (64, 192))
        second = image_warp(source, (64, 192), BOTH.image, rng)
        pixel, depth = project(before["pixel_to_bev"][n], cloud)
        again, depth_again = project(after["pixel_to_bev"][n], moved)
        ahead = depth > 1
        assert ahead.any()
        np.testing.assert_allclose(depth, depth_again, atol=1e-6)  # depth stays in metres of the camera
        raw = np.linalg.inv(first.matrix()) @ np.c_[pixel, np.ones(len(pixel))].T
        np.testing.assert_allclose((second.matrix() @ raw)[:2].T[ahead], again[ahead], rtol=1e-6, atol=1e-4)
    # Points in a box stay in it.
    counts = [inside(points_before, box) for box in before["boxes"]]
    assert sum(counts) > 50
    for count, box in zip(counts, after["boxes"], strict=True):
        assert abs(inside(points_after, box) - count) <= max(1, 0.02 * count)
    np.testing.assert_array_equal(before["labels"], after["labels"])
    # An occupied voxel under a point is occupied by the same class after.
    origin = np.array([-40, -40, -1.0])
    there = np.floor((cloud - origin) / 0.4).astype(int)
    here = np.floor((moved - origin) / 0.4).astype(int)
    shape = np.array([200, 200, 16])
    fits = ((there >= 1) & (there < shape - 1)).all(axis=1) & ((here >= 1) & (here < shape - 1)).all(axis=1)
    old, new = before["occupancy"][tuple(there[fits].T)], after["occupancy"][tuple(here[fits].T)]
    assert fits.sum() > 50 and (old == new).mean() > 0.6 and (old < 17).mean() > 0.5


def test_samples_depend_on_seed_and_epoch_alone(world: DataConfig, index: Index) -> None:
    def drawn(seed: int, epoch: int) -> Sample:
        return dataset(world, index, augmentation=BOTH, seed=seed)[epoch, 0]

    first = drawn(1, 2)
    for key in ("images", "pixel_to_bev", "pillars", "boxes", "depth"):
        np.testing.assert_array_equal(first[key], drawn(1, 2)[key])
    for other in (drawn(1, 3), drawn(2, 2)):
        assert not np.array_equal(first["pixel_to_bev"], other["pixel_to_bev"])


def test_depth_truth_is_the_nearest_point(world: DataConfig, index: Index) -> None:
    matrix = np.eye(4)[None]  # camera frame: (u d, v d, d)
    points = np.array([[8 * 10, 8 * 10, 10], [9 * 7, 9 * 7, 7], [20 * 3, 4 * 3, 3], [5, 5, -4], [900, 5, 2]], float)
    depth = depth_map(points, matrix, (32, 64), 16)
    expected = np.zeros((1, 2, 4), dtype=np.float32)
    expected[0, 0, 0], expected[0, 0, 1] = 7, 3
    np.testing.assert_array_equal(depth, expected)
    sample = dataset(world, index)[0]
    assert 0.02 < (sample["depth"] > 0).mean() <= 1 and sample["depth"].max() < 120


def test_single_sensor_variants_read_only_what_they_need(world: DataConfig, index: Index) -> None:
    lidar = dataset(world, index, lidar_only())[0]
    assert not {"images", "pixel_to_bev", "depth", "occupancy"} & set(lidar) and "pillars" in lidar
    camera = dataset(world, index, tiny(lidar=None, heads={"occupancy": None}))[0]
    assert not {"pillars", "pillar_index", "occupancy"} & set(camera) and "images" in camera
    blind = dataset(world, index, lidar_only(), truth=False)[0]
    assert not {"boxes", "labels"} & set(blind)


def test_collate_pads(world: DataConfig, index: Index) -> None:
    source = dataset(world, index)
    samples = [source[i] for i in range(3)]
    samples[1]["boxes"], samples[1]["labels"] = samples[1]["boxes"][:0], samples[1]["labels"][:0]
    batch = source.collate(samples)
    most = max(s["pillars"].shape[2] for s in samples)
    assert batch["pillars"].shape == (3, 5, 6, most) and batch["images"].dtype == torch.uint8
    for i, sample in enumerate(samples):
        count = sample["pillars"].shape[2]
        assert np.array_equal(batch["pillars"][i, ..., :count].numpy(), sample["pillars"])
        assert not batch["pillars"][i, ..., count:].any()
        assert (batch["labels"][i] >= 0).sum() == len(sample["labels"])
        np.testing.assert_array_equal(batch["boxes"][i, : len(sample["boxes"])].numpy(), sample["boxes"])
        assert (batch["labels"][i, len(sample["labels"]) :] == -1).all()
    assert batch["token"] == [s["token"] for s in samples] and batch["pixel_to_bev"].dtype == torch.float64
    empty = dict(samples[0], pillars=samples[0]["pillars"][..., :0], boxes=samples[1]["boxes"], labels=np.zeros(0, int))
    assert source.collate([empty])["pillars"].shape[-1] == 1 and (source.collate([empty])["labels"] == -1).all()


def test_pillars_of_a_sample_come_from_its_points(world: DataConfig, index: Index) -> None:
    variant = lidar_only()
    source = dataset(world, index, variant)
    points = source._points(int(source.rows[4]), np.eye(4))
    assert len(np.unique(points[:, 4])) == 2  # sweeps: 2
    pillars, where = group_pillars(points, variant.lidar.pillars.grid(variant.bev))  # type: ignore[union-attr]
    assert np.array_equal(source[4]["pillars"], pillars) and np.array_equal(source[4]["pillar_index"], where)


def test_sampler() -> None:
    def order(epoch: int, **options: Any) -> list[tuple[int, int]]:
        sampler = EpochSampler(10, 7, **options)
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler))
        return list(sampler)

    assert order(0) == order(0) != order(1) and {e for e, _ in order(3)} == {3}
    assert sorted(i for _, i in order(1)) == list(range(10))
    shares = [order(2, rank=r, replicas=3) for r in range(3)]
    together = [i for share in shares for _, i in share]
    assert [len(s) for s in shares] == [3, 3, 3] and len(set(together)) == 9
    weights = np.zeros(10)
    weights[[2, 5]] = 1, 3
    drawn = [i for epoch in range(200) for _, i in order(epoch, weights=weights)]
    assert set(drawn) == {2, 5} and drawn.count(5) / len(drawn) == pytest.approx(0.75, abs=0.03)


def test_rare_classes_are_drawn_more_often(index: Index) -> None:
    rows = np.arange(len(index))
    weights = class_balanced_weights(index, rows)
    present = np.zeros((len(rows), 10), dtype=bool)
    for i in rows:
        classes = index.box_classes[index.box_start[i] : index.box_start[i + 1]]
        present[i, classes[classes >= 0]] = True
    share = present.sum(axis=0) / present.sum()
    expected = [sum(0.1 / share[c] for c in range(10) if present[i, c]) for i in rows]
    np.testing.assert_allclose(weights, expected)


@pytest.fixture
def copy(world: DataConfig, tmp_path: Path) -> Path:
    """A copy of the world that a test may damage."""
    return Path(shutil.copytree(world.root, tmp_path / "copy"))


def damaged(world: DataConfig, index: Index, root: Path, variant: Variant) -> str:
    with pytest.raises(DataError) as error:
        dataset(world, index, variant, root=root)[1]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_damaged_files_give_one_line(world: DataConfig, index: Index, copy: Path) -> None:
    row = int(index.rows_of_split("mini_train")[1])
    image = copy / str(index.camera_files[row, 2])
    whole = image.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture at all"):
        image.write_bytes(content)
        line = damaged(world, index, copy, tiny(lidar=None))
        assert line.startswith(f"{image}: ") and "truncated or damaged" in line
    image.unlink()
    assert f"{image}: the image file is missing" in damaged(world, index, copy, tiny(lidar=None))

    cloud = copy / str(index.sweep_files[index.sweep_start[row] + 1])
    whole = cloud.read_bytes()
    for content in (whole[:-3], whole[:-8], b""):
        cloud.write_bytes(content)
        line = damaged(world, index, copy, lidar_only())
        assert line.startswith(f"{cloud}: ") and ("truncated" in line or (not content and "empty" in line))
    for value in (np.nan, np.inf):
        points = np.frombuffer(whole, dtype=np.float32).copy()
        points[7] = value
        cloud.write_bytes(points.tobytes())
        assert f"{cloud}: the point file holds NaN" in damaged(world, index, copy, lidar_only())
    cloud.unlink()
    assert f"{cloud}: the point file is missing" in damaged(world, index, copy, lidar_only())


def test_damaged_occupancy_gives_one_line(world: DataConfig, index: Index, tmp_path: Path) -> None:
    file = Path(world.root) / str(index.occupancy_files[0])
    semantics, mask = read_occupancy(file)
    assert semantics.shape == mask.shape == (200, 200, 16) and semantics.max() <= 17 and mask.any()
    whole, broken = file.read_bytes(), tmp_path / "labels.npz"
    for content in (whole[: len(whole) // 2], b"", b"rubbish", whole[:-200]):
        broken.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read") as error:
            read_occupancy(broken)
        assert "\n" not in str(error.value)
    np.savez(broken, semantics=semantics)
    with pytest.raises(DataError, match="mask_camera"):
        read_occupancy(broken)
    np.savez(broken, semantics=semantics[:100], mask_camera=mask)
    with pytest.raises(DataError, match=r"found shapes \(100, 200, 16\)"):
        read_occupancy(broken)
    with pytest.raises(DataError, match="are missing"):
        read_occupancy(tmp_path / "absent.npz")


def test_occupancy_head_needs_labels(world: DataConfig, index: Index) -> None:
    import dataclasses

    files = index.occupancy_files.copy()
    row = int(index.rows_of_split("mini_train")[1])
    files[row] = ""
    without = dataclasses.replace(index, occupancy_files=files)
    with pytest.raises(DataError, match=f"sample {index.tokens[row]} has no labels.*heads.occupancy: null"):
        dataset(world, without)
    assert len(dataset(world, without, lidar_only())) == 6


def test_points_round_trip(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    (tmp_path / "cloud.bin").write_bytes(points.tobytes())
    assert np.array_equal(read_points(tmp_path / "cloud.bin"), points)
