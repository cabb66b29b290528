"""What the weights of a trained network look like, layer by layer. What its activations hold is `ranges`'."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bevlite.errors import BevliteError
from bevlite.models.widths import BATCH_NORMS, CONVS, TRANSPOSED

NEAR_ZERO = 0.01
"""Of the largest weight of a layer, in absolute terms: what is smaller adds little to a sum."""
DEAD = 1e-3
"""Of the median channel of a layer: one that is weaker gives next to nothing."""
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)
WEIGHTED = (*CONVS, *TRANSPOSED, nn.Linear)


@dataclass(frozen=True)
class LayerWeights:
    """Of one layer's `weight`, without its bias; of a norm these are its scales.

    near_zero: share of weights below `NEAR_ZERO` of the largest. channels: that the layer gives. dead: those whose norm
    (scale) is below `DEAD` of the median one, and is learnt that way. weakest: norm of the weakest channel, as a share
    of the median one.
    """

    path: str
    kind: str
    parameters: int
    minimum: float
    maximum: float
    mean: float
    std: float
    near_zero: float
    channels: int
    dead: int
    weakest: float


def layer_weights(network: nn.Module) -> list[LayerWeights]:
    """Every convolution, linear layer and norm with weights, in the order of the network's modules.

    Raises:
        BevliteError: weights that are not finite.
    """
    found = []
    for path, layer in network.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(layer, (*WEIGHTED, *NORMS)) and isinstance(weight, Tensor):
            found.append(_of(path, layer, weight.detach().double().cpu()))
    return found


def _of(path: str, layer: nn.Module, weight: Tensor) -> LayerWeights:
    if not bool(torch.isfinite(weight).all()):
        raise BevliteError(f"{path}: found NaN or infinity among its weights; accepted: a network that was trained")
    norms = _by_channel(layer, weight)
    median = float(norms.median())
    largest = float(weight.abs().max())
    return LayerWeights(
        path=path,
        kind=type(layer).__name__,
        parameters=weight.numel(),
        minimum=float(weight.min()),
        maximum=float(weight.max()),
        mean=float(weight.mean()),
        std=float(weight.std(correction=0)),
        near_zero=float((weight.abs() <= NEAR_ZERO * largest).double().mean()),
        channels=len(norms),
        dead=int((norms <= DEAD * median).sum()) if median > 0 else int((norms == 0).sum()),
        weakest=float(norms.min()) / median if median > 0 else 0.0,
    )


def _by_channel(layer: nn.Module, weight: Tensor) -> Tensor:
    """The norm of what gives each channel (channels,)."""
    if isinstance(layer, TRANSPOSED):
        # (in, out / groups, ...): the groups of what it takes give channels of their own.
        taken, given, *kernel = weight.shape
        split = weight.reshape(layer.groups, taken // layer.groups, given, *kernel)
        return split.transpose(1, 2).flatten(0, 1).flatten(1).norm(dim=1)
    return weight.abs() if weight.ndim == 1 else weight.flatten(1).norm(dim=1)
