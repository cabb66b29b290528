"""The NVIDIA GPU of this machine through its trtexec: the agent of the boards, as a child process."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.link.program import RECEIVE
from bevlite.devices.link.transport import Connection
from bevlite.devices.settings import TensorRTSettings


def tensorrt(name: str, settings: TensorRTSettings, say: Callable[[str], None] = lambda text: None) -> BoardDevice:
    """This machine's GPU; nothing is started yet."""
    command = [sys.executable, "-I", "-c", RECEIVE]
    return BoardDevice(
        name,
        lambda: Connection(name, command, 2.0 * settings.limits.connect_s),
        protocol=settings.figures(),
        limits=settings.limits,
        build=settings.build,
        tensorrt_root=settings.tensorrt_root,
        say=say,
    )
