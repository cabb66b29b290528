"""The plan file: NVIDIA's header (magic, version at bytes 24 to 27), then what the emulator needs to run it."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

MAGIC = b"ftrt"
OWN = b"EMULATED"
HEADER = struct.Struct("<4sI16s4B8sII")


class PlanError(Exception):
    """Not a plan file of the emulator."""


@dataclass
class Plan:
    """A built engine.

    Attributes:
        layers: in order of execution; name, type, kind, precision, device, shapes and what layer info shows.
        noise: relative deviation of the outputs from the network in FP32, that the precisions cause.
    """

    version: tuple[int, int, int, int]
    capability: str
    device: str
    mode: str
    detailed: bool
    layers: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    noise: float
    capturable: bool
    size_mib: float
    activation_mib: float
    model: bytes

    def to_bytes(self) -> bytes:
        """The file."""
        document = asdict(self)
        model = document.pop("model")
        packed = zlib.compress(json.dumps(document).encode(), 1)
        header = HEADER.pack(MAGIC, 0, bytes(16), *self.version, OWN, len(packed), len(model))
        return header + packed + model


def plan_version(data: bytes) -> tuple[int, int, int, int]:
    """The version in a plan's header.

    Raises:
        PlanError: not a plan file.
    """
    if len(data) < 28 or data[:4] != MAGIC:
        raise PlanError("magic tag does not match")
    major, minor, patch, build = data[24:28]
    return major, minor, patch, build


def read_plan(data: bytes) -> Plan:
    """The engine in a file.

    Raises:
        PlanError: not a plan file, or a damaged one.
    """
    version = plan_version(data)
    try:
        *_, own, length, model_length = HEADER.unpack_from(data)
        body = data[HEADER.size :]
        if own != OWN or len(body) != length + model_length:
            raise PlanError("the plan is damaged")
        document = json.loads(zlib.decompress(body[:length]))
        return Plan(**{**document, "version": version}, model=body[length:])
    except (struct.error, zlib.error, ValueError, TypeError):
        raise PlanError("the plan is damaged") from None
