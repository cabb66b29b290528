"""Any Jetson over ssh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.link.transport import Connection, ssh_command
from bevlite.devices.settings import OrinSettings


def orin(name: str, settings: OrinSettings, say: Callable[[str], None] = lambda text: None) -> BoardDevice:
    """The Jetson that a device file describes; nothing is connected yet."""
    limits = settings.limits
    config = str(Path(settings.ssh_config).expanduser()) if settings.ssh_config else None
    command = ssh_command(settings.ssh, config, limits.connect_s)
    return BoardDevice(
        name,
        lambda: Connection(name, command, 2.0 * limits.connect_s),
        protocol=settings.figures(),
        limits=limits,
        build=settings.build,
        tensorrt_root=settings.tensorrt_root,
        power_mode=settings.power_mode,
        may_sudo=settings.sudo == "passwordless",
        say=say,
    )
