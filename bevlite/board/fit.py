"""Whether a board is one that a package was made for."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, NamedTuple

SAME_AS = {"agx-orin-devkit": "agx-orin-64gb"}
"""Modules that count as another: the developer kit has the chip of the 64 GB module."""
_MODE_PREFIX = "MODE_"


class Row(NamedTuple):
    """One line of a check: what, whether it holds, and the words."""

    name: str
    good: bool
    text: str


def fits(wanted: Mapping[str, Any], board: Mapping[str, Any], power_mode: str | None) -> Iterator[Row]:
    """Module, JetPack, TensorRT and power mode, each against what the package was made for."""
    pairs = (
        ("module", _module(board.get("sku")), _module(wanted.get("sku")), "a package for this module"),
        ("JetPack", board.get("jetpack"), wanted.get("jetpack"), "a package for this JetPack"),
        ("TensorRT", *_versions(board.get("tensorrt"), wanted.get("tensorrt")), "a package for this TensorRT"),
        ("power mode", _mode(power_mode), _mode(wanted.get("power_mode")), "sudo nvpmodel -m its number"),
    )
    for name, found, expected, otherwise in pairs:
        if expected is None:
            continue
        text = str(found) if found == expected else f"found {found}; accepted: {expected}, or {otherwise}"
        yield Row(name, found == expected, text)


def _versions(found: Any, wanted: Any) -> tuple[str | None, str | None]:
    """As far as both are known: a prediction names no patch."""
    if found is None or wanted is None:
        return found, wanted
    parts = min(len(str(found).split(".")), len(str(wanted).split(".")))
    return ".".join(str(found).split(".")[:parts]), ".".join(str(wanted).split(".")[:parts])


def _module(sku: Any) -> Any:
    return SAME_AS.get(str(sku), sku)


def _mode(name: Any) -> Any:
    text = str(name) if name is not None else None
    return text[len(_MODE_PREFIX) :] if text is not None and text.startswith(_MODE_PREFIX) else text
