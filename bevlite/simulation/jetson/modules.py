"""The Jetson modules that can be emulated, with their power modes.

Source: nvpmodel_p3701_0000.conf and p3701_0004.conf (2024 copies of NVIDIA's files), module data sheets.
"""

from __future__ import annotations

from dataclasses import dataclass

from bevlite.errors import ConfigError


@dataclass(frozen=True)
class PowerMode:
    """One nvpmodel mode: how many cores and TPCs are on, and the caps of the clocks (MHz)."""

    id: int
    name: str
    cpus: int
    cpu_mhz: float
    tpcs: int
    tpc_mask: int
    gpu_mhz: float
    emc_mhz: float
    dla_mhz: float


@dataclass(frozen=True)
class Module:
    """One Jetson module. `sku` is the P-number in the device tree; memory in MiB."""

    name: str
    model: str
    sku: str
    cpus: int
    tpcs: int
    memory_mib: int
    default_mode: int
    modes: tuple[PowerMode, ...]

    def mode(self, mode_id: int) -> PowerMode:
        """The mode with an id."""
        return next(m for m in self.modes if m.id == mode_id)

    @property
    def max_gpu_mhz(self) -> float:
        """The highest GPU clock of any mode."""
        return max(m.gpu_mhz for m in self.modes)


COMPUTE_CAPABILITY = "8.7"

MODULES = {
    "agx-orin-64gb": Module(
        "agx-orin-64gb", "NVIDIA Jetson AGX Orin Developer Kit", "nvidia,p3737-0000+p3701-0005", 12, 8, 62841, 2,
        (PowerMode(0, "MAXN", 12, 2201.6, 8, 0, 1300.5, 3199, 1600),
         PowerMode(1, "MODE_15W", 4, 1113.6, 3, 248, 420.75, 2133, 614.4),
         PowerMode(2, "MODE_30W", 8, 1728, 4, 240, 612, 3199, 1369.6),
         PowerMode(3, "MODE_50W", 12, 1497.6, 8, 0, 816, 3199, 1369.6)),
    ),
    "agx-orin-32gb": Module(
        "agx-orin-32gb", "NVIDIA Jetson AGX Orin", "nvidia,p3737-0000+p3701-0004", 8, 7, 30697, 2,
        (PowerMode(0, "MAXN", 8, 2188.8, 7, 128, 930.75, 3199, 1408),
         PowerMode(1, "MODE_15W", 4, 1113.6, 3, 248, 420.75, 2133, 614.4),
         PowerMode(2, "MODE_30W", 8, 1728, 4, 240, 612, 3199, 1369.6),
         PowerMode(3, "MODE_40W", 8, 1497.6, 7, 128, 816, 3199, 1228.8)),
    ),
}  # fmt: skip


def find_module(name: str) -> Module:
    """The module of that name.

    Raises:
        ConfigError: no such module.
    """
    try:
        return MODULES[name]
    except KeyError:
        raise ConfigError(f"emulator: module: found '{name}'; accepted: {', '.join(MODULES)}") from None
