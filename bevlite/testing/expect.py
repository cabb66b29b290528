"""What a contract test says when it fails, and what all of them want."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import FeatureInfo, PartConfig

BEV = BEVGrid(cell_m=1.6)
IMAGE = (64, 192)
"""Height and width of the images, in px."""
PYRAMID = (FeatureInfo(6, 4), FeatureInfo(8, 8), FeatureInfo(10, 16), FeatureInfo(12, 32))
"""Maps as a camera backbone hands them out."""


class ContractBroken(AssertionError):
    """A part does not keep the contract of its kind."""


def expect(condition: object, part: object, what: str) -> None:
    """Raise ContractBroken, naming the part, unless the condition holds."""
    if not condition:
        raise ContractBroken(f"{_name(part)}: {what}")


def expect_equal(found: Any, wanted: Any, part: object, what: str) -> None:
    """The same for two values that must be equal."""
    expect(found == wanted, part, f"{what}: found {found}; accepted: {wanted}")


def expect_close(found: Tensor, wanted: Tensor, part: object, what: str, rtol: float = 1e-4) -> None:
    """Two tensors that must be the same but for rounding."""
    expect_equal(tuple(found.shape), tuple(wanted.shape), part, what)
    worst = float((found - wanted).detach().abs().max())
    scale = float(wanted.detach().abs().max())
    expect(worst <= rtol * scale + 1e-5, part, f"{what}: largest difference {worst:.3g} where values reach {scale:.3g}")


def expect_learns(network: nn.Module, outputs: Sequence[Tensor], part: object) -> None:
    """Every output is finite, and every parameter has a say in them."""
    expect(all(torch.isfinite(o).all() for o in outputs), part, "an output is not finite")
    torch.stack([(o * torch.randn_like(o)).sum() for o in outputs]).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    expect_equal(idle, [], part, "parameters without a finite gradient")


def live(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms as after training: running statistics and affine parameters that differ from channel to channel."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            shape = module.running_mean.shape
            module.running_mean.copy_(0.3 * torch.randn(shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            module.weight.data.copy_(0.6 + 0.8 * torch.rand(shape, generator=generator))
            module.bias.data.copy_(0.2 * torch.randn(shape, generator=generator))
    return network.eval()


def shapes(maps: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """Shapes of maps."""
    return [tuple(one.shape) for one in maps]


def _name(part: object) -> str:
    return f"{type(part).__name__} (type: {part.type})" if isinstance(part, PartConfig) else str(part)
