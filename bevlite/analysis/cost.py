"""Parameters and MACs of each module of a variant."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

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
