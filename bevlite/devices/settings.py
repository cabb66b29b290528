"""Device files: how a device is reached and how it measures, as typed YAML."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from bevlite.agent.protocol.protocol import Protocol
from bevlite.config import Config
from bevlite.tensorrt import DEFAULT_VERSION

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:%-]*")


class Limits(Config):
    """How long the host waits, in s: for a connection, for the lease, for a board that was lost to come back."""

    connect_s: Annotated[int, Field(gt=0)] = 15
    lease_wait_s: Annotated[float, Field(ge=0)] = 3600.0
    lease_ttl_s: Seconds = 60.0
    reconnect_s: Annotated[float, Field(ge=0)] = 300.0
    backoff_s: Seconds = 2.0


class BuildSettings(Config):
    """How engines are built. `dla` gives a DLA core by module, `calibration` a cache file by module (8.x, 10.x)."""

    workspace_mb: Annotated[int, Field(gt=0)] = 2048
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None
    dla: dict[str, Annotated[int, Field(ge=0, le=1)]] = {}
    calibration: dict[str, str] = {}


class Measuring(Config):
    """What devices that measure have in common. `protocol` overrides figures of `bevlite.agent.protocol.protocol`."""

    protocol: dict[str, float | bool] = {}

    @field_validator("protocol")
    @classmethod
    def _known(cls, value: dict[str, float | bool]) -> dict[str, float | bool]:
        accepted = {field.name for field in dataclasses.fields(Protocol)}
        for name, figure in value.items():
            if name not in accepted:
                raise ValueError(f"{name}: unknown key; accepted: {', '.join(sorted(accepted))}")
            is_switch = isinstance(getattr(Protocol, name), bool)
            if isinstance(figure, bool) != is_switch or figure < 0:
                raise ValueError(f"{name}: found {figure}; accepted: {'true or false' if is_switch else 'a number'}")
        return value

    def figures(self) -> Protocol:
        """The protocol with the file's figures."""
        typed: dict[str, Any] = {name: type(getattr(Protocol, name))(value) for name, value in self.protocol.items()}
        return Protocol(**typed)


class OrinSettings(Measuring):
    """A Jetson over ssh. `ssh` is a name that `ssh NAME` takes: hosts, keys and jumps are the user's configuration.

    `sudo: passwordless` lets BEVLite set `power_mode` and lock the clocks by `sudo -n`; it never reboots a board.
    """

    type: Literal["orin"]
    ssh: str
    ssh_config: str | None = None
    tensorrt_root: str | None = None
    power_mode: str | None = None
    sudo: Literal["never", "passwordless"] = "never"
    limits: Limits = Limits()
    build: BuildSettings = BuildSettings()

    @field_validator("ssh")
    @classmethod
    def _alias(cls, value: str) -> str:
        if not _ALIAS.fullmatch(value):
            raise ValueError(f"found '{value}'; accepted: a host of your ssh configuration, or user@host")
        return value


class TensorRTSettings(Measuring):
    """The NVIDIA GPU of this machine, by its trtexec."""

    type: Literal["tensorrt"]
    tensorrt_root: str | None = None
    limits: Limits = Limits()
    build: BuildSettings = BuildSettings()


class CudaSettings(Measuring):
    """The NVIDIA GPU of this machine, by torch. `index` is the GPU's number."""

    type: Literal["cuda"]
    index: Annotated[int, Field(ge=0)] = 0


class OnnxRuntimeSettings(Measuring):
    """The CPU of this machine, by ONNX Runtime. `threads` 0 leaves the number to it."""

    type: Literal["onnxruntime"]
    threads: Annotated[int, Field(ge=0)] = 0


class PredictedSettings(Config):
    """A board that is not there: `board` is a name in configs/devices, or a file."""

    type: Literal["predicted"]
    board: str
    tensorrt: str = DEFAULT_VERSION
    power_mode: str | None = None


class PoolSettings(Config):
    """Several boards of one kind, by the names of their files."""

    type: Literal["pool"]
    devices: Annotated[tuple[str, ...], Field(min_length=1)]


DeviceSettings = Annotated[
    OrinSettings | TensorRTSettings | CudaSettings | OnnxRuntimeSettings | PredictedSettings | PoolSettings,
    Field(discriminator="type"),
]


class DeviceFile(Config):
    """A device file: its one key holds the settings, so that the union stays typed."""

    device: DeviceSettings
