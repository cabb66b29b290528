"""A network with fewer channels in its parts, by ratio: as text for one to be trained, or cut out of a trained one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from bevlite.compression.choice import Limits, by_ratio
from bevlite.compression.coupling import channel_groups
from bevlite.compression.cut import cut
from bevlite.compression.groups import Group
from bevlite.compression.importance import importance
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.registry import when_changed
from bevlite.variant import Variant

REMEMBERED = 64
"""Networks whose groups are kept: a search asks for the same ones with other ratios."""
_GROUPS: dict[str, list[Group]] = {}
when_changed(_GROUPS.clear)


def narrowed(variant: Variant, ratios: Mapping[str, float], limits: Limits | None = None) -> Variant:
    """A network that nobody has trained, without a share of the channels of its parts.

    Args:
        variant: the network.
        ratios: share to leave out, by pattern of module and layer paths, as `bevlite prune --ratio` takes them; one of
            a module that the network has not is left.
        limits: what a cut keeps to.

    Returns:
        The variant with the widths of what is left.

    Raises:
        BevliteError: a ratio outside of 0 to 1, or a pattern below which no channel can go.
    """
    groups, asked = _groups(variant), _of(variant, ratios)
    alike = {group.name: np.ones(group.size) for group in groups}
    return cut(variant, {}, groups, by_ratio(groups, alike, asked, limits or Limits()))[0]


def narrowed_weights(
    variant: Variant,
    weights: Mapping[str, Tensor],
    ratios: Mapping[str, float],
    child: Variant,
    limits: Limits | None = None,
) -> dict[str, Tensor]:
    """Weights for a narrowed network, of the channels of a trained one that count most (l2).

    Args:
        variant: the trained network, and its weights by name.
        weights: of it.
        ratios: with which `child` was narrowed from it.
        child: the narrowed network.
        limits: as then.

    Raises:
        BevliteError: `child` is not that network with these ratios.
    """
    groups = _groups(variant)
    network = Detector(variant).eval()
    network.load_state_dict(dict(weights))
    removed = by_ratio(groups, importance(network, groups, "l2"), _of(variant, ratios), limits or Limits())
    found, left = cut(variant, weights, groups, removed)
    if found.network_hash != child.network_hash:
        raise BevliteError(
            f"{child.name}: found network {child.network_hash}; accepted: {found.network_hash}, which {variant.name} "
            "is with these ratios"
        )
    return left


def _of(variant: Variant, ratios: Mapping[str, float]) -> dict[str, float]:
    def there(pattern: str) -> bool:
        first = pattern.split(".")[0]
        return bool(set("*?[") & set(first)) or first in variant.modules

    return {pattern: ratio for pattern, ratio in ratios.items() if there(pattern)}


def _groups(variant: Variant) -> list[Group]:
    if variant.network_hash not in _GROUPS:
        if len(_GROUPS) >= REMEMBERED:
            _GROUPS.clear()
        _GROUPS[variant.network_hash] = channel_groups(variant)
    return _GROUPS[variant.network_hash]
