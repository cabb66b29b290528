"""Device files in the user's folder, and devices by name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from bevlite.config import load_config, to_yaml, write_atomic
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.contract import Device
from bevlite.devices.local.cuda import CudaDevice
from bevlite.devices.local.onnxruntime import OnnxRuntimeDevice
from bevlite.devices.orin import orin
from bevlite.devices.pool import BoardPool
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.settings import (
    CudaSettings,
    DeviceFile,
    DeviceSettings,
    OnnxRuntimeSettings,
    OrinSettings,
    PoolSettings,
    PredictedSettings,
    TensorRTSettings,
)
from bevlite.devices.tensorrt import tensorrt
from bevlite.errors import ConfigError
from bevlite.latency.device import device_folders, find_device

FOLDER_VARIABLE = "BEVLITE_DEVICES"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LOCAL: dict[str, DeviceSettings] = {
    "onnxruntime": OnnxRuntimeSettings(type="onnxruntime"),
    "cuda": CudaSettings(type="cuda"),
    "tensorrt": TensorRTSettings(type="tensorrt"),
}
"""Devices of this machine, which need no file."""
Say = Callable[[str], None]


def folder() -> Path:
    """Where the user's device files lie: $BEVLITE_DEVICES, else bevlite/devices in the user's configuration."""
    own = os.environ.get(FOLDER_VARIABLE)
    if own:
        return Path(own)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "bevlite" / "devices"


def file_of(name: str) -> Path:
    """The file of a device (raises ConfigError for a name that is none)."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"device: found '{name}'; accepted: letters, digits, '.', '_' and '-'")
    return folder() / f"{name}.yaml"


def save(name: str, settings: DeviceSettings, *, replace: bool = False) -> Path:
    """Write a device file (raises ConfigError when the name is taken)."""
    path = file_of(name)
    if name in LOCAL or name in _boards() or (path.exists() and not replace):
        raise ConfigError(f"device: found '{name}', which exists; accepted: another name, or --replace for your file")
    write_atomic(path, to_yaml(DeviceFile(device=settings)))
    return path


def names() -> dict[str, str]:
    """Every device by name, with its type: the user's, this machine's, and the boards that can be predicted."""
    found: dict[str, str] = {path.stem: load_settings(path).type for path in sorted(folder().glob("*.yaml"))}
    found |= {name: settings.type for name, settings in LOCAL.items()}
    return found | {name: "predicted" for name in sorted(_boards()) if name not in found}


def load_settings(path: Path) -> DeviceSettings:
    """Read a device file (raises ConfigError)."""
    return load_config(path, DeviceFile).device


def open_device(name: str, say: Say = lambda text: None) -> Device:
    """The device of that name, or of a device file; nothing is connected yet (raises ConfigError)."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return _open(path.stem, load_settings(path), say)
    if _NAME.fullmatch(name) and file_of(name).is_file():
        return _open(name, load_settings(file_of(name)), say)
    if name in LOCAL:
        return _open(name, LOCAL[name], say)
    if name in _boards():
        return PredictedDevice(find_device(name))
    raise ConfigError(f"--device: found '{name}'; accepted: {', '.join(names())} (bevlite device add)")


def open_board(name: str, say: Say = lambda text: None) -> BoardDevice:
    """The device of that name, which must be one that builds engines (raises ConfigError)."""
    device = open_device(name, say)
    if not isinstance(device, BoardDevice):
        raise ConfigError(f"--device: found '{name}'; accepted: one board (type orin or tensorrt)")
    return device


def _open(name: str, settings: DeviceSettings, say: Say) -> Device:
    if isinstance(settings, PoolSettings):
        return _pool(name, settings, say)
    if isinstance(settings, OrinSettings):
        return orin(name, settings, say)
    if isinstance(settings, TensorRTSettings):
        return tensorrt(name, settings, say)
    if isinstance(settings, CudaSettings):
        return CudaDevice(name, settings, say)
    if isinstance(settings, OnnxRuntimeSettings):
        return OnnxRuntimeDevice(settings, say)
    assert isinstance(settings, PredictedSettings)
    board = find_device(settings.board)
    return PredictedDevice(board, tensorrt=settings.tensorrt, power_mode=settings.power_mode)


def _pool(name: str, settings: PoolSettings, say: Say) -> BoardPool:
    boards: list[BoardDevice] = []
    for member in settings.devices:
        path = file_of(member)
        # Looked at before it is opened: a pool of pools could name itself.
        nested = path.is_file() and isinstance(load_settings(path), PoolSettings)
        device = None if nested else open_device(member, say)
        if not isinstance(device, BoardDevice):
            raise ConfigError(f"{name}: devices: found '{member}', which is no board; accepted: devices of type orin")
        boards.append(device)
    return BoardPool(name, boards)


def _boards() -> set[str]:
    return {path.stem for place in device_folders() if place.is_dir() for path in place.glob("*.yaml")}
