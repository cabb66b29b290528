"""Parameters and MACs of each module of a variant."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bevlite.config import Config, as_dict
from bevlite.models.deployed import deployed_form
from bevlite.models.modules import used_parameters
from bevlite.models.samples import outline
from bevlite.variant import Variant


@dataclass(frozen=True)
class ModuleCost:
    """Of one module: parameters, and MACs for one frame (a multiply-add of a convolution or matrix product is one)."""

    name: str
    parameters: int
    macs: int


class ListedModule(Config):
    """A module as a file says it."""

    name: str
    parameters: int
    macs_per_frame: int


class VariantReport(Config):
    """A variant as `bevlite variant show --json` writes it: resolved, with its identities and what it costs.

    `hash` is what engines and latencies belong to, `network_hash` what weights and accuracies belong to. A MAC is one
    multiply-add of a convolution or matrix product; a frame holds all cameras.
    """

    name: str
    hash: str
    network_hash: str
    parameters: int
    macs_per_frame: int
    modules: tuple[ListedModule, ...]
    variant: dict[str, Any]

    @classmethod
    def of(cls, variant: Variant, costs: Iterable[ModuleCost]) -> VariantReport:
        """From what `module_costs` counted."""
        rows = tuple(ListedModule(name=c.name, parameters=c.parameters, macs_per_frame=c.macs) for c in costs)
        return cls(
            name=variant.name,
            hash=variant.hash,
            network_hash=variant.network_hash,
            parameters=sum(row.parameters for row in rows),
            macs_per_frame=sum(row.macs_per_frame for row in rows),
            modules=rows,
            variant=as_dict(variant),
        )


def module_costs(variant: Variant) -> list[ModuleCost]:
    """Count every module at its deployed size, without computing anything (meta tensors).

    A parameter that two modules use is counted in the first.
    """
    costs = []
    counted: set[int] = set()
    for module in outline(variant).modules:
        known = module.example("meta")
        with torch.device("meta"), torch.no_grad(), deployed_form():
            names = used_parameters(module, known)
            # The counter wants to know where a tensor comes from that requires a gradient; here nothing is learnt.
            network = copy.deepcopy(module.network).requires_grad_(False)
            with FlopCounterMode(display=False) as counter:
                network(*known.values())
        values = [value for name, value in module.network.named_parameters() if name in names]
        fresh = [value for value in values if id(value) not in counted]
        counted |= {id(value) for value in fresh}
        # torch counts 2 FLOPs a multiply-add of convolutions and matrix products
        costs.append(ModuleCost(module.name, sum(v.numel() for v in fresh), counter.get_total_flops() // 2))
    return costs
