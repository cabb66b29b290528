"""Versions: of TensorRT from what trtexec prints, of JetPack from L4T."""

from __future__ import annotations

import re
from typing import NamedTuple

_RUNNING = re.compile(r"\[TensorRT v(\d+)\](?: \[b(\d+)\])?")
_L4T = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")

KNOWN = ((8, 5), (8, 6), (10, 0), (10, 3), (10, 7), (10, 13), (10, 16), (11, 0), (11, 1), (11, 4))
"""Versions whose flags and output the reference files describe; those between are treated like the one below."""

_JETPACK = (
    ("39.2", "7.2"), ("38.4", "7.1"), ("38.2", "7.0"),
    ("36.5", "6.2.2"), ("36.4.7", "6.2.1"), ("36.4.4", "6.2.1"), ("36.4.3", "6.2"), ("36.4", "6.1"),
    ("36.3", "6.0"), ("36.2", "6.0 DP"),
    ("35.6.4", "5.1.6"), ("35.6.3", "5.1.5"), ("35.6.2", "5.1.5"), ("35.6.1", "5.1.5"),
    ("35.6", "5.1.4"), ("35.5", "5.1.3"), ("35.4.1", "5.1.2"), ("35.3.1", "5.1.1"), ("35.2.1", "5.1"),
    ("35.1", "5.0.2"), ("34.1.1", "5.0.1 DP"), ("34.1", "5.0 DP"),
)  # fmt: skip

_CUDA = (
    ("34", "11.4"),
    ("35", "11.4"),
    ("36.2", "12.2"),
    ("36.3", "12.2"),
    ("36", "12.6"),
    ("38", "13.0"),
    ("39", "13.2"),
)


class TensorRT(NamedTuple):
    """A version of TensorRT as trtexec states it."""

    major: int
    minor: int
    patch: int
    build: int | None = None

    @property
    def text(self) -> str:
        """Such as `10.3.0`."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def known(self) -> bool:
        """Whether its flags and output are known; a newer one may differ in anything."""
        return (8, 5) <= self[:2] <= KNOWN[-1]

    @property
    def has_dla(self) -> bool:
        """DLA was gone from 10.8 to 11.3."""
        return self[:2] < (10, 8) or self[:2] >= (11, 4)


def from_log(text: str) -> TensorRT | None:
    """The version in the RUNNING line of trtexec (8502, 100300: the rule changed with 10)."""
    found = _RUNNING.search(text)
    if found is None:
        return None
    number = int(found.group(1))
    build = int(found.group(2)) if found.group(2) else None
    if number >= 10000:
        return TensorRT(number // 10000, number // 100 % 100, number % 100, build)
    return TensorRT(number // 1000, number // 100 % 10, number % 100, build)


def l4t_of(release: str) -> str | None:
    """`36.4.3` from the text of /etc/nv_tegra_release."""
    found = _L4T.search(release)
    return f"{found.group(1)}.{found.group(2)}" if found else None


def jetpack_of(l4t: str) -> str | None:
    """JetPack by L4T; the package that would tell is often not installed."""
    for prefix, jetpack in _JETPACK:
        if l4t == prefix or l4t.startswith(prefix + "."):
            return jetpack
    return None


def cuda_of(l4t: str) -> str | None:
    """CUDA as the JetPack of this L4T brings it; another one may have been installed since."""
    return next((cuda for prefix, cuda in _CUDA if l4t == prefix or l4t.startswith(prefix + ".")), None)


def parse(text: str) -> tuple[int, ...]:
    """`10.3.0` as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", text))
