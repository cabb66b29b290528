"""Every device as `bevlite device list --json` writes it."""

from __future__ import annotations

from pathlib import Path

from bevlite.config import Config
from bevlite.devices.files import file_of, folder, names


class ListedDevice(Config):
    """A device; `file` is yours, None for this machine's and for the boards that can be predicted."""

    name: str
    type: str
    file: str | None


class DeviceList(Config):
    """All devices, and the folder of your files."""

    folder: str
    devices: tuple[ListedDevice, ...]


def listed() -> DeviceList:
    """Every device: yours, this machine's, and the boards that can be predicted (raises ConfigError)."""
    found = [ListedDevice(name=name, type=kind, file=_file(file_of(name))) for name, kind in names().items()]
    return DeviceList(folder=str(folder()), devices=tuple(found))


def _file(path: Path) -> str | None:
    return str(path) if path.is_file() else None
