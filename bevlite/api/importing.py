"""Networks of other code bases."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from bevlite.data.config import DataConfig
    from bevlite.interop.importing import Imported
    from bevlite.variant import Variant

PathLike = str | os.PathLike[str]
FARTHEST_M = 100.0
"""From the ego frame's origin to a LiDAR on the same car, at most."""


def import_checkpoint(
    file: PathLike,
    *,
    out: PathLike,
    form: str | None = None,
    variant: Variant | PathLike | None = None,
    overrides: Iterable[str] = (),
    data: DataConfig | PathLike | None = None,
    lidar_m: tuple[float, float, float] = (0.94, 0.0, 1.84),
    colours: Literal["rgb", "bgr"] | None = None,
    allow_unknown: bool = False,
) -> Imported:
    """Make a run of a checkpoint of another code base. Every tensor of both sides is taken, or left with a reason.

    Args:
        file: the checkpoint: `.safetensors`, or `.pth`, read with `weights_only`.
        out: the folder of the run, a new one.
        form: `mit-bevfusion`, `mmdet3d-bevdet` or `mmdet3d-centerpoint`; None to tell it from the keys.
        variant: the variant to fill, or its file; None for the reference variant nearest to the checkpoint. Widths and
            grid of the checkpoint are set in it.
        overrides: settings of the variant, `a.b=c`, over those of the checkpoint.
        data: a nuScenes-format root, a data YAML file, or its configuration, to score the run on and train it with.
        lidar_m: where the LiDAR stands in the ego frame, m; by default nuScenes' place.
        colours: `rgb` or `bgr`: order of the channels of the images that it was trained on; None for that of the
            published one.
        allow_unknown: leave tensors that the form does not know.

    Returns:
        The run (`.run`), its variant, and the account of every tensor; the run holds it as `import.json`.

    Raises:
        ConfigError: the variant is wrong with these settings.
        BevliteError: the file cannot be read or is of no known form, lacks tensors, holds unknown ones or one that does
            not fit; the folder holds a run already.
    """
    from bevlite.data.config import DataConfig, load_data_config
    from bevlite.interop.importing import import_file
    from bevlite.variant import Variant

    if not all(abs(value) <= FARTHEST_M for value in lidar_m):
        raise BevliteError(f"--lidar-m: found {list(lidar_m)}; accepted: x, y and z in m, at most {FARTHEST_M:g}")
    if colours not in (None, "rgb", "bgr"):
        raise BevliteError(f"--colours: found '{colours}'; accepted: rgb, bgr")
    where = data if data is None or isinstance(data, DataConfig) else load_data_config(os.fspath(data))
    return import_file(
        Path(file),
        Path(out),
        form=form,
        variant=variant if variant is None or isinstance(variant, Variant) else Path(variant),
        overrides=overrides,
        data=where.resolved() if where is not None else None,
        lidar_m=lidar_m,
        colours=colours,
        allow_unknown=allow_unknown,
    )
