"""The TensorRT releases that a board can have, with the JetPack around each.

Sources: package lists in anduril/jetpack-nixos, NVIDIA/TensorRT tags, docs.nvidia.com. 11.4.1 is derived: flags
and texts of the 11.1 sources, and the 11.4 documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bevlite.errors import ConfigError


@dataclass(frozen=True)
class Release:
    """One TensorRT as it comes with one JetPack.

    Attributes:
        plan_version: major, minor, patch, build as a plan file carries them.
        build: the second bracket of the RUNNING line, from 10.7 on.
        flags: column of `trtexec_flags.json`.
        operators: column of `tensorrt_operators.json`.
        unstable_percent: coefficient of variation of GPU time above which trtexec warns.
        telemetry: which format tegrastats prints.
        derived: facts not read from this release's own sources.
    """

    version: str
    plan_version: tuple[int, int, int, int]
    build: int | None
    flags: str
    operators: str
    unstable_percent: float
    jetpack: str
    l4t: str
    release_line: str
    cuda: str
    kernel: str
    ubuntu: str
    debs: tuple[tuple[str, str], ...]
    telemetry: Literal["jp5", "jp6", "jp7"]
    has_dla: bool
    derived: bool = False

    @property
    def major(self) -> int:
        """8, 10 or 11."""
        return self.plan_version[0]

    @property
    def number(self) -> int:
        """The integer that trtexec prints: 8502, 100300."""
        major, minor, patch, _ = self.plan_version
        return major * (10000 if major >= 10 else 1000) + minor * 100 + patch

    @property
    def strongly_typed_only(self) -> bool:
        """Precision comes from the graph alone."""
        return self.major >= 11


def _debs(trt: str, library: int, jetpack: str, l4t: str) -> tuple[tuple[str, str], ...]:
    return (
        ("nvidia-jetpack", jetpack),
        ("nvidia-l4t-core", l4t),
        ("tensorrt", trt),
        ("libnvinfer-bin", trt),
        (f"libnvinfer{library}", trt),
    )


RELEASES = {
    "8.5.2": Release(
        "8.5.2", (8, 5, 2, 2), None, "8.5.3", "8.5", 1.0, "5.1.2", "35.4.1",
        "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, "
        "DATE: Tue Aug  1 19:57:35 UTC 2023",
        "11.4", "5.10.120-tegra", "20.04",
        (*_debs("8.5.2-1+cuda11.4", 8, "5.1.2-b104", "35.4.1-20230801124926")[:2],
         ("tensorrt", "8.5.2.2-1+cuda11.4"), ("libnvinfer-bin", "8.5.2-1+cuda11.4"),
         ("libnvinfer8", "8.5.2-1+cuda11.4")),
        "jp5", True,
    ),
    "8.6.2": Release(
        "8.6.2", (8, 6, 2, 3), None, "8.6.1", "8.6", 1.0, "6.0", "36.3.0",
        "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64, "
        "DATE: Mon May  6 17:34:21 UTC 2024",
        "12.2", "5.15.136-tegra", "22.04",
        _debs("8.6.2.3-1+cuda12.2", 8, "6.0+b106", "36.3.0-20240506102626"), "jp6", True,
    ),
    "10.3.0": Release(
        "10.3.0", (10, 3, 0, 30), None, "10.3.0", "10.3", 1.0, "6.2", "36.4.3",
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025",
        "12.6", "5.15.148-tegra", "22.04",
        _debs("10.3.0.30-1+cuda12.5", 10, "6.2+b77", "36.4.3-20250107174145"), "jp6", True,
    ),
    "10.16.2": Release(
        "10.16.2", (10, 16, 2, 10), 10, "10.16", "10.16", 2.5, "7.2", "39.2.0",
        "# R39 (release), REVISION: 2.0, GCID: 0, BOARD: generic, EABI: aarch64, DATE: Thu Jan  1 00:00:00 UTC 1970",
        "13.2", "6.8.12-tegra", "24.04",
        _debs("10.16.2.10-1+cuda13.2", 10, "7.2-b184", "39.2.0-19700101000000"), "jp7", False,
    ),
    "11.4.1": Release(
        "11.4.1", (11, 4, 1, 0), 0, "11.1", "11.1", 2.5, "7.2.2", "39.2.2",
        "# R39 (release), REVISION: 2.2, GCID: 0, BOARD: generic, EABI: aarch64, DATE: Thu Jan  1 00:00:00 UTC 1970",
        "13.2", "6.8.12-tegra", "24.04",
        _debs("11.4.1.0-1+cuda13.2", 11, "7.2.2-b0", "39.2.2-19700101000000"), "jp7", True, derived=True,
    ),
}  # fmt: skip


def find_release(version: str) -> Release:
    """The release of a version as a user writes it: `10.3`, `10.3.0`, `11.4`.

    Raises:
        ConfigError: none of the emulated releases.
    """
    parts = version.split(".")
    for name, release in RELEASES.items():
        if len(parts) >= 2 and name.split(".")[: len(parts)] == parts:
            return release
    raise ConfigError(f"emulator: tensorrt: found '{version}'; accepted: {', '.join(RELEASES)}")


def unknown_release(version: str, like: Release) -> Release:
    """A release that nobody knows: it calls itself `version` and otherwise behaves as `like`."""
    numbers = [int(p) for p in version.split(".")] + [0, 0, 0]
    plan = (numbers[0], numbers[1], numbers[2], 0)
    debs = tuple((n, v if n.startswith("nvidia") else f"{version}-1+cuda{like.cuda}") for n, v in like.debs)
    return replace(like, version=version, plan_version=plan, debs=debs)
