"""The declared list of modules and networks that latency models are fitted and checked on (built by `modules.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from module_lists import bevlite_parts, convolutions, memory_layers, products, whole_networks
from module_lists.listing import Listing
from modules import ModuleSpec
from unseen_modules import add_unseen


def specs() -> list[ModuleSpec]:
    """Everything, family after family; ids are unique."""
    out = Listing()
    for part in (
        bevlite_parts.bevlite_parts,
        convolutions.convolutions,
        convolutions.blocks,
        products.products,
        products.attentions,
        memory_layers.memory_layers,
        whole_networks.networks,
    ):
        part(out)
    add_unseen(partial(out.add, unseen=True))
    return out.specs


def interleaved(chosen: Sequence[ModuleSpec]) -> list[ModuleSpec]:
    """One of each family in turn, so that whatever part of the list is measured is diverse."""
    families: dict[str, list[ModuleSpec]] = {}
    for spec in chosen:
        families.setdefault(spec.family, []).append(spec)
    # A family of n lies evenly over the whole: its i-th member stands at (i + 1/2) / n.
    placed = [((i + 0.5) / len(members), spec) for members in families.values() for i, spec in enumerate(members)]
    return [spec for _, spec in sorted(placed, key=lambda pair: pair[0])]
