"""What plans say that they move, against sums written out by hand."""

from __future__ import annotations

import dataclasses
import math

from bevlite.agent.kernels.plan import Launch
from bevlite.kernels.classes import best_class_step, map_step, voxel_step
from bevlite.kernels.depth import depth_step
from bevlite.kernels.detection import decoding_step, query_step
from bevlite.kernels.geometry import lookup_step, slots_step
from bevlite.kernels.images import image_step
from bevlite.kernels.pillars import pillar_step
from bevlite.kernels.step import Step
from tests.kernels.cases import DECODING, FRUSTUM, GRID, PILLARS, columns_case, pooling_case


def moved(step: Step) -> list[tuple[str, int, int]]:
    """Each launch by its name, with bytes read and written."""
    return [
        (item.function, item.read, item.written) if isinstance(item, Launch) else (item.buffer, 0, item.written)
        for item in step.plan.work
    ]


def test_six_images_of_nuscenes() -> None:
    """The resize reads the rows from which the crop is made once, and nothing in between is written."""
    scale = 900 / 396
    first = math.floor(140.5 * scale - scale + 0.5)
    pixels = 6 * (900 - first) * 1600
    taps = 2 * math.ceil(scale) - 1
    tables = 8 * taps * (704 + 256)
    for form, each in (("rgb", 3.0), ("nv12", 1.5)):
        ((name, read, written),) = moved(image_step((900, 1600), (256, 704), 6, form))  # type: ignore[arg-type]
        assert (name, read, written) == (f"resize_{form}", pixels * each + tables, 6 * 3 * 256 * 704)


def test_pillars_with_room_for_all_and_with_a_cut() -> None:
    cells, points, sweeps, pillars = 40 * 24, 4000, 3, 4 * 5 * 4 * 1000
    roomy = moved(pillar_step(PILLARS, sweeps, points))
    assert roomy == [
        ("count", 0, 4 * cells),
        ("pillar_report", 0, 12),
        ("pillar_cells", 24 * points + 48 * sweeps, 8 * points),
        ("pillar_sums", 4 * cells, 8),
        ("pillar_slots", 4 * cells + 8, 4 * cells + 8 * 1000),
        ("pillar_lists", 12 * points, 8 * points),
        ("pillar_fill", 4 * points + 20 * 4000 + 12 * 1000, pillars),
    ]
    tight = moved(pillar_step(dataclasses.replace(PILLARS, max_pillars=100), sweeps, points))
    assert [name for name, _, _ in tight if name not in dict(((n, r) for n, r, _ in roomy))] == [
        "buckets", "pillar_ranks", "pillar_cut"
    ]  # fmt: skip
    assert dict((n, r) for n, r, _ in tight)["pillar_sums"] == 8 * cells
    few = pillar_step(PILLARS, sweeps, points, expected_points=1000)
    assert few.plan.traffic < pillar_step(PILLARS, sweeps, points).plan.traffic


def test_tables() -> None:
    cells = GRID.nx * GRID.ny
    ((_, read, written),) = moved(lookup_step(GRID, (0.0, 1.0), FRUSTUM, 6))
    assert (read, written) == (6 * 12 * 8 + 6 * 3 * 4 + 2 * 8, 2 * cells * 4)
    chosen, fill, rest = moved(slots_step(GRID, (0.0, 1.0), (64, 176), 6, 700, 2))
    blocks = cells // 256
    assert chosen[1:] == (read, 4 * cells + 4 * 6 * blocks)
    tables = 6 * 700 * 4 * (1 + 4)
    assert fill[1:] == (read + 4 * cells + 4 * 6 * blocks, tables + cells * 12 + 24) and rest[1:] == (24, 0)
    step = pooling_case(0, 8).step
    points = 6 * len(FRUSTUM.depths_m) * FRUSTUM.height * FRUSTUM.width
    steps = {name: (read, written) for name, read, written in moved(step)}
    poses = 6 * 12 * 8 + 6 * 4 + len(FRUSTUM.depths_m) * 8
    assert steps["pooling_cells"] == (poses + 4 * points, 8 * points)
    assert steps["pooling_lists"] == (8 * points, 8 * points)


def test_columns_and_depth_images() -> None:
    steps = {name: (read, written) for name, read, written in moved(columns_case(0, 4).step)}
    columns, area = 6 * FRUSTUM.width, FRUSTUM.height * len(FRUSTUM.depths_m)
    poses = 6 * 12 * 8 + 6 * 4 + len(FRUSTUM.depths_m) * 8
    assert steps["columns_sort"] == (poses, 8 * columns * area + 4 * columns)
    assert steps["columns_fill"][0] == 8 * columns * area + 4 * columns
    images, cloud = 6 * 64 * 176 * 4, 4000 * 20 + 4 * 4 + 3 * 48 + 6 * 48
    assert moved(depth_step(6, (64, 176), 3, 4000)) == [
        ("nearest", 0, images), ("depth_points", cloud, 16_000), ("depth_finish", images, images)
    ]  # fmt: skip


def test_results() -> None:
    collect = dict((n, r) for n, r, _ in moved(decoding_step(DECODING, 32, 48)))
    assert collect["boxes_collect"] == 4 * 10 * 32 * 48
    assert moved(query_step(DECODING, 200)) == [("queries_decode", 4 * 15 * 200, 100 * (36 + 4 + 4) + 4)]
    assert moved(best_class_step(18, (16, 200, 200))) == [("best_class", 18 * 4 * 640_000, 640_000)]
    assert moved(voxel_step(16, 200, 200)) == [("voxel_bytes", 4 * 640_000, 640_000)]
    assert moved(map_step([0.5] * 6, 200, 200)) == [("map_classes", 6 * 160_000 + 24, 6 * 40_000)]


def test_kernels_of_few_blocks_are_counted() -> None:
    assert decoding_step(DECODING, 128, 128).plan.narrow == 2  # a block a group, and the list of all
    assert query_step(DECODING, 200).plan.narrow == 1
    assert image_step((900, 1600), (256, 704), 6).plan.narrow == 0
