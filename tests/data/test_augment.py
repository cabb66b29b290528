"""What is drawn as a matrix is what happens to pixels, points, boxes and labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bevlite.data.augment import (
    BEVAugmentation,
    ImageAugmentation,
    ImageWarp,
    bev_matrix,
    image_warp,
    transform_boxes,
)
from bevlite.data.occupancy import ORIGIN_M, SHAPE, VOXEL_M, transform_occupancy
from bevlite.data.resampling import warp_image
from bevlite.reporting.scene import box_corners

SOURCE, SIZE = (180, 320), (96, 160)


def seen_at(warp: ImageWarp, u: float, v: float) -> np.ndarray | None:
    """Where a bright blob at (u, v) of the camera image is found in the network's image, to a tenth of a pixel."""
    y, x = np.mgrid[: SOURCE[0], : SOURCE[1]]
    blob = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 3.0**2))
    image = Image.fromarray(np.repeat(blob[..., None], 3, axis=2).astype(np.uint8))
    out = warp_image(image, warp)[0].astype(float)
    assert out.shape == SIZE
    if out.max() < 60:
        return None
    weights = np.where(out > 20, out, 0)
    yy, xx = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.array([(weights * xx).sum(), (weights * yy).sum()]) / weights.sum()


def check(warp: ImageWarp) -> int:
    hits = 0
    for u, v in ((160, 90), (100, 120), (220, 60), (60, 150), (270, 100)):
        expected = (warp.matrix() @ [u, v, 1])[:2]
        if np.all(expected > 10) and np.all(expected < np.array(SIZE[::-1]) - 10):
            found = seen_at(warp, u, v)
            assert found is not None
            np.testing.assert_allclose(found, expected, atol=0.3)
            hits += 1
    return hits


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotate_deg", [0.0, 20.0, -7.0])
@pytest.mark.parametrize(("resized", "crop"), [((160, 90), (0, -6)), ((208, 117), (30, 21)), ((140, 100), (-9, 4))])
def test_matrix_is_where_pixels_go(
    resized: tuple[int, int], crop: tuple[int, int], rotate_deg: float, flip: bool
) -> None:
    assert check(ImageWarp(SIZE, resized, crop, flip, rotate_deg, SOURCE)) >= 2


def test_drawn_warps() -> None:
    rng = np.random.default_rng(0)
    warps = [image_warp(SOURCE, SIZE, ImageAugmentation(brightness=0.0), rng) for _ in range(12)]
    assert sum(map(check, warps)) > 20
    assert {w.flip for w in warps} == {True, False} and len({w.rotate_deg for w in warps}) == 12
    plain = image_warp(SOURCE, SIZE)
    assert plain == image_warp(SOURCE, SIZE, None, rng) and check(plain) >= 2
    # Scaled to cover the whole network image; what is too much is cut at the top.
    np.testing.assert_allclose(plain.matrix() @ [319.5, 179.5, 1], [159.5 + 5.5, 95.5, 1], atol=1)


def test_brightness() -> None:
    image = Image.fromarray(np.full((*SOURCE, 3), 100, dtype=np.uint8))
    bright = warp_image(image, ImageWarp(SIZE, (171, 96), (0, 0), False, 0.0, SOURCE, gain=1.2))
    assert abs(int(bright[0, 50, 50]) - 120) <= 1


def rotation(boxes: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_move_as_their_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = bev_matrix(BEVAugmentation(rotate_deg=180, scale=(0.5, 2)), rng)
    boxes = np.concatenate([rng.uniform(-40, 40, (5, 3)), rng.uniform(0.5, 9, (5, 3)), rng.uniform(-3, 3, (5, 1)),
                            rng.normal(0, 4, (5, 2))], axis=1)  # fmt: skip
    moved = transform_boxes(boxes, matrix)
    corners = box_corners(boxes) @ matrix[:3, :3].T + matrix[:3, 3]
    for before, after in zip(corners, box_corners(moved), strict=True):
        # As sets: a mirror swaps left and right.
        gaps = np.linalg.norm(before[:, None] - after[None], axis=-1)
        assert gaps.min(axis=1).max() < 1e-9
    front = box_corners(boxes)[:, :2].mean(axis=1) @ matrix[:3, :3].T
    np.testing.assert_allclose(box_corners(moved)[:, :2].mean(axis=1), front, atol=1e-9)  # ahead stays ahead
    np.testing.assert_allclose(moved[:, 7:], boxes[:, 7:] @ matrix[:2, :2].T)
    assert transform_boxes(boxes[:0], matrix).shape == (0, 9)


def test_bev_matrix_is_a_similarity() -> None:
    rng = np.random.default_rng(0)
    drawn = [bev_matrix(BEVAugmentation(), rng) for _ in range(60)]
    for matrix in drawn:
        scale = np.cbrt(abs(np.linalg.det(matrix[:3, :3])))
        assert 0.95 <= scale <= 1.05
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, scale**2 * np.eye(3), atol=1e-12)
        assert matrix[2, 2] == pytest.approx(scale) and not matrix[:3, 3].any()
    assert {tuple(np.sign([m[0, 0], m[1, 1]])) for m in drawn} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert np.array_equal(bev_matrix(None, rng), np.eye(4))
    assert np.array_equal(bev_matrix(BEVAugmentation(), None), np.eye(4))


def labels(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 18, (20, 20, 4))
    return coarse.repeat(10, 0).repeat(10, 1).repeat(4, 2).astype(np.uint8), rng.random(SHAPE) < 0.8


@pytest.mark.parametrize(
    ("linear", "moved"),
    [
        ([[0, -1], [1, 0]], lambda a: np.rot90(a, 1, (0, 1))),
        ([[0, 1], [-1, 0]], lambda a: np.rot90(a, -1, (0, 1))),
        ([[-1, 0], [0, 1]], lambda a: a[::-1]),
        ([[1, 0], [0, -1]], lambda a: a[:, ::-1]),
        ([[-1, 0], [0, -1]], lambda a: a[::-1, ::-1]),
        ([[1, 0], [0, 1]], lambda a: a),
    ],
    ids=["left turn", "right turn", "mirror x", "mirror y", "half turn", "nothing"],
)
def test_quarter_turns_and_mirrors_of_occupancy_are_exact(linear: list[list[int]], moved) -> None:  # type: ignore[no-untyped-def]
    matrix = np.eye(4)
    matrix[:2, :2] = linear
    semantics, mask = labels()
    out, seen = transform_occupancy(semantics, mask, matrix)
    assert np.array_equal(out, moved(semantics)) and np.array_equal(seen, moved(mask))


@pytest.mark.parametrize("seed", range(3))
def test_occupancy_labels_move_as_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = bev_matrix(BEVAugmentation(), rng)
    semantics, mask = labels(seed)
    out, seen = transform_occupancy(semantics, mask, matrix)
    assert 0.5 < seen.sum() / mask.sum() < 1.1
    origin = np.array(ORIGIN_M)
    for voxel in rng.integers(0, SHAPE, (400, 3)):
        centre = origin + (voxel + 0.5) * VOXEL_M
        source = (np.linalg.inv(matrix) @ [*centre, 1])[:3]
        cell = (source - origin) / VOXEL_M
        if np.any(np.abs(cell - np.round(cell)) < 1e-3):
            continue  # between two voxels
        where = tuple(np.floor(cell).astype(int))
        if all(0 <= i < n for i, n in zip(where, SHAPE, strict=True)):
            assert out[tuple(voxel)] == semantics[where] and seen[tuple(voxel)] == mask[where]
        else:
            assert not seen[tuple(voxel)]
