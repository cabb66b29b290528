"""Classes of voxels and of map cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.kernels.step import THREADS, Arrays, Builder, Floats, Step, blocks_of
from bevlite.runtime.classes import best_class, cut_of, map_classes

TILE, TILE_LINES = 32, 8


def best_class_step(classes: int, shape: tuple[int, ...], name: str = "logits_in", floats: Floats = "float32") -> Step:
    """The class whose logit is highest: (1, classes, ...), `floats`, by the name given to `best` (1, ...) uint8."""
    places = int(np.prod(shape))
    plan = Builder("best_class")
    read = plan.buffer(name, floats, (1, classes, *shape), "input")
    made = plan.buffer("best", "uint8", (1, *shape), "output")
    arguments = (name, int(floats == "float16"), classes, places, "best")
    plan.launch("classes.best_class", (blocks_of(places),), (THREADS,), arguments, read=read, written=made)

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return {"best": best_class(inputs[name][0])[None]}

    return Step(plan.plan(), reference)


def voxel_step(nz: int, ny: int, nx: int, name: str = "voxels_in") -> Step:
    """Classes that the graph took, (1, nz, ny, nx) int32 by the name given, to `voxels` (nx, ny, nz) uint8."""
    plan = Builder("voxels")
    read = plan.buffer(name, "int32", (1, nz, ny, nx), "input")
    made = plan.buffer("voxels", "uint8", (nx, ny, nz), "output")
    grid = (blocks_of(nx, TILE), ny, blocks_of(nz, TILE))
    plan.launch("classes.voxel_bytes", grid, (TILE, TILE_LINES), (name, nx, ny, nz, "voxels"), read=read, written=made)

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return {"voxels": inputs[name][0].transpose(2, 1, 0).astype(np.uint8)}

    return Step(plan.plan(), reference)


def map_step(thresholds: Sequence[float], ny: int, nx: int, name: str = "map_in", floats: Floats = "float32") -> Step:
    """Whether each map class is there: logits (1, C, ny, nx), `floats`, by the name given, and a probability a class
    that must be exceeded, to `map_classes` (C, ny, nx) uint8."""
    count = len(thresholds)
    plan = Builder("map_classes")
    read = plan.buffer(name, floats, (1, count, ny, nx), "input")
    read += plan.constant("cuts", np.array([cut_of(threshold) for threshold in thresholds], np.float32))
    made = plan.buffer("map_classes", "uint8", (count, ny, nx), "output")
    plan.launch(
        "classes.map_classes", (blocks_of(ny * nx), count), (THREADS,),
        (name, int(floats == "float16"), "cuts", ny * nx, "map_classes"),
        read=read, written=made,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return {"map_classes": map_classes(inputs[name][0], thresholds)}

    return Step(plan.plan(), reference)
