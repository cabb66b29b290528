"""Where the parameters, multiply-adds and bytes of a network are, layer by layer, at its deployed size."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bevlite.models.deployed import deployed_form
from bevlite.models.modules import Module, used_parameters
from bevlite.models.samples import outline
from bevlite.variant import Variant

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class LayerCost:
    """One layer of a module, for one frame.

    path: in the network (`camera.backbone.body.conv1`); that of a part for products of its own, as those of attention.
    kind: the class of the layer. macs: multiply-adds of its convolutions and products. weights: elements of its
    parameters. activations: elements of what it gives.
    """

    module: str
    path: str
    kind: str
    parameters: int
    macs: int
    activations: int

    def weight_bytes(self, precision: str) -> int:
        """Of its parameters in a precision."""
        return self.parameters * BYTES[precision]

    def activation_bytes(self, precision: str) -> int:
        """Of what it gives in a precision."""
        return self.activations * BYTES[precision]


def layer_costs(variant: Variant) -> list[LayerCost]:
    """Every layer with parameters or multiply-adds of its own, in the order in which they first run.

    Nothing is computed (meta tensors). The multiply-adds of a module's layers sum to those of `module_costs`; a
    parameter that two modules use is counted in the first. Layers that no exported module runs are not counted.
    """
    found: list[LayerCost] = []
    counted: set[int] = set()
    for module in outline(variant).modules:
        found += _of_module(module, counted)
    return found


def by_part(layers: Sequence[LayerCost], depth: int = 2) -> list[LayerCost]:
    """Sums by the first `depth` names of a path (`camera.backbone`), in order."""
    sums: dict[tuple[str, str], LayerCost] = {}
    for one in layers:
        key = (one.module, ".".join(one.path.split(".")[:depth]))
        old = sums.get(key, LayerCost(*key, "", 0, 0, 0))
        sums[key] = LayerCost(
            *key, "", old.parameters + one.parameters, old.macs + one.macs, old.activations + one.activations
        )
    return list(sums.values())


def _of_module(module: Module, counted: set[int]) -> list[LayerCost]:
    network = copy.deepcopy(module.network).requires_grad_(False)  # the counter asks where gradients come from
    names = {layer: path for path, layer in network.named_modules()}
    made: dict[str, int] = {}

    def watch(layer: nn.Module, _: object, given: object) -> None:
        elements = given.numel() if isinstance(given, Tensor) else 0
        made[names[layer]] = made.get(names[layer], 0) + elements

    for layer in network.modules():
        layer.register_forward_hook(watch)
    known = module.example("meta")
    with torch.device("meta"), torch.no_grad(), deployed_form():
        used = used_parameters(module, known)
        with FlopCounterMode(display=False) as counter:
            network(*known.values())
    root = type(network).__name__
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    products = {name.removeprefix(root).removeprefix("."): n for name, n in flops.items() if name != "Global"}
    layers = []
    for path, layer in network.named_modules():
        # Of the network itself: a copy has parameters of its own, which say nothing of those shared with other modules.
        real = module.network.get_submodule(path).named_parameters(path, recurse=False)
        held = [value for name, value in real if name in used and id(value) not in counted]
        counted |= {id(value) for value in held}
        below = sum(n for name, n in products.items() if _parent(name, products) == path and name != path)
        macs = (products.get(path, 0) - below) // 2
        if held or macs:
            parameters, kind = sum(p.numel() for p in held), type(layer).__name__
            layers.append(LayerCost(module.name, path or module.name, kind, parameters, macs, made.get(path, 0)))
    order = {path: number for number, path in enumerate(made)}
    return sorted(layers, key=lambda one: order.get(one.path, -1))


def _parent(name: str, known: dict[str, int]) -> str:
    """The nearest counted module around one."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        above = ".".join(parts[:length])
        if above in known:
            return above
    return ""
