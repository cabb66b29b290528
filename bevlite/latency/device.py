"""The description of a board: its measured ceilings, each with its source, and its power modes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bevlite.config import CONFIGS, Config, load_config
from bevlite.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Figure(Config):
    """One figure of a board: its value, and where it was read."""

    value: Positive
    source: Annotated[str, Field(min_length=1)]


class PowerMode(Config):
    """One mode of `nvpmodel`: what the GPU and the memory may do in it."""

    gpu_clock_mhz: Positive
    sm_count: Annotated[int, Field(gt=0)]
    emc_clock_mhz: Positive


class PowerModes(Config):
    """The modes of the board by name, which one the ceilings were measured in, and where they were read."""

    measured_in: str
    modes: dict[str, PowerMode]
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _measured_mode_exists(self) -> PowerModes:
        if self.measured_in not in self.modes:
            raise ValueError(f"measured_in: found '{self.measured_in}'; accepted: {', '.join(self.modes)}")
        return self


class Dla(Config):
    """The deep learning accelerators of a board: fixed hardware for convolutions in INT8, beside the GPU.

    `dense_int8_tops` is of one core at its clock in `power_modes.measured_in`; data sheets name twice that for
    weights of which half are zero. `tensorrt_11` says whether TensorRT 11.4 brings the DLA back for this board.
    """

    cores: Annotated[int, Field(gt=0)]
    dense_int8_tops: Figure
    clock_mhz: dict[str, Positive]
    tensorrt_11: bool = False
    source: Annotated[str, Field(min_length=1)]


class DeviceConfig(Config):
    """A board that latency is predicted for. All ceilings hold in `power_modes.measured_in`."""

    type: Literal["orin", "gpu"]
    name: Annotated[str, Field(min_length=1)]
    title: Annotated[str, Field(min_length=1)]
    l2_cache_mb: Figure
    dram_read_gb_per_s: Figure
    dram_copy_gb_per_s: Figure
    gemm_16bit_tflops: Figure
    fma_fp32_tflops: Figure
    launch_graph_us: Figure
    launch_stream_us: Figure
    power_modes: PowerModes
    dla: Dla | None = None

    @model_validator(mode="after")
    def _dla_clocks(self) -> DeviceConfig:
        modes = list(self.power_modes.modes)
        if self.dla is not None and set(self.dla.clock_mhz) != set(modes):
            found = ", ".join(self.dla.clock_mhz)
            raise ValueError(f"dla.clock_mhz: found modes {found}; accepted: exactly {', '.join(modes)}")
        return self

    def mode(self, name: str | None) -> tuple[str, PowerMode]:
        """The power mode of that name (by default the one the ceilings were measured in).

        Raises:
            ConfigError: the board has no such mode.
        """
        chosen = name or self.power_modes.measured_in
        if chosen not in self.power_modes.modes:
            accepted = ", ".join(self.power_modes.modes)
            raise ConfigError(f"--power-mode: found '{chosen}'; accepted for {self.name}: {accepted}")
        return chosen, self.power_modes.modes[chosen]


def device_folders() -> list[Path]:
    """Where device files are looked for: the working folder's configs first, then those that come with BEVLite."""
    return [Path("configs") / "devices", CONFIGS / "devices"]


def find_device(name_or_path: str) -> DeviceConfig:
    """Load a device by file path, or by name from `configs/devices`.

    Raises:
        ConfigError: there is no such device, or its file is not valid.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return load_config(path, DeviceConfig)
    for folder in device_folders():
        if (folder / f"{name_or_path}.yaml").is_file():
            return load_config(folder / f"{name_or_path}.yaml", DeviceConfig)
    known = sorted({p.stem for folder in device_folders() if folder.is_dir() for p in folder.glob("*.yaml")})
    accepted = ", ".join(known) or "(no device file found)"
    raise ConfigError(f"--device: found '{name_or_path}'; accepted: a YAML file, or one of {accepted}")
