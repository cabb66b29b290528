"""Compression as choices: shares of channels that parts go without, and modules in INT8.

A key `prune.PATTERN` of a choice is no key of a variant: it says which share of the channels below a part the network
goes without, and becomes the widths of its layers. `compression.precision.MODULE: int8` becomes a plan layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bevlite.errors import BevliteError, ConfigError

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant

PRUNE = "prune"


def split(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """The keys of a variant, and the shares of channels that go, by pattern.

    Raises:
        ConfigError: a share that is no number from 0 to below 1.
    """
    rest = {key: value for key, value in data.items() if key != PRUNE}
    return rest, {path: ratio for path, ratio in _flat(data.get(PRUNE, {}), "").items() if ratio > 0}


def compressed(variant: Variant, ratios: Mapping[str, float]) -> Variant:
    """The network of a choice.

    Args:
        variant: with its precision module by module.
        ratios: shares of channels that go.

    Raises:
        ConfigError: channels that cannot go, a module in which no layer can run in INT8.
    """
    from bevlite.compression.narrow import narrowed
    from bevlite.models.quantization.plan import in_int8, is_resolved

    try:
        smaller = narrowed(variant, ratios) if ratios else variant
        words = smaller.compression.precision
        if "int8" in words.values() and not is_resolved(smaller):
            smaller = in_int8(smaller, {})
    except ConfigError:
        raise
    except BevliteError as error:
        raise ConfigError(str(error)) from None
    return smaller


def runs_in_int8(variant: Variant) -> bool:
    """Whether a part of it does: what it is worth is known once it was quantized."""
    return "int8" in variant.compression.precision.values()


def _flat(given: Any, prefix: str) -> dict[str, float]:
    if isinstance(given, Mapping):
        found: dict[str, float] = {}
        for key, value in given.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given < 1 or not prefix:
        raise ConfigError(
            f"{PRUNE}{'.' if prefix else ''}{prefix}: found {given!r}; accepted: a share of channels, 0 to below 1"
        )
    return {prefix: float(given)}
