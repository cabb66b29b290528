"""Lines of tegrastats, as JetPack 5, 6 and 7 print them."""

from __future__ import annotations

import re
from typing import NamedTuple

_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)mW/(\d+)mW(?:/(\d+)mW)?")
_OLD_RAIL = re.compile(r"\b(V[A-Z0-9_]+|NC) (\d+)/(\d+)(?=\s|$)")
_TEMPERATURE = re.compile(r"\b([A-Za-z][A-Za-z0-9_]*)@(-?\d+(?:\.\d+)?)C")
_GPU = re.compile(r"GR3D_FREQ (\d+)%(?:@(?:\[([\d,]+)\]|(\d+)))?")
_RAM = re.compile(r"RAM (\d+)/(\d+)MB")
_EMC = re.compile(r"EMC_FREQ (\d+)%@(\d+)")
_OFF = -256.0
"""Temperature of a rail without power."""


class Sample(NamedTuple):
    """One line: rails in W (of the moment, never the average), temperatures in degrees, GPU and memory."""

    rails_w: dict[str, float]
    temperatures_c: dict[str, float]
    gpu_load: float | None
    gpu_mhz: float | None
    emc_mhz: float | None
    ram_used_mb: int | None


def parse(line: str) -> Sample | None:
    """One line, or None if it is none of tegrastats."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    rails = {m.group(1): int(m.group(2)) / 1000 for m in _RAIL.finditer(line)}
    if not rails:
        rails = {m.group(1): int(m.group(2)) / 1000 for m in _OLD_RAIL.finditer(line)}
    rails.pop("NC", None)
    temperatures = {m.group(1).lower(): float(m.group(2)) for m in _TEMPERATURE.finditer(line)}
    gpu, emc = _GPU.search(line), _EMC.search(line)
    clocks = [float(x) for x in (gpu.group(2) or gpu.group(3) or "").split(",") if x] if gpu else []
    return Sample(
        rails_w=rails,
        temperatures_c={name: value for name, value in temperatures.items() if value > _OFF},
        gpu_load=int(gpu.group(1)) / 100 if gpu else None,
        gpu_mhz=max(clocks) if clocks and max(clocks) > 0 else None,
        emc_mhz=float(emc.group(2)) if emc else None,
        ram_used_mb=int(ram.group(1)),
    )
