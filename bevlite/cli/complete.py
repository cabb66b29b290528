"""What a shell may complete: devices, boards, and the parts of a variant. Nothing here needs torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import bevlite

_TYPE = re.compile(r'^    type: Literal\["(\w+)"\]', re.MULTILINE)
PLACES = {
    "camera.backbone": "backbones",
    "camera.neck": "necks",
    "camera.view_transform": "view_transforms",
    "lidar.pillars": "lidar/pillars",
    "lidar.backbone": "lidar/backbones",
    "lidar.neck": "lidar/necks",
    "fusion": "fusion",
    "bev_encoder": "bev_encoders",
    "heads.detection": "heads/detection",
    "heads.occupancy": "heads/occupancy",
    "heads.map_segmentation": "heads/map_segmentation",
}
"""Keys of a variant that hold a part, and the folder of bevlite/models whose files are the parts of that kind."""


def boards(incomplete: str) -> list[str]:
    """Boards whose latency can be predicted."""
    from bevlite.latency.device import device_folders

    return _beginning(incomplete, (file.stem for folder in device_folders() for file in folder.glob("*.yaml")))


def devices(incomplete: str) -> list[str]:
    """Every device: those with a file of yours, this machine's, and the boards that can be predicted."""
    from bevlite.devices.files import LOCAL, folder

    yours = (file.stem for file in folder().glob("*.yaml"))
    return _beginning(incomplete, (*yours, *LOCAL, *boards(incomplete)))


def settings(incomplete: str) -> list[str]:
    """`camera.backbone.type=swin` and its like, for --set."""
    return _beginning(incomplete, (f"{key}.type={name}" for key in PLACES for name in part_names(key)))


def part_names(key: str) -> list[str]:
    """The parts of BEVLite that may stand at a key of a variant, read from their files without importing them."""
    folder = Path(bevlite.__file__).parent / "models" / PLACES[key]
    return sorted({name for file in folder.glob("*.py") for name in _TYPE.findall(file.read_text(encoding="utf-8"))})


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
