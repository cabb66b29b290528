"""Data: make a generated world, check a data root, compare it with nuScenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.api.opened import Say

if TYPE_CHECKING:
    from collections.abc import Callable

    from bevlite.data.check import CheckReport
    from bevlite.simulation.world.generate import WorldSummary
    from bevlite.simulation.world.statistics import Statistics

PathLike = str | os.PathLike[str]


def synthesize(
    out: PathLike,
    *,
    scenes: int = 10,
    samples: int = 20,
    seed: int = 0,
    sweeps: int = 9,
    val_scenes: int | None = None,
    image_scale: float = 1.0,
    jpeg_quality: int = 90,
    world: int = 2,
    workers: int | None = None,
    say: Say | None = None,
) -> WorldSummary:
    """Make a generated world in nuScenes format: six cameras, LiDAR, boxes, occupancy.

    Args:
        out: data root to make: a new folder, or one to resume.
        scenes: up to 10 make v1.0-mini, more make v1.0-trainval.
        samples: keyframes a scene, at 2 Hz.
        seed: the same seed gives the same bytes.
        sweeps: LiDAR sweeps before each keyframe, at 20 Hz (0..9).
        val_scenes: scenes of the validation split; None for 2 of 10.
        image_scale: image size as a share of 1600 x 900.
        jpeg_quality: 10..100.
        world: version of the world: 2, or 1, in which the camera counts for little.
        workers: processes; None for one a core. More than one needs `if __name__ == "__main__":` in a script.
        say: where a line a scene goes.

    Raises:
        BevliteError: a value out of its range, or a folder that holds another world.
    """
    from bevlite.simulation.world.generate import generate_world

    return generate_world(
        Path(out),
        scenes=scenes,
        samples=samples,
        seed=seed,
        sweeps=sweeps,
        val_scenes=val_scenes,
        image_scale=image_scale,
        jpeg_quality=jpeg_quality,
        world=world,
        workers=workers,
        report=say,
    )


def check_data(
    root: PathLike,
    *,
    version: str | None = None,
    quick: bool = False,
    advance: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Count what a data root holds and list all its problems.

    Args:
        root: a data root in nuScenes format, whatever its state.
        version: the version folder; None for the only one there.
        quick: of files, existence and sizes only.
        advance: called with files done and files in all.

    Returns:
        The report; `.errors` counts what makes the data unusable.
    """
    from bevlite.data.check import check_root

    return check_root(Path(root), version, quick=quick, advance=advance)


def data_statistics(root: PathLike, *, version: str | None = None) -> Statistics:
    """Boxes, points, visibility and speeds of a data root, to compare with nuScenes' published figures.

    Args:
        root: a data root in nuScenes format.
        version: the version folder; None for the only one there.

    Raises:
        DataError: there is no such version, or several and none is named.
    """
    from bevlite.simulation.world.statistics import measure

    return measure(Path(root), version)
