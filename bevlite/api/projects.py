"""A folder to work in: the configurations that come with BEVLite, to be changed, and the first commands."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bevlite.config import CONFIGS
from bevlite.errors import BevliteError

PathLike = str | os.PathLike[str]
README = """# A BEVLite project

Configurations that came with BEVLite {version}; change them, they are yours.

    bevlite variant show configs/variants/demo.yaml          # a network in a file
    bevlite latency configs/variants/reference-r50.yaml      # predicted for an AGX Orin; nothing is trained
    bevlite data synth worlds/demo --world 2 --scenes 30 --samples 6 --val-scenes 10 --sweeps 3 --image-scale 0.25
    bevlite search run configs/searches/demo.yaml --data worlds/demo --out studies/demo --workers 2

| folder | what is in it |
|---|---|
| configs/variants | networks |
| configs/recipes | how they are trained |
| configs/searches | spaces of networks, with their limits |
| configs/devices | boards that latencies are predicted for |
"""


def init(folder: PathLike) -> list[Path]:
    """Write the configurations and a README into a folder; files that are there stay as they are (`bevlite init`).

    Args:
        folder: where to; made where it is not there.

    Returns:
        The files that were written.

    Raises:
        BevliteError: the folder is a file, or cannot be written to.
    """
    from bevlite import __version__

    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BevliteError(f"{folder}: found a file; accepted: a folder, or a name that is free")
    written = []
    try:
        for source in sorted(CONFIGS.rglob("*.yaml")):
            target = folder / "configs" / source.relative_to(CONFIGS)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                written.append(target)
        readme = folder / "README.md"
        if not readme.exists():
            readme.write_text(README.format(version=__version__), encoding="utf-8")
            written.append(readme)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BevliteError(f"{folder}: cannot be written to ({reason}); accepted: a folder of yours") from None
    return written
